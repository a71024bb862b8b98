"""Parquet of `wavtext embed` becomes a library that answers like one that was indexed."""

import os
import shutil
from pathlib import Path

import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.bulk.embedding import embed
from wavtext.library.export import gather, write_results
from wavtext.library.library import SoundLibrary


@pytest.fixture
def parts(sounds: Path, tmp_path: Path, model: StubModel, write_sound: Write) -> Path:
    write_sound("far/long.wav", "hum", duration=5.0)
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    embed([sounds], tmp_path / "parts", model=model, part_files=4)
    return tmp_path / "parts"


def test_imported_parts_answer_as_the_indexed_folder(
    sounds: Path, parts: Path, tmp_path: Path
) -> None:
    indexed = SoundLibrary.open(sounds, library=tmp_path / "indexed.sqlite", model=StubModel())
    indexed.index()
    right = [each.to_dict() for each in indexed.search("hum", limit=9, explain=True)]
    model = StubModel()
    with SoundLibrary.open(sounds, model=model) as library:
        report = library.import_embeddings(parts)
        assert (report.added, report.unchanged) == (9, 0)
        assert [each.path.name for each in report.failures] == ["broken.wav"]
        found = [each.to_dict() for each in library.search("hum", limit=9, explain=True)]
        assert len(found) == len(right) == 9
        assert [each["score"] for each in found] == [each["score"] for each in right]
        by_path = {each["path"]: {**each, "clip_id": 0} for each in right}
        assert {each["path"]: {**each, "clip_id": 0} for each in found} == by_path
        assert all(each["relevance"] is not None for each in found)
        again = library.import_embeddings(str(parts))
        assert (again.added, again.unchanged) == (0, 9)
        assert library.index().unchanged == 9
        assert model.files_cut == []


def test_sounds_that_were_copied_elsewhere_are_known_by_content(
    sounds: Path, parts: Path, tmp_path: Path, model: StubModel
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(sounds, elsewhere / "sub")
    for path in elsewhere.rglob("*.wav"):
        os.utime(path, (1, 1))
    shutil.copy(sounds / "hiss0.wav", elsewhere / "sub" / "hum0.wav")
    with SoundLibrary.open(elsewhere, model=model) as library:
        report = library.import_embeddings(parts, root=elsewhere / "sub")
        reasons = {each.path.name: each.reason for each in report.failures}
        assert report.added == 8
        assert reasons["hum0.wav"] == "is not the file that was embedded"
        assert {clip.path.relative_to(elsewhere).parts[0] for clip in library.clips()} == {"sub"}
        outside = library.import_embeddings(parts, root=sounds)
        assert {each.reason for each in outside.failures} >= {"lies outside the folder"}
        assert outside.added == 0


def test_a_folder_above_the_embedded_one_finds_it_by_itself(
    sounds: Path, parts: Path, tmp_path: Path, model: StubModel
) -> None:
    place = tmp_path / "library.sqlite"
    with SoundLibrary.open(tmp_path, library=place, model=model) as library:
        assert library.import_embeddings(parts).added == 9
        assert {clip.path.parent.name for clip in library.clips()} == {"sounds", "far"}


def test_another_models_parts_and_places_without_parts_are_refused(
    sounds: Path, parts: Path, tmp_path: Path
) -> None:
    with SoundLibrary.open(sounds, model=StubModel("stub-2")) as library:
        with pytest.raises(ModelMismatchError, match="made by model stub-1, not by stub@stub-2"):
            library.import_embeddings(parts)
        for place in (tmp_path / "nowhere", sounds / "far"):
            with pytest.raises(LibraryError, match="no Parquet file is there"):
                library.import_embeddings(place)


def test_parts_in_a_bucket_are_imported_and_found_sounds_fetched(
    sounds: Path, bucket: str, tmp_path: Path, model: StubModel
) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    embed([bucket], "s3://archive/embeddings", model=model, part_files=4)
    with SoundLibrary.open(sounds, model=StubModel()) as library:
        assert library.import_embeddings("s3://archive/embeddings").added == 8
        assert library.index().unchanged == 8
    with SoundLibrary.open(f"qdrant://{tmp_path}/qdrant", model=StubModel()) as library:
        assert library.import_embeddings("s3://archive/embeddings").added == 8
        (result,) = library.search("whistle", limit=1)
        name = result.uri.removeprefix(f"{bucket}/")
        (copy,) = gather([result], tmp_path / "copies")
        assert copy.read_bytes() == (sounds / name).read_bytes()
        write_results([result], tmp_path / "found.m3u8")
        assert (tmp_path / "found.m3u8").read_text().splitlines()[-1] == result.uri


def test_a_root_that_is_a_link_to_the_folder_is_the_folder(
    sounds: Path, parts: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(sounds, target_is_directory=True)
    with SoundLibrary.open(sounds, model=StubModel()) as library:
        report = library.import_embeddings(parts, root=link)
        assert report.added == 9
        assert [each.path.name for each in report.failures] == ["broken.wav"]
        assert library.index().unchanged == 9
