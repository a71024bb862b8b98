"""Candidates, by hand: their order, their words, and which of them are copies."""

from pathlib import Path

import numpy as np
import pytest
from sound_factory import RATE
from stub_model import StubModel

from wavtext.library.candidates import Candidate, SearchOptions
from wavtext.library.choosing import Found, Heard, by_relevance, clip_vector, grouped
from wavtext.library.library import SoundLibrary
from wavtext.library.records import ClipRecord


def heard(clip_id: int, vector: np.ndarray) -> Heard:
    candidate = Candidate(clip_id, score=1.0, rank=1.0 / clip_id, share=0.0, matched=())
    windows = vector[None].astype(np.float32)
    return Heard(candidate, np.array([[0.0, 1.0]], np.float32), windows, np.ones(1, np.float32))


def test_the_likely_come_before_the_near_and_the_unlikely_are_cut_off():
    vectors = np.eye(4)
    probabilities = {1: 0.1, 2: 0.2, 3: 0.9, 4: 0.5}

    def relevance(scores: np.ndarray, windows: np.ndarray, shares: np.ndarray) -> np.ndarray:
        return np.array([probabilities[int(np.argmax(window)) + 1] for window in windows])

    every = [heard(i + 1, vector) for i, vector in enumerate(vectors)]
    ordered = list(by_relevance(iter(every), relevance, SearchOptions(limit=2)))
    assert [each.candidate.clip_id for each in ordered] == [3, 4, 2, 1]
    assert [each.relevance for each in ordered] == [0.9, 0.5, 0.2, 0.1]


@pytest.mark.parametrize("windows", [1, 7])
def test_a_clips_embedding_is_the_mean_of_its_windows_and_of_length_one(windows: int):
    vectors = np.random.default_rng(0).standard_normal((windows, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0)
    np.testing.assert_allclose(clip_vector(vectors), mean / np.linalg.norm(mean), atol=1e-6)


def test_a_clip_has_the_words_of_its_own_name_and_no_others(sounds: Path, model: StubModel):
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    results = library.search("hum whistle", limit=8)
    assert len(results) == 8
    for result in results:
        own = [word for word in ("hum", "whistle") if word in result.path.name]
        assert list(result.matched) == own


def found(clip_id: int, duration: float) -> Found:
    record = ClipRecord(
        path=f"{clip_id}.wav",
        size=1,
        mtime_ns=0,
        content=clip_id.to_bytes(16, "big"),
        duration=duration,
        sample_rate=RATE,
        channels=1,
        format="wav",
    )
    return Found(heard(clip_id, np.eye(4)[0]), record)


def test_what_sounds_the_same_but_lasts_longer_is_no_copy():
    some = [found(1, 2.0), found(2, 2.03), found(3, 2.06), found(4, 6.0)]  # + 1.5, 3 and 200 %
    chosen = grouped(Path("sounds"), iter(some), SearchOptions(limit=9, group=True))
    assert [each.heard.candidate.clip_id for each in chosen] == [1, 3, 4]
    assert chosen[0].duplicates == [Path("sounds/2.wav")]
    assert not chosen[1].duplicates
