"""Probabilities of relevance follow the two comparisons, and an honest line when nothing fits."""

from pathlib import Path

import numpy as np
import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.library.library import SoundLibrary
from wavtext.library.relevance import (
    GOOD,
    Calibration,
    Relevance,
    background_captions,
    nothing_matches,
)
from wavtext.library.results import SearchResult

PLAIN = Calibration(bias=-3.0, caption=1.0, library=0.5, name=2.0)


def relevance() -> Relevance:
    generator = np.random.default_rng(0)
    background = generator.standard_normal((200, 16)).astype(np.float32)
    background /= np.linalg.norm(background, axis=1, keepdims=True)
    return Relevance(background, mean=0.1, spread=0.05, calibration=PLAIN)


def probability(score: float, window: np.ndarray, share: float = 0.0) -> float:
    values = np.array([score]), window[None], np.array([share])
    return float(relevance()(*(each.astype(np.float32) for each in values))[0])


def test_a_higher_score_is_more_likely_relevant() -> None:
    window = np.eye(16, dtype=np.float32)[0]
    values = [probability(score, window) for score in np.linspace(-1, 1, 50)]
    assert values == sorted(values)
    assert 0 <= values[0] < 0.01 < 0.99 < values[-1] <= 1


def test_a_name_that_holds_the_words_makes_a_clip_more_likely() -> None:
    window = np.eye(16, dtype=np.float32)[0]
    values = [probability(0.1, window, share) for share in (0.0, 0.5, 1.0)]
    assert values == sorted(values)
    odds = [value / (1 - value) for value in values]
    assert odds[2] / odds[0] == pytest.approx(np.exp(2.0), rel=1e-4)


def test_a_window_that_fits_every_caption_proves_little() -> None:
    popular = relevance().background.mean(axis=0)
    popular /= np.linalg.norm(popular)
    rare = np.eye(16, dtype=np.float32)[3]
    rare -= (rare @ popular) * popular
    rare /= np.linalg.norm(rare)
    assert probability(0.4, popular) < probability(0.4, rare)


@pytest.mark.parametrize("limit", [3, 10, 100])
@pytest.mark.parametrize("group", [False, True])
def test_the_percentage_never_rises_down_a_list(
    sounds: Path, model: StubModel, write_sound: Write, limit: int, group: bool
) -> None:
    kinds = ("hum", "tone", "whistle", "hiss")
    for i in range(40):
        write_sound(f"{kinds[i // 10]} or {kinds[i % 4]} {i}.wav", kinds[i % 4], 0.3, seed=i)
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    for text in ("hum", "whistle hum", "rain tone", "hiss or nothing"):
        shown = [each.relevance for each in library.search(text, limit=limit, group=group)]
        assert len(shown) == min(limit, 48) or group
        assert shown == sorted(shown, reverse=True)


def result(relevance: float | None, *matched: str) -> SearchResult:
    return SearchResult(
        clip_id=1,
        path=Path("x.wav"),
        start=0.0,
        end=1.0,
        score=0.2,
        duration=1.0,
        relevance=relevance,
        matched=matched,
    )


def test_nothing_matches_when_all_are_unlikely_and_no_name_fits() -> None:
    low, high = GOOD / 2, 2 * GOOD
    assert nothing_matches([result(low), result(low / 2)], "a dog")
    assert not nothing_matches([result(low), result(high)], "a dog")
    assert not nothing_matches([result(low, "dog")], "a dog")
    assert nothing_matches([result(low, "dog")], "a barking dog")  # one word of two is too little
    assert not nothing_matches([result(None)], "a dog")
    assert not nothing_matches([], "a dog")


def test_the_captions_are_distinct_sentences() -> None:
    captions = background_captions()
    assert len(captions) == len({*captions}) > 200
    assert all(caption == caption.strip() for caption in captions)


def test_a_library_calibrates_text_searches_only(sounds: Path, model: StubModel) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    assert all(0 <= each.relevance <= 1 for each in library.search("hum"))
    assert [each.relevance for each in library.search(like=sounds / "hum0.wav", limit=1)] == [None]


def test_a_library_without_the_captions_gives_scores_alone(
    sounds: Path, model: StubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SoundLibrary.open(sounds, model=model)
    library.index()
    monkeypatch.setattr("wavtext.library.reader.background_key", lambda identity: "other captions")
    assert [each.relevance for each in library.search("hum", limit=1)] == [None]
