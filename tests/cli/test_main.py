import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

from wavtext.cli.main import COMMANDS, main, wavtext


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    code = exit_.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_each_command_says_of_itself(name: str):
    command = wavtext.get_command(click.Context(wavtext), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name][1]


def test_help_imports_neither_numpy_nor_torch():
    code = (
        "import sys; from wavtext.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'openvino', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_user_s_error_is_one_line_and_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert run("describe", str(tmp_path / "nowhere.wav"), "--captions", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("wavtext: ")
    assert error.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path):
    with pytest.raises(Exception, match="nowhere"):
        main(["--debug", "describe", str(tmp_path / "nowhere.wav")])


def test_mistyped_commands_exit_with_2(capsys: pytest.CaptureFixture[str]):
    assert run("serch") == 2
    assert run("describe") == 2
    capsys.readouterr()


def test_classify_goes_on_after_a_bad_file_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 22_050)
    (tmp_path / "page.wav").write_text("<html>not found</html>")
    files = [str(tmp_path / "page.wav"), str(tmp_path / "noise.wav")]
    assert run("classify", *files, "--labels", "rain, dog barking") == 1
    captured = capsys.readouterr()
    assert "noise.wav: " in captured.out
    assert "page.wav" in captured.err
    assert "1 of 2 files classified; 1 failed." in captured.err


def test_python_m_wavtext_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "wavtext", "--version"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.stdout.startswith("wavtext, version ")


def test_a_name_cannot_move_the_terminal_s_cursor():
    from wavtext.cli.search import shown

    assert shown(Path("/sounds/a\x1b[2J\nb é.wav"), "/sounds") == r"a\x1b[2J\nb é.wav"
