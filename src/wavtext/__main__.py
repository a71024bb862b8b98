"""`python -m wavtext ...`, which is also what torchrun starts: the same as `wavtext ...`."""

from wavtext.cli import main

if __name__ == "__main__":  # worker processes import this file under another name
    main()
