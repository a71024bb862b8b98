"""Results and embeddings leave the library in formats that other programs read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, synthesise
from stub_model import StubModel

from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.export import gather, write_markers, write_results
from wavtext.library.library import SoundLibrary


@pytest.fixture
def library(sounds: Path, model: StubModel) -> SoundLibrary:
    parts = [synthesise("hum", 2.0), synthesise("hiss", 2.0), synthesise("hum", 2.0)]
    soundfile.write(sounds / "long.wav", np.concatenate(parts), RATE)
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    return library


def test_results_are_written_as_json_csv_and_playlist(
    library: SoundLibrary, tmp_path: Path
) -> None:
    results = library.search("hum", limit=3)
    for suffix in (".json", ".jsonl", ".csv", ".m3u8"):
        write_results(results, tmp_path / f"found{suffix}")
    listed = json.loads((tmp_path / "found.json").read_text())
    lines = (tmp_path / "found.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == listed
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(result.path) for result in results]
    playlist = (tmp_path / "found.m3u8").read_text().splitlines()
    assert playlist[0] == "#EXTM3U"
    assert playlist[2::2] == [str(result.path) for result in results]
    with pytest.raises(LibraryError, match=r"not written as '\.xls'"):
        write_results(results, tmp_path / "found.xls")
    assert {path.name for path in tmp_path.glob("*found*")} == {
        "found.json", "found.jsonl", "found.csv", "found.m3u8"
    }  # fmt: skip


def test_markers_name_the_matching_windows(library: SoundLibrary, tmp_path: Path) -> None:
    results = [each for each in library.search("hum", limit=9) if each.path.name == "long.wav"]
    (path,) = write_markers(results, tmp_path / "reaper", "reaper", "hum")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["#", "Name", "Start", "End", "Length"]
    assert rows[1][0] == "R1"
    assert rows[1][2:] == ["0:00.000", "0:02.000", "0:02.000"]
    assert rows[2][2:] == ["0:04.000", "0:06.000", "0:02.000"]
    (path,) = write_markers(results, tmp_path / "audition", "audition", "hum")
    lines = path.read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["Name", "Start", "Duration"]
    assert lines[2].split("\t")[:5] == ["hum", "0:04.000", "0:02.000", "decimal", "Cue"]


def test_found_files_are_copied_or_linked(library: SoundLibrary, tmp_path: Path) -> None:
    results = library.search("whistle", limit=2)
    copies = gather(results, tmp_path / "copies")
    assert copies[0].name == f"01 {results[0].path.name}"
    assert copies[0].read_bytes() == results[0].path.read_bytes()
    links = gather(results, tmp_path / "links", link=True)
    assert links[1].readlink() == results[1].path
    results[0].path.unlink()
    with pytest.raises(LibraryError, match="is gone"):
        gather(results, tmp_path / "copies")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_embeddings_come_back_as_they_are(
    library: SoundLibrary, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"embeddings{suffix}"
    assert library.export_embeddings(path) == library.stats().windows == 11
    if suffix == ".npz":
        with np.load(path) as saved:
            names, vectors, spans = saved["path"], saved["embedding"], saved["span"]
    else:
        from pyarrow import parquet

        table = parquet.read_table(path)
        assert table.schema.metadata[b"wavtext.model"] == b"stub-1"
        names = table["path"].to_pylist()
        vectors = np.stack(table["embedding"].to_pylist())
        spans = np.stack([table["start"].to_pylist(), table["end"].to_pylist()], axis=1)
    rows = [i for i, name in enumerate(names) if name == "long.wav"]
    assert spans[rows].tolist() == [[0, 2], [2, 4], [4, 6]]
    query = library.model.embed_text(["hiss"])[0]
    assert int(np.argmax(vectors[rows] @ query)) == 1
    assert library.export_embeddings(path, windows=False) == 9


def test_an_export_of_another_kind_is_refused(library: SoundLibrary, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"Use \.parquet or \.npz"):
        library.export_embeddings(tmp_path / "x.txt")


def test_sounds_that_sound_the_same_are_grouped(library: SoundLibrary, sounds: Path) -> None:
    (sounds / "again.wav").write_bytes((sounds / "hum0.wav").read_bytes())
    samples, rate = soundfile.read(sounds / "hum0.wav")
    soundfile.write(sounds / "other.flac", samples, rate)
    library.index()
    groups = library.duplicates(threshold=0.9999)
    assert {clip.path.name for clip in groups[0]} == {"hum0.wav", "again.wav", "other.flac"}
    assert all(clip.path.name != "long.wav" for group in groups for clip in group)


def test_exported_embeddings_are_imported_without_decoding(
    library: SoundLibrary, sounds: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "embeddings.parquet"
    library.export_embeddings(path)
    right = [(result.path, result.score) for result in library.search("hiss", limit=9)]
    (sounds / "tone1.wav").unlink()
    model = StubModel()
    other = SoundLibrary.open(sounds, library=tmp_path / "other.sqlite", model=model)
    report = other.import_embeddings(path)
    assert report.added == 8
    assert [failure.path.name for failure in report.failures] == ["tone1.wav"]
    found = [(result.path, result.score) for result in other.search("hiss", limit=9)]
    assert found == [each for each in right if each[0].name != "tone1.wav"]
    assert other.index().unchanged == 8
    assert model.files_cut == []
    foreign = SoundLibrary.open(sounds, library=tmp_path / "x.sqlite", model=StubModel("other"))
    with pytest.raises(ModelMismatchError, match="made by model stub-1, not by stub@other"):
        foreign.import_embeddings(path)
    path.write_text("not Parquet")
    with pytest.raises(LibraryError, match="not a readable Parquet file"):
        other.import_embeddings(path)
