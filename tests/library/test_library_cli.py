"""`wavtext index` and `wavtext search` as a user and a program meet them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_model import StubModel

from wavtext.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("search", ...) -> (exit status, stdout, stderr), with the stub as every model."""
    monkeypatch.setattr("wavtext.model.model.load_model", lambda name="compact": StubModel())
    monkeypatch.setattr("os.nice", lambda increment: increment)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


def test_index_then_search_prints_a_table(run: Run, sounds: Path) -> None:
    status, out, err = run("index", sounds)
    assert (status, err) == (0, "")
    assert out.startswith("8 of 8 files indexed.\n8 embedded; 8.0 s of sound in ")
    status, out, _ = run("search", "a whistle", sounds, "-n", 2)
    assert status == 0
    assert len(out.splitlines()) == 2
    assert "whistle" in out.splitlines()[0]
    assert "0.0-1.0 s" in out.splitlines()[0]


def test_search_prints_json_lines(run: Run, sounds: Path) -> None:
    run("index", sounds)
    _, out, _ = run("search", "hum", sounds, "--json", "-n", 3)
    results = [json.loads(line) for line in out.splitlines()]
    assert [result["rank"] for result in results] == [1, 2, 3]
    assert Path(results[0]["path"]).is_file()


def test_failed_files_are_listed_and_the_exit_status_is_1(run: Run, sounds: Path) -> None:
    (sounds / "broken.wav").write_bytes(b"")
    status, out, err = run("index", sounds)
    assert status == 1
    assert out.startswith("8 of 9 files indexed; 1 failed.")
    assert err == f"{sounds / 'broken.wav'}: the file is empty: 0 bytes\n"


def test_index_prints_its_report_as_json(run: Run, sounds: Path) -> None:
    (sounds / "broken.wav").write_bytes(b"")
    status, out, _ = run("index", sounds, "--json")
    report = json.loads(out)
    assert status == 1
    assert (report["files"], report["indexed"], report["embedded"]) == (9, 8, 8)
    assert report["failures"][0]["path"].endswith("broken.wav")


def test_a_library_file_can_lie_elsewhere(run: Run, sounds: Path, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.sqlite"
    assert run("index", sounds, "--library", file)[0] == 0
    assert run("search", "hum", sounds, "--library", file)[0] == 0
    assert not (sounds / ".wavtext").exists()


def test_a_missing_folder_is_one_line(run: Run, tmp_path: Path) -> None:
    status, out, err = run("index", tmp_path / "nowhere")
    assert (status, out) == (1, "")
    assert err == f"wavtext: {tmp_path / 'nowhere'}: no such folder. Name a folder of sounds.\n"


def test_an_empty_folder_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = run("index", tmp_path / "empty")
    assert (status, err) == (1, "0 of 0 files indexed: the folder holds no sounds.\n")
