"""A folder is indexed and its sounds are found."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, Write, synthesise
from stub_model import StubModel

from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.library import SoundLibrary
from wavtext.library.store import Store


def test_a_description_finds_the_sounds_it_names(sounds: Path, model: StubModel) -> None:
    with SoundLibrary.open(sounds, model=model) as library:
        report = library.index()
        assert report.summary() == "8 of 8 files indexed."
        for kind in ("hum", "tone", "whistle", "hiss"):
            best = library.search(kind, limit=2)
            assert {result.path.name for result in best} == {f"{kind}0.wav", f"{kind}1.wav"}
            assert best[0].score >= best[1].score > 0.5


def test_the_library_is_kept_beside_the_sounds_and_opens_again(
    sounds: Path, model: StubModel
) -> None:
    with SoundLibrary.open(sounds, model=model) as library:
        library.index()
    assert (sounds / ".wavtext" / "library.sqlite").is_file()
    with SoundLibrary.open(sounds, model=model) as library:
        assert library.search("hum", limit=1)[0].path.parent == sounds


def test_a_result_names_the_window_that_matched(write_sound: Write, model: StubModel) -> None:
    path = write_sound("long.wav", "hum")
    parts = [synthesise("hum", 6.0), synthesise("whistle", 2.0), synthesise("hum", 4.0)]
    soundfile.write(path, np.concatenate(parts), RATE)
    library = SoundLibrary.open(path.parent, model=model)
    library.index()
    (result,) = library.search("whistle")
    assert (result.start, result.end) == (6.0, 8.0)
    assert result.windows[0] == (result.start, result.end, result.score)
    assert result.duration == pytest.approx(12.0)
    assert len(library.search("hum")[0].windows) == 5


def test_remembered_words_are_forgotten_when_another_writes(sounds: Path, model: StubModel) -> None:
    SoundLibrary.open(sounds, model=model).index()
    reader = Store(sounds / ".wavtext" / "library.sqlite")
    before = len(reader.clips_with_word("hum"))
    assert before
    assert not len(reader.clips_with_word("renamed"))
    (sounds / "hum0.wav").rename(sounds / "renamed.wav")
    with SoundLibrary.open(sounds, model=model) as library:
        library.index()
    assert len(reader.clips_with_word("renamed")) == 1
    assert len(reader.clips_with_word("hum")) == before - 1
    reader.close()


def test_results_become_json(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    values = json.loads(json.dumps(library.search("tone", limit=1)[0].to_dict()))
    assert set(values) >= {"path", "start", "end", "score", "relevance", "duration", "windows"}


def test_search_is_exact(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    ids, matrix = library.embeddings()
    query = model.embed_text(["hum quietly"])[0]
    expected = sorted((matrix @ query).tolist(), reverse=True)
    found = [result.score for result in library.search("hum quietly", limit=8)]
    assert found == pytest.approx(expected, abs=2e-3)
    assert len(set(ids.tolist())) == 8


def test_a_library_made_by_another_model_refuses_the_query(sounds: Path, model: StubModel) -> None:
    SoundLibrary.open(sounds, model=model).index()
    other = SoundLibrary.open(sounds, model=StubModel("other", dim=16, name="paper"))
    with pytest.raises(ModelMismatchError, match=r"stub@stub-1 \(32-d\).*paper@other \(16-d\)"):
        other.search("hum")
    assert len(SoundLibrary.open(sounds, model=model).search("hum")) == 8


def test_indexing_with_another_model_replaces_the_embeddings(
    sounds: Path, model: StubModel
) -> None:
    SoundLibrary.open(sounds, model=model).index()
    library = SoundLibrary.open(sounds, model=StubModel("other", dim=16, name="paper"))
    assert library.index().embedded == 8
    assert library.search("hiss", limit=1)[0].path.name.startswith("hiss")
    assert library.stats().dim == 16


def test_clips_stats_and_single_clips_agree(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    clips = list(library.clips())
    stats = library.stats()
    assert stats.clips == len(clips) == 8
    assert stats.duration == pytest.approx(8.0)
    assert stats.windows == sum(clip.num_windows for clip in clips)
    assert library.clip(clips[3].clip_id) == clips[3]
    assert clips[0].sample_rate == RATE
    with pytest.raises(LibraryError, match="no clip 999"):
        library.clip(999)


def test_a_folder_that_was_never_indexed_says_what_to_do(sounds: Path, model: StubModel) -> None:
    with pytest.raises(LibraryError, match=r"not indexed yet.*wavtext index"):
        SoundLibrary.open(sounds, model=model).search("hum")


def test_a_missing_folder_is_named(tmp_path: Path, model: StubModel) -> None:
    with pytest.raises(LibraryError, match="no such folder"):
        SoundLibrary.open(tmp_path / "nowhere", model=model)


def test_an_empty_query_is_refused(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    with pytest.raises(LibraryError, match="query is empty"):
        library.search("  ")


def test_a_library_file_of_one_folder_is_not_emptied_by_another(
    sounds: Path, tmp_path: Path, model: StubModel
) -> None:
    file = tmp_path / "my.sqlite"
    SoundLibrary.open(sounds, library=file, model=model).index()
    assert not (sounds / ".wavtext").exists()
    (tmp_path / "others").mkdir()
    with pytest.raises(LibraryError, match="holds the sounds of"):
        SoundLibrary.open(tmp_path / "others", library=file, model=model).index()
    assert len(SoundLibrary.open(sounds, library=file, model=model).search("hum")) == 8
