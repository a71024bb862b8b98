"""What indexing does with files that change, move, go, or never were sounds."""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, Write, synthesise
from stub_model import StubModel

from wavtext.errors import BusyLibraryError, LibraryError, ModelError
from wavtext.library.library import SoundLibrary
from wavtext.library.lock import IndexLock


def reasons(library: SoundLibrary) -> dict[str, str]:
    return {failure.path.name: failure.reason for failure in library.failures()}


def test_unchanged_files_are_not_read_again(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    model.files_cut.clear()
    report = library.index()
    assert (report.unchanged, report.embedded, report.indexed) == (8, 0, 8)
    assert model.files_cut == []


def test_a_touched_file_keeps_its_embeddings(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    os.utime(sounds / "hum0.wav", (1e9, 1e9))
    model.files_cut.clear()
    assert library.index().reused == 1
    assert model.files_cut == []
    assert library.index().unchanged == 8


def test_a_moved_file_keeps_its_number_and_embeddings(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    before = {clip.path.name: clip.clip_id for clip in library.clips()}
    (sounds / "deep").mkdir()
    (sounds / "hum0.wav").rename(sounds / "deep" / "engine.wav")
    model.files_cut.clear()
    report = library.index()
    assert (report.moved, report.removed, report.embedded) == (1, 0, 0)
    assert model.files_cut == []
    after = {clip.path.name: clip.clip_id for clip in library.clips()}
    assert after["engine.wav"] == before["hum0.wav"]
    assert "hum0.wav" not in after


def test_a_copy_gets_the_same_embeddings_without_decoding(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    (sounds / "copy.wav").write_bytes((sounds / "hum0.wav").read_bytes())
    model.files_cut.clear()
    assert library.index().reused == 1
    assert model.files_cut == []
    assert len(list(library.clips())) == 9


def test_swapped_files_are_told_apart(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    (sounds / "hum0.wav").rename(sounds / "x")
    (sounds / "hiss0.wav").rename(sounds / "hum0.wav")
    (sounds / "x").rename(sounds / "hiss0.wav")
    library.index()
    found = {result.path.name for result in library.search("hiss", limit=2, names=False)}
    assert found == {"hum0.wav", "hiss1.wav"}


def test_a_file_renamed_over_another_replaces_it(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    (sounds / "hiss0.wav").replace(sounds / "hum0.wav")
    assert library.index().indexed == 7
    found = {result.path.name for result in library.search("hiss", limit=2, names=False)}
    assert found == {"hum0.wav", "hiss1.wav"}
    assert len(library.search("tone", limit=20)) == 7


def test_a_changed_file_is_embedded_again(
    sounds: Path, model: StubModel, write_sound: Write
) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    library.search("hum")
    write_sound("hum0.wav", "whistle", seed=7)
    assert library.index().embedded == 1
    found = {result.path.name for result in library.search("whistle", limit=3, names=False)}
    assert found == {"hum0.wav", "whistle0.wav", "whistle1.wav"}
    assert len(library.search("hum", limit=20)) == 8


def test_a_removed_file_leaves(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    library.search("hum")
    (sounds / "hum0.wav").unlink()
    assert library.index().removed == 1
    assert "hum0.wav" not in {result.path.name for result in library.search("hum", limit=20)}


def test_a_folder_that_became_empty_keeps_the_library(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    for file in sounds.glob("*.wav"):
        file.rename(sounds.parent / file.name)
    with pytest.raises(LibraryError, match="the library knows 8; nothing was changed"):
        library.index()
    assert library.stats().clips == 8
    assert library.index(prune=True).removed == 8


def test_each_bad_file_is_listed_with_its_reason(sounds: Path, model: StubModel) -> None:
    (sounds / "empty.wav").write_bytes(b"")
    (sounds / "text.wav").write_text("These are no samples. " * 99)
    (sounds / "cut.flac").write_bytes(b"fLaC\0\0\0\x22")
    soundfile.write(sounds / "silent.wav", synthesise("silence"), RATE)
    nothing = np.full(RATE, np.nan, np.float32)
    soundfile.write(sounds / "nan.wav", nothing, RATE, subtype="FLOAT")
    soundfile.write(sounds / "one.wav", np.array([0.5], np.float32), RATE)
    (sounds / "gone.wav").symlink_to(sounds / "nowhere.wav")
    os.mkfifo(sounds / "pipe.wav")
    (sounds / "notes.txt").write_text("not a sound, and not named as one")
    library = SoundLibrary.open(sounds, model=model)
    report = library.index()
    failed = {failure.path.name: failure.reason for failure in report.failures}
    assert failed.keys() >= {
        "empty.wav", "text.wav", "cut.flac", "silent.wav", "nan.wav", "gone.wav", "pipe.wav"
    }  # fmt: skip
    assert "empty" in failed["empty.wav"]
    assert "silent" in failed["silent.wav"]
    assert "link" in failed["gone.wav"]
    assert "regular file" in failed["pipe.wav"]
    assert all(str(sounds) not in reason for reason in failed.values())
    assert "notes.txt" not in failed
    assert report.indexed + len(failed) == report.files == 16
    assert len(library.search("hum", limit=20)) == report.indexed


def test_misnamed_sound_is_read_by_its_content(sounds: Path, model: StubModel) -> None:
    soundfile.write(sounds / "x.flac", synthesise("hum"), RATE)
    (sounds / "x.flac").rename(sounds / "really-flac.wav")
    assert SoundLibrary.open(sounds, model=model).index().indexed == 9


def test_a_bad_file_is_tried_again_only_when_it_changes(
    sounds: Path, model: StubModel, write_sound: Write
) -> None:
    (sounds / "bad.wav").write_bytes(b"RIFF")
    library = SoundLibrary.open(sounds, model=model)
    assert len(library.index().failures) == 1
    assert len(library.index().failures) == 1
    write_sound("bad.wav", "hum", seed=9)
    assert library.index().failures == ()
    assert library.failures() == []


def test_a_file_that_became_bad_leaves_the_results(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    (sounds / "hum0.wav").write_bytes(b"")
    report = library.index()
    assert report.summary() == "7 of 8 files indexed; 1 failed."
    assert "hum0.wav" not in {result.path.name for result in library.search("hum", limit=20)}


def test_a_file_deleted_during_indexing_is_reported(sounds: Path) -> None:
    class Deleter(StubModel):
        def cut(self, sound):
            (sounds / "whistle1.wav").unlink(missing_ok=True)
            yield from super().cut(sound)

    library = SoundLibrary.open(sounds, model=Deleter())
    report = library.index(workers=1)
    assert [failure.path.name for failure in report.failures] == ["whistle1.wav"]
    assert "deleted" in report.failures[0].reason
    assert report.indexed == 7


def test_a_model_that_fails_on_one_file_indexes_the_others(sounds: Path) -> None:
    class Picky(StubModel):
        def embed_log_mels(self, log_mels):
            if any(log_mel.argmax() == 110 for log_mel in log_mels):
                raise RuntimeError("out of cheese")
            return super().embed_log_mels(log_mels)

    soundfile.write(sounds / "pick.wav", np.sin(np.arange(RATE) * 2 * np.pi * 110 / RATE), RATE)
    report = SoundLibrary.open(sounds, model=Picky()).index()
    assert [failure.path.name for failure in report.failures] == ["pick.wav"]
    assert "out of cheese" in report.failures[0].reason
    assert report.indexed == 8


class Slow(StubModel):
    def cut(self, sound):
        time.sleep(0.03)
        yield from super().cut(sound)


def test_stopping_keeps_what_was_finished(sounds: Path) -> None:
    stop = threading.Event()
    library = SoundLibrary.open(sounds, model=Slow())
    report = library.index(lambda progress: stop.set(), stop=stop, workers=1)
    assert report.stopped
    assert 1 <= report.embedded < 8
    assert library.stats().clips == report.embedded
    again = library.index()
    assert again.unchanged == report.embedded
    assert again.indexed == 8


def test_an_interrupt_keeps_what_was_finished(sounds: Path) -> None:
    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    library = SoundLibrary.open(sounds, model=Slow())
    with pytest.raises(KeyboardInterrupt):
        library.index(interrupt)
    kept = library.stats().clips
    assert 1 <= kept < 8
    assert library.index().unchanged == kept
    assert library.stats().clips == 8


def test_progress_counts_files_and_seconds(sounds: Path, model: StubModel) -> None:
    seen = []
    SoundLibrary.open(sounds, model=model).index(seen.append)
    assert [progress.files_done for progress in seen] == list(range(1, 9))
    assert seen[-1].files_total == 8
    assert seen[-1].audio_duration == pytest.approx(8.0)
    assert seen[-1].bytes_done == seen[-1].bytes_total
    assert seen[-1].time_left == pytest.approx(0.0)


def test_a_second_indexer_is_told_who_holds_the_library(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    with IndexLock(library.path):
        with pytest.raises(BusyLibraryError, match=f"process {os.getpid()}"):
            library.index()
        assert len(library.search("hum")) == 8


def test_names_that_are_not_unicode_are_kept(sounds: Path, model: StubModel) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        (sounds / "hum0.wav").rename(sounds / name)
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    assert name in {result.path.name for result in library.search("hum", limit=2)}
    assert library.index().unchanged == 8


def test_links_in_a_circle_end(sounds: Path, model: StubModel) -> None:
    (sounds / "loop").symlink_to(sounds)
    assert SoundLibrary.open(sounds, model=model).index().files == 8


def test_an_unlistable_folder_keeps_its_clips(
    sounds: Path, model: StubModel, write_sound: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sound("closed/hum.wav", "hum", seed=5)
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    scandir = os.scandir

    def refuse(place: str) -> object:
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    report = library.index()
    assert report.removed == 0
    assert [failure.path.name for failure in report.failures] == ["closed"]
    assert library.stats().clips == 9


def test_a_library_kept_in_a_folder_of_sounds_hides_none_of_them(
    sounds: Path, write_sound: Write, model: StubModel
) -> None:
    write_sound("birds/crow.wav", "tone")
    library = SoundLibrary.open(sounds, library=sounds / "birds" / "mine.sqlite", model=model)
    assert library.index().files == 9
    assert library.index().unchanged == 9


def test_a_model_that_cannot_embed_texts_here_says_so_before_the_work(
    sounds: Path, model: StubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(texts: Sequence[str]) -> np.ndarray:
        raise ModelError("a known sentence is not embedded as it was")

    with monkeypatch.context() as patch:
        patch.setattr(model, "embed_text", refuse)
        with pytest.raises(ModelError):
            SoundLibrary.open(sounds, model=model).index()
    assert model.files_cut == []
    assert SoundLibrary.open(sounds, model=model).index().embedded == 8
