"""A library in Qdrant answers as the same sounds do in SQLite (local mode; a server where named).

WAVTEXT_QDRANT=qdrant://host:6333 runs the same tests on a server, in collections of their own.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, Write, synthesise
from stub_model import StubModel

from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.bulk.embedding import embed
from wavtext.library.filters import Filters
from wavtext.library.library import SoundLibrary
from wavtext.library.qdrant.address import Address

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")


@pytest.fixture
def parts(sounds: Path, tmp_path: Path, model: StubModel, write_sound: Write) -> Path:
    """Nine sounds, one of them of three windows, and one that failed."""
    parts = [synthesise("hum", 2.0), synthesise("hiss", 2.0), synthesise("hum", 2.0)]
    (sounds / "far" / "away").mkdir(parents=True)
    soundfile.write(sounds / "far" / "away" / "DoorSlams.wav", np.concatenate(parts), RATE)
    samples = np.stack([synthesise("tone")] * 2, axis=1)
    soundfile.write(sounds / "far" / "stereo.flac", samples, 44_100)
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    (sounds / "manifest.jsonl").write_text(
        '{"clip_id": "1", "path": "tone0.wav", "captions": ["a submarine"], "license": "CC0-1.0"}\n'
    )
    embed([sounds], tmp_path / "parts", model=model)
    return tmp_path / "parts"


@pytest.fixture
def address(tmp_path: Path) -> str:
    server = os.environ.get("WAVTEXT_QDRANT")
    return f"{server}/test-{uuid.uuid4().hex}" if server else f"qdrant://{tmp_path}/qdrant"


@pytest.fixture
def library(address: str, parts: Path) -> Iterator[SoundLibrary]:
    with SoundLibrary.open(address, model=StubModel()) as library:
        report = library.import_embeddings(parts)
        assert (report.added, report.unchanged) == (10, 0)
        assert [each.path.name for each in report.failures] == ["broken.wav"]
        yield library


@pytest.fixture
def indexed(sounds: Path, library: SoundLibrary) -> SoundLibrary:
    """The same sounds in SQLite."""
    other = SoundLibrary.open(sounds, model=StubModel())
    other.index()
    return other


@pytest.mark.parametrize(
    "asked",
    [
        {"text": "hum"},
        {"text": "hiss"},
        {"text": "whistle", "without": "tone"},
        {"text": "submarines tone"},
        {"text": "door slam hum", "explain": True},
        {"text": "slamming", "names": False},
        {"text": "hum", "group": True},
        {"text": "tone", "diversity": 0.5},
        {"text": "hum", "filters": Filters(folder="far")},
        {"text": "door", "filters": Filters(max_duration=2.0)},
        {"text": "hum", "filters": Filters(min_duration=2.0)},
        {"text": "hum", "filters": Filters(formats=("flac",), channels=2)},
        {"text": "hum", "filters": Filters(min_sample_rate=44_100)},
        {"text": "tone", "filters": Filters(licence="cc0")},
        {"text": "hum", "filters": Filters(after="2020-01-01", before="2020-01-02")},
        {"like": "hiss0.wav"},
        {"text": "hum", "like": "far/away/DoorSlams.wav@2-4"},
    ],
    ids=lambda asked: " ".join(map(str, asked.values())),
)
def test_it_answers_as_sqlite_does(
    library: SoundLibrary, indexed: SoundLibrary, sounds: Path, asked: dict
) -> None:
    if "like" in asked:
        asked = {**asked, "like": str(sounds / asked["like"])}
    asked = {"limit": 20, **asked}  # all that are there: equal scores may come in any order
    found, right = library.search(**asked), indexed.search(**asked)
    by_score = [each.score for each in right]
    assert [each.score for each in found] == pytest.approx(by_score, abs=1e-3)
    groups = {frozenset({each.path, *each.duplicates}): each for each in right}
    assert len(found) == len(right)
    for one in found:
        other = groups[frozenset({one.path, *one.duplicates})]
        assert one.score == pytest.approx(other.score, abs=1e-3)  # SQLite keeps float16
        assert (one.start, one.end) == (other.start, other.end)
        assert len(one.windows) == len(other.windows)
        assert len(one.heat) == len(other.heat)
        assert one.matched == other.matched
        assert (one.relevance is None) == (other.relevance is None)


def test_its_contents_are_listed_and_exported(
    library: SoundLibrary, indexed: SoundLibrary, sounds: Path, tmp_path: Path
) -> None:
    by_path = {clip.path: clip for clip in library.clips()}
    for clip in indexed.clips():
        assert by_path.pop(clip.path).to_dict() | {"clip_id": 0} == clip.to_dict() | {"clip_id": 0}
    assert not by_path
    mine, right = library.stats(), indexed.stats()
    assert (mine.clips, mine.windows) == (right.clips, right.windows)
    assert mine.duration == pytest.approx(right.duration)
    assert library.check() == []
    assert library.export_embeddings(tmp_path / "all.npz") == mine.windows
    groups = [sorted(clip.path for clip in group) for group in library.duplicates()]
    assert groups == [sorted(clip.path for clip in group) for group in indexed.duplicates()]
    clip = next(library.clips())
    assert library.clip(clip.clip_id) == clip
    with pytest.raises(LibraryError, match="no clip 7"):
        library.clip(7)


def test_an_import_that_is_run_again_changes_nothing_and_a_changed_sound_is_replaced(
    library: SoundLibrary, parts: Path, sounds: Path, tmp_path: Path, model: StubModel
) -> None:
    again = library.import_embeddings(parts)
    assert (again.added, again.unchanged) == (0, 10)
    shutil.copy(sounds / "hiss0.wav", sounds / "far" / "away" / "DoorSlams.wav")
    embed([sounds], parts, model=model)
    report = library.import_embeddings(parts)
    assert (report.added, report.unchanged) == (1, 9)
    assert library.stats().windows == 10
    assert library.check() == []


def test_clips_that_an_import_left_unfinished_are_named_and_made_whole(
    library: SoundLibrary, parts: Path
) -> None:
    collection = library._source.collection()  # pyright: ignore
    (clip,) = [each for each in library.clips() if each.num_windows == 3]
    from qdrant_client import models

    from wavtext.library.qdrant.points import point_id

    lost = models.PointIdsList(points=[point_id(clip.clip_id, 0)])
    collection.client.call("delete", points_selector=lost)
    (problem,) = library.check()
    assert "DoorSlams.wav: 2 of 3 windows are there" in problem
    assert library.import_embeddings(parts).added == 1
    assert library.check() == []


def test_sounds_may_lie_elsewhere_now(address: str, parts: Path, tmp_path: Path) -> None:
    with SoundLibrary.open(address, model=StubModel()) as library:
        library.import_embeddings(parts, root="s3://archive/sounds")
        (result,) = library.search("hum", filters=Filters(folder="far/away"))
        assert result.uri == "s3://archive/sounds/far/away/DoorSlams.wav"
        assert result.to_dict()["uri"] == result.uri
        assert {str(clip.path).split("/")[0] for clip in library.clips()} == {"s3:"}


def test_another_model_and_what_needs_the_sounds_is_refused(
    library: SoundLibrary, address: str, parts: Path, tmp_path: Path
) -> None:
    library.close()
    with SoundLibrary.open(address, model=StubModel("stub-2")) as other:
        with pytest.raises(ModelMismatchError, match="was made by model stub@stub-1"):
            other.search("hum")
        with pytest.raises(ModelMismatchError, match="made by model stub-1"):
            other.import_embeddings(parts)
    for refused in (library.index, library.repair, library.adapt):
        with pytest.raises(LibraryError, match="a library in Qdrant has no"):
            refused()
    other_place = f"qdrant://{tmp_path}/empty"
    with (
        SoundLibrary.open(other_place, model=StubModel()) as empty,
        pytest.raises(LibraryError, match="holds no sounds yet"),
    ):
        empty.search("hum")


def test_a_new_collection_is_made_with_the_default_model(tmp_path: Path) -> None:
    with SoundLibrary.open(f"qdrant://{tmp_path}/new") as library:
        assert library.model.name == "compact"
    assert not (tmp_path / "new").exists()


def test_addresses_are_read_and_wrong_ones_explained() -> None:
    server = Address.parse("qdrant://host/sounds")
    assert (server.server, server.collection) == ("http://host:6333", "sounds")
    assert Address.parse("qdrant+https://host:443/x").server == "https://host:443"
    assert Address.parse("qdrant:///a/b").folder == "/a/b"
    for wrong in ("qdrant://host", "qdrant://host:x/c", "qdrant+ftp://host/c", "qdrant://h/a/b"):
        with pytest.raises(LibraryError, match="not the address of a collection"):
            Address.parse(wrong)
    with (
        SoundLibrary.open("qdrant://127.0.0.1:9/sounds") as library,
        pytest.raises(LibraryError, match=r"qdrant://127\.0\.0\.1:9/sounds: "),
    ):
        library.search("hum")
