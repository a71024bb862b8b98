"""Probabilities of relevance follow the two comparisons, and an honest line when nothing fits."""

from pathlib import Path

import numpy as np
import pytest
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

PLAIN = Calibration(bias=-3.0, caption=1.0, library=0.5)


def relevance() -> Relevance:
    generator = np.random.default_rng(0)
    background = generator.standard_normal((200, 16)).astype(np.float32)
    background /= np.linalg.norm(background, axis=1, keepdims=True)
    return Relevance(background, mean=0.1, spread=0.05, calibration=PLAIN)


def test_a_higher_score_is_more_likely_relevant() -> None:
    window = np.eye(16, dtype=np.float32)[0]
    values = [relevance()(score, window) for score in np.linspace(-1, 1, 50)]
    assert values == sorted(values)
    assert 0 <= values[0] < 0.01 < 0.99 < values[-1] <= 1


def test_a_window_that_fits_every_caption_proves_little() -> None:
    plain = relevance()
    popular = plain.background.mean(axis=0)
    popular /= np.linalg.norm(popular)
    rare = np.eye(16, dtype=np.float32)[3]
    rare -= (rare @ popular) * popular
    rare /= np.linalg.norm(rare)
    assert plain(0.4, popular) < plain(0.4, rare)


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
    assert nothing_matches([result(low), result(low / 2)])
    assert not nothing_matches([result(low), result(high)])
    assert not nothing_matches([result(low, "dog")])
    assert not nothing_matches([result(None)])
    assert not nothing_matches([])


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
