"""Shell completion, as docs/how-to/shell.md sets it up."""

import os
import subprocess
import sys

import pytest


def complete(line: str, *, expected_status: int = 0, **variables: str) -> str:
    code = "from wavtext.cli import main; main([])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables, "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
    )
    assert done.returncode == expected_status, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_wavtext(shell: str):
    script = complete("", _WAVTEXT_COMPLETE=f"{shell}_source")
    assert f"_WAVTEXT_COMPLETE={shell}_complete" in script


def test_commands_and_options_complete():
    words = complete("wavtext se", _WAVTEXT_COMPLETE="bash_complete").split()
    assert words == ["plain,search", "plain,serve"]
    options = complete("wavtext search --min", _WAVTEXT_COMPLETE="bash_complete").split()
    assert options == ["plain,--min-duration"]
