"""Searches by sound, by both, without, with filters, with names, grouped, diverse, explained."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, Write, synthesise
from stub_model import StubModel

from wavtext.audio.waveform import Waveform
from wavtext.errors import LibraryError, QueryError
from wavtext.library.filters import Filters
from wavtext.library.library import SoundLibrary
from wavtext.library.notes import name_words, read_notes


@pytest.fixture
def library(sounds: Path) -> SoundLibrary:
    library = SoundLibrary.open(sounds, model=StubModel(dim=512))
    library.index()
    return library


def names(results) -> list[str]:
    return [result.path.name for result in results]


def test_a_sound_finds_its_like_and_not_itself(library: SoundLibrary, sounds: Path) -> None:
    assert names(library.search(like=sounds / "hum0.wav", limit=1)) == ["hum1.wav"]
    clip_id = next(clip.clip_id for clip in library.clips() if clip.path.name == "hum0.wav")
    assert names(library.search(like=clip_id, limit=1)) == ["hum1.wav"]
    waveform = Waveform(synthesise("hum", seed=0), RATE)
    assert names(library.search(like=waveform, limit=2)) == ["hum0.wav", "hum1.wav"]


def test_a_part_of_a_sound_finds_that_parts_like(library: SoundLibrary, tmp_path: Path) -> None:
    path = tmp_path / "both.wav"
    soundfile.write(path, np.concatenate([synthesise("hum", 2.0), synthesise("hiss", 2.0)]), RATE)
    assert {*names(library.search(like=f"{path}@2.0-4.0", limit=2))} == {"hiss0.wav", "hiss1.wav"}
    assert {*names(library.search(like=f"{path}@0-2", limit=2))} == {"hum0.wav", "hum1.wav"}
    with pytest.raises(LibraryError, match="ends at 1 s, not after its start at 3 s"):
        library.search(like=f"{path}@3-1")


def test_text_and_sound_blend(library: SoundLibrary, sounds: Path) -> None:
    found = names(library.search("whistle", like=sounds / "hum0.wav", limit=3, names=False))
    assert set(found) == {"hum1.wav", "whistle0.wav", "whistle1.wav"}


def test_beside_a_sound_the_order_goes_by_the_cosine(
    library: SoundLibrary, sounds: Path, write_sound: Write
) -> None:
    write_sound("whistle like a hum.wav", "hiss", seed=7)
    library.index()
    scores = [each.score for each in library.search("whistle", like=sounds / "hum0.wav")]
    assert scores == sorted(scores, reverse=True)


def test_without_pushes_down_what_is_not_wanted(
    library: SoundLibrary, write_sound: Write, sounds: Path
) -> None:
    path = write_sound("mixed.wav", "hum")
    soundfile.write(path, np.concatenate([synthesise("hum", 2.0), synthesise("hiss", 2.0)]), RATE)
    library.index()
    plain = library.search("hum hiss", names=False)
    assert {*names(plain)[:5]} == {"hum0.wav", "hum1.wav", "hiss0.wav", "hiss1.wav", "mixed.wav"}
    without = names(library.search("hum hiss", without="hiss", names=False, limit=3))
    assert {"hum0.wav", "hum1.wav"} <= set(without)
    unlike = names(library.search("hum hiss", unlike=sounds / "hiss0.wav", names=False, limit=3))
    assert "hiss0.wav" not in unlike


def test_nothing_asked_is_an_error(library: SoundLibrary) -> None:
    with pytest.raises(LibraryError, match="query is empty"):
        library.search()
    with pytest.raises(LibraryError, match="limit is 0"):
        library.search("hum", limit=0)


def test_filters_choose_what_may_be_found(
    library: SoundLibrary, write_sound: Write, sounds: Path
) -> None:
    write_sound("doors/long.wav", "hum", duration=5.0)
    soundfile.write(sounds / "doors" / "x.flac", np.stack([synthesise("hum")] * 2, 1), RATE)
    os.utime(sounds / "doors" / "long.wav", (1_000_000_000, 1_000_000_000))
    library.index()

    def found(**conditions: object) -> set[str]:
        return {*names(library.search("hum", limit=50, filters=Filters(**conditions)))}

    assert found(min_duration=2.0) == {"long.wav"}
    assert len(found(max_duration=2.0)) == 9
    assert found(folder="doors") == found(folder="doors/") == {"long.wav", "x.flac"}
    assert found(folder="door") == set()
    assert found(formats=("flac",)) == {"x.flac"}
    assert found(channels=2) == {"x.flac"}
    assert found(min_sample_rate=48_000) == set()
    assert found(before="2010-01-01") == {"long.wav"}
    assert len(found(after="2010-01-01")) == 9
    assert found(folder="doors", channels=1) == {"long.wav"}
    with pytest.raises(LibraryError, match="'yesterday' is no date"):
        found(after="yesterday")


def test_a_manifest_gives_captions_tags_and_licences(library: SoundLibrary, sounds: Path) -> None:
    rows = [
        {"clip_id": "1", "path": "tone0.wav", "captions": ["a submarine"], "license": "CC0-1.0"},
        {"clip_id": "2", "path": "tone1.wav", "captions": ["a kettle"], "license": "CC-BY-4.0"},
    ]
    (sounds / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    library.index()
    results = library.search("submarines tone", limit=1)
    assert names(results) == ["tone0.wav"]
    assert results[0].matched == ("submarines", "tone")
    cc0 = library.search("tone", filters=Filters(licence="cc0"))
    assert names(cc0) == ["tone0.wav"]
    (sounds / "manifest.jsonl").unlink()
    library.index()
    assert library.search("submarine", limit=1)[0].matched == ()


def test_a_file_name_counts_beside_the_sound(library: SoundLibrary, write_sound: Write) -> None:
    write_sound("Creatures/OwlHoot_03.wav", "hiss", seed=5)
    library.index()
    best = library.search("owl hooting hiss", limit=1)[0]
    assert best.path.name == "OwlHoot_03.wav"
    assert best.matched == ("owl", "hooting")
    assert library.search("owl hooting hiss", limit=1, names=False)[0].matched == ()
    (library.folder / "Creatures" / "OwlHoot_03.wav").rename(library.folder / "wind.wav")
    library.index()
    assert library.search("wind hiss", limit=1)[0].path.name == "wind.wav"
    assert "owl" not in library.search("owl hiss", limit=1)[0].matched


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Doors/DoorSlam_Heavy-03.wav", "doors door slam heavy 03"),
        ("UI click (2).final.ogg", "ui click 2 final"),
        ("BBCArchive/träd_vind.flac", "bbc archive träd vind"),
        ("x.wav", "x"),
    ],
)
def test_paths_become_words(path: str, words: str) -> None:
    assert name_words(path) == words


def test_texts_inside_a_wav_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, synthesise("hum"), RATE)
    with soundfile.SoundFile(path, "r+") as file:
        file.title = "A gate in the wind"
        file.copyright = "CC0"
    notes = read_notes(path)
    assert notes.captions == ("A gate in the wind",)
    assert notes.licence == "CC0"


def test_copies_are_folded_into_one_result(library: SoundLibrary, sounds: Path) -> None:
    for name in ("copy1.wav", "copy2.wav"):
        (sounds / name).write_bytes((sounds / "hum0.wav").read_bytes())
    louder = 0.8 * synthesise("hum", seed=0)
    soundfile.write(sounds / "quieter.wav", louder, RATE)
    library.index()
    plain = library.search("hum", limit=3, names=False)
    assert len({*names(plain)} & {"hum0.wav", "copy1.wav", "copy2.wav", "quieter.wav"}) >= 2
    grouped = library.search("hum", limit=8, group=True, names=False)
    assert len(grouped) < 11
    assert sum(1 + len(result.duplicates) for result in grouped) == 11
    first = next(result for result in grouped if result.duplicates)
    together = {first.path.name, *(path.name for path in first.duplicates)}
    assert together >= {"hum0.wav", "copy1.wav", "copy2.wav"}


def test_diversity_brings_other_sounds_forward(library: SoundLibrary) -> None:
    plain = names(library.search("hum tone", limit=2, names=False))
    assert len({name[:-5] for name in plain}) == 1 or plain[0][:-5] != plain[1][:-5]
    diverse = names(library.search("hum tone", limit=2, names=False, diversity=0.7))
    assert {name[:-5] for name in diverse} == {"hum", "tone"}
    with pytest.raises(LibraryError, match="diversity is 1"):
        library.search("hum", diversity=1.0)


def test_explained_results_show_where_and_which_words(library: SoundLibrary, write_sound: Write):
    path = write_sound("night.wav", "hum")
    parts = [synthesise("hum", 4.0), synthesise("whistle", 2.0), synthesise("hum", 2.0)]
    soundfile.write(path, np.concatenate(parts), RATE)
    library.index()
    results = library.search("whistle far away", limit=5, explain=True)
    result = next(each for each in results if each.path.name == "night.wav")
    assert [window.start for window in result.heat] == [0.0, 2.0, 4.0, 6.0]
    assert max(result.heat, key=lambda window: window.score).start == 4.0
    assert result.why[0][0] == "whistle"
    assert sum(share for _, share in result.why) == pytest.approx(1.0)
    assert library.search("whistle")[0].heat == ()


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("copies", [31, 300])
def test_copies_do_not_take_the_places_of_other_sounds(
    write_sound: Write, model: StubModel, copies: int, names: bool
) -> None:
    one = write_sound("hum.wav", "hum")
    for i in range(copies):
        (one.parent / f"hum copy {i}.wav").write_bytes(one.read_bytes())
    for i in range(12):
        write_sound(f"hiss{i}.wav", "hiss", duration=1.0 + 0.2 * i, seed=i)
    library = SoundLibrary.open(one.parent, model=model)
    library.index()
    results = library.search("hum", limit=10, group=True, names=names)
    assert len(results) == 10
    assert results[0].path.name.startswith("hum")
    assert not any(each.path.name.startswith("hum") for each in results[1:])
    shown = [each.relevance for each in results]
    assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "yesterday"])
def test_a_day_that_no_file_can_have_is_refused(sounds: Path, model: StubModel, day: str) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    with pytest.raises(QueryError, match=r"2024-05-31"):
        library.search("hum", filters=Filters(after=day, before=day))


def test_a_library_whose_sounds_all_left_finds_nothing(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    for path in sounds.glob("*.wav"):
        path.unlink()
    library.index(prune=True)
    assert library.search("hum") == []
