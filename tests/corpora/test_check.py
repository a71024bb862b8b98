import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from wavtext.corpora.check import Corpus, check_corpora, count_findings, to_exclusions
from wavtext.corpora.fingerprint import SAMPLE_RATE, difference, fingerprint
from wavtext.corpora.manifest import Clip

RATE = 32_000  # Hz
Sound = np.ndarray


def a_sound(seed: int, duration: float = 2.0) -> Sound:
    """Gliding tones and bursts of noise, unlike those of another seed."""
    random = np.random.default_rng(seed)
    time = np.arange(round(duration * RATE)) / RATE
    sound = np.zeros_like(time)
    for _ in range(6):
        frequency = random.uniform(150, 3000) * 2 ** (random.uniform(-1, 1) * time / duration)
        envelope = np.exp(-(((time - random.uniform(0, duration)) / 0.2) ** 2))
        sound += envelope * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)
    for _ in range(4):
        start = round(random.uniform(0, duration - 0.2) * RATE)
        sound[start : start + RATE // 10] += random.standard_normal(RATE // 10) * 0.5
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def encoded(sound: Sound, kind: str, subtype: str) -> Sound:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, format=kind, subtype=subtype)
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0]


COPIES: dict[str, Callable[[Sound], tuple[Sound, int]]] = {
    "mp3": lambda sound: (encoded(sound, "MP3", "MPEG_LAYER_III"), RATE),
    "vorbis": lambda sound: (encoded(sound, "OGG", "VORBIS"), RATE),
    "8 kHz": lambda sound: (soxr.resample(sound, RATE, 8_000), 8_000),
    "48 kHz": lambda sound: (soxr.resample(sound, RATE, 48_000), 48_000),
    "quieter": lambda sound: (sound * 0.1, RATE),
    "8 bit": lambda sound: (np.round(sound * 127) / 127, RATE),
    "padded": lambda sound: (np.pad(sound, (RATE // 20, RATE // 10)), RATE),
}


def of(sound: Sound, rate: int = RATE):
    return fingerprint(soxr.resample(sound.astype(np.float32), rate, SAMPLE_RATE))


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_recognised_and_another_sound_is_not(copy: str) -> None:
    for seed in range(2):
        original, other = of(a_sound(seed)), of(a_sound(seed + 100))
        changed = of(*COPIES[copy](a_sound(seed)))
        assert difference(original.words, changed.words) < 0.25
        assert float(original.descriptor @ changed.descriptor) > 0.85
        assert difference(original.words, other.words) > 0.4


def test_silence_and_nothing_are_like_nothing() -> None:
    for samples in (np.zeros(0, np.float32), np.zeros(8_000, np.float32)):
        empty = fingerprint(samples)
        assert len(empty.words) == 0
        assert difference(empty.words, of(a_sound(0)).words) == 1.0


def test_a_fingerprint_of_any_length_is_finite() -> None:
    for length in (1, 2, 10, 127, 128, 129, 1000):
        found = of(a_sound(0)[: length * 4])
        assert np.isfinite(found.descriptor).all()


@pytest.fixture
def library(tmp_path: Path) -> list[Clip]:
    def clip(name: str, sound: Sound, rate: int = RATE, **values: str) -> Clip:
        path = tmp_path / name
        soundfile.write(path, sound, rate)
        captions = (values.pop("caption", f"a sound called {name}"),)
        return Clip(name, path, captions, **values)  # pyright: ignore

    return [
        clip("crow.wav", a_sound(1), split="train", group="crow"),
        clip("crow_again.wav", a_sound(1), split="train", caption="a sound called crow.wav"),
        clip("crow_8k.flac", *COPIES["8 kHz"](a_sound(1)), split="train"),
        clip("owl.wav", a_sound(2), split="train", caption="An owl. Thanks to Ann."),
        clip("owl_test.ogg", a_sound(2), split="test"),
        clip("rain.wav", a_sound(3), split="train", group="rain"),
        clip("rain_test.wav", a_sound(4), split="test", group="rain"),
        clip("silent.wav", np.zeros(1000), split="train"),
        Clip("gone.wav", tmp_path / "gone.wav", ("gone",), split="train"),
        Clip("mute.wav", tmp_path / "rain.wav", (" ",), split="test"),
    ]


def test_what_is_wrong_with_a_collection_is_found(library: list[Clip], tmp_path: Path) -> None:
    findings = check_corpora([Corpus("zoo", library, folder=tmp_path)], workers=1)
    found = {(each.clip_id, each.kind) for each in findings}
    assert found == {
        ("crow_again.wav", "duplicate audio"),
        ("crow_again.wav", "repeated caption"),
        ("crow_8k.flac", "near-duplicate audio"),
        ("owl.wav", "credits in caption"),
        ("owl.wav", "near-duplicate audio of a held-out clip"),
        ("rain.wav", "family in a held-out set"),
        ("rain.wav", "duplicate audio of a held-out clip"),
        ("silent.wav", "silent audio"),
        ("gone.wav", "missing audio"),
        ("mute.wav", "no caption"),
    }
    excluded = {each.clip_id: each.reason for each in to_exclusions(findings)}
    assert "owl_test.ogg" not in excluded
    assert "crow.wav" not in excluded
    assert len(excluded) == 7
    assert Counter(kind for _, kind, _ in count_findings(findings))["repeated caption"] == 1


def test_of_two_held_out_copies_both_stay(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(tmp_path / name, a_sound(3), RATE)
    clips = [
        Clip("a", tmp_path / "a.wav", ("a",), split="test"),
        Clip("b", tmp_path / "b.wav", ("b",), split="validation"),
        Clip("c", tmp_path / "c.wav", ("c",), split="train"),
    ]
    findings = check_corpora([Corpus("zoo", clips)], workers=1)
    assert {each.clip_id for each in findings} == {"b", "c"}  # both are reported
    assert [each.clip_id for each in to_exclusions(findings)] == ["c"]


def test_another_corpus_test_set_is_kept_apart(library: list[Clip], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    soundfile.write(other / "x.flac", a_sound(3) * 0.2, RATE)
    benchmark = [
        Clip("x", other / "x.flac", ("x",), split="test"),
        Clip("y", tmp_path / "crow.wav", ("y",), split="train"),
    ]
    corpora = [
        Corpus("zoo", library[:1] + library[5:6]),
        Corpus("benchmark", benchmark, only_test=True),
    ]
    findings = check_corpora(corpora, workers=1)
    assert [(each.corpus, each.clip_id, each.kind) for each in findings] == [
        ("zoo", "rain.wav", "near-duplicate audio of a held-out clip")
    ]
    assert findings[0].detail.startswith("as x of benchmark")
