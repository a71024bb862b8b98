"""`wavtext index` and `wavtext search` as a user and a program meet them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_model import StubModel

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, command: Run) -> Run:
    """run("search", ...) -> (exit status, stdout, stderr), with the stub as every model."""
    monkeypatch.setattr("wavtext.model.model.load_model", lambda name="compact": StubModel())
    monkeypatch.setattr("os.nice", lambda increment: increment)
    return command


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


def test_search_by_sound_and_similar_agree(run: Run, sounds: Path) -> None:
    run("index", sounds)
    _, by_search, _ = run("search", "--like", sounds / "hum0.wav", sounds, "-n", 3, "--json")
    _, by_similar, _ = run("similar", sounds / "hum0.wav", sounds, "-n", 3, "--json")
    assert by_search == by_similar
    assert json.loads(by_search.splitlines()[0])["path"].endswith("hum1.wav")


def test_a_search_without_text_and_sound_is_a_mistake(run: Run, sounds: Path) -> None:
    status, _, err = run("search", sounds)
    assert status == 2
    assert "Give a text and a folder" in err


def test_explained_results_show_a_heat_strip(run: Run, sounds: Path) -> None:
    run("index", sounds)
    _, out, _ = run("search", "hum far away", sounds, "-n", 1, "--explain")
    assert len(out.splitlines()) == 3
    assert "by hum" in out


def test_results_go_to_files_and_folders(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds)
    _, _, err = run(
        "search", "hum", sounds, "-n", 2, "-o", tmp_path / "found.csv",
        "--copy-to", tmp_path / "copies", "--reaper", tmp_path / "markers",
    )  # fmt: skip
    assert len(err.splitlines()) == 3
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 3
    assert len(list((tmp_path / "copies").iterdir())) == 2
    assert len(list((tmp_path / "markers").iterdir())) == 2


def test_filters_reach_the_library(run: Run, sounds: Path, write_sound: Callable) -> None:
    write_sound("deep/long.wav", "hum", duration=5.0)
    run("index", sounds)
    _, out, _ = run("search", "hum", sounds, "--folder", "deep", "--min-duration", 2)
    assert len(out.splitlines()) == 1
    _, out, err = run("search", "hum", sounds, "--format", "flac")
    assert (out, err) == ("", "Nothing found.\n")


def test_library_commands_tell_what_it_holds(run: Run, sounds: Path, tmp_path: Path) -> None:
    (sounds / "broken.wav").write_bytes(b"")
    run("index", sounds)
    assert run("library", "stats", sounds)[1].startswith("8 sounds, 8.0 s\n")
    assert run("library", "failures", sounds)[1] == "broken.wav: the file is empty: 0 bytes\n"
    assert run("library", "check", sounds) == (0, "The library is sound.\n", "")
    assert run("export", sounds, "-o", tmp_path / "x.npz")[1].startswith("8 embeddings written")
    path = sounds / ".wavtext" / "library.sqlite"
    path.write_bytes(path.read_bytes()[:100_000])
    status, _, err = run("library", "check", sounds)
    assert status == 1
    assert "truncated" in err


def test_duplicates_are_listed(run: Run, sounds: Path) -> None:
    (sounds / "copy.wav").write_bytes((sounds / "hum0.wav").read_bytes())
    run("index", sounds)
    _, out, err = run("duplicates", sounds, "--threshold", 1.0)
    assert out.splitlines()[0] == "1. 2 sounds, 1.0 s"
    assert "copy.wav" in out
    assert err == "1 groups; 1 files sound like another.\n"
