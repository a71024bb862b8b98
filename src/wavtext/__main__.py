"""`python -m wavtext ...`, which is also what torchrun starts: the same as `wavtext ...`."""

from wavtext.cli import main

main()
