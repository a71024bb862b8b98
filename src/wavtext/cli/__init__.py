"""The command line: `wavtext COMMAND ...`.  Commands are loaded on first use, so `--help` is fast.

Exit status: 0 all well; 1 something failed (one line each on stderr); 2 the command was mistyped;
130 interrupted.  `wavtext --debug COMMAND` shows the traceback of a failure.
"""

from wavtext.cli.main import main

__all__ = ["main"]
