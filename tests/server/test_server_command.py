"""`wavtext serve` as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from wavtext.cli.serve import serve
from wavtext.errors import LibraryError, ServerError
from wavtext.library.library import SoundLibrary


def test_another_address_is_refused_without_a_token(sounds):
    result = CliRunner().invoke(serve, [str(sounds), "--host", "0.0.0.0"])
    assert isinstance(result.exception, ServerError)
    assert "--token" in str(result.exception)


def test_a_folder_must_be_named():
    result = CliRunner().invoke(serve, [])
    assert result.exit_code == 2
    assert "wavtext serve DIR" in result.output


def test_a_taken_port_is_said_in_one_line(sounds, model, live, monkeypatch):
    monkeypatch.setattr("wavtext.library.library.SoundLibrary.model", model)
    port = live.rsplit(":", 1)[1]
    result = CliRunner().invoke(serve, [str(sounds), "--port", port])
    assert isinstance(result.exception, ServerError)
    assert "another --port" in str(result.exception)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
from wavtext.library.library import SoundLibrary
SoundLibrary.model = conftest.TinyModel()
from wavtext.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("token", [None, "new"])
def test_it_prints_its_address_answers_and_ends_on_ctrl_c(sounds, token):
    command = [sys.executable, "-c", SCRIPT, os.path.dirname(__file__)]
    command += ["serve", "--library", str(sounds), "--port", "0"]
    command += ["--token", token] if token else []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        line = process.stdout.readline()
        address, secret = re.search(r"(http://127\.0\.0\.1:\d+)/(?:login#(\S+))?", line).groups()
        headers = {"Authorization": f"Bearer {secret}"} if token else {}
        request = urllib.request.Request(f"{address}/api/search?q=hum&limit=1", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"hum.wav" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode in (0, 130, -signal.SIGINT)


def test_the_library_s_file_may_be_named_instead_of_its_folder(
    sounds, model, tmp_path, monkeypatch
):
    served = []
    monkeypatch.setattr(
        "wavtext.cli.serve._run", lambda folder, library, *_, **__: served.append((folder, library))
    )
    own = sounds / ".wavtext" / "library.sqlite"
    elsewhere = tmp_path / "mine.sqlite"
    with SoundLibrary.open(sounds, library=elsewhere, model=model) as library:
        library.index(workers=1)
    for file in (own, elsewhere):
        CliRunner().invoke(serve, ["--library", str(file)], catch_exceptions=False)
    assert served == [(sounds, own), (sounds, elsewhere)]
    result = CliRunner().invoke(serve, ["--library", str(tmp_path / "none.sqlite")])
    assert isinstance(result.exception, LibraryError)
