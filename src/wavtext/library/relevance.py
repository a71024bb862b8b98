"""Scores people can read: a cosine -> the probability that the clip is what was asked for.

A cosine of 0.3 may be a perfect match for one query and nothing for another. Two comparisons make
it readable: how the window scores for this query against how it scores for general captions
(background_captions.txt), and how it scores against the library's other windows. A logistic
function of both, fitted on labelled sounds by benchmarks/relevance.py, gives the probability.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavtext.library.exact import Vector
from wavtext.library.results import SearchResult

GOOD = 0.1  # probability below which no result is called a match (docs/library.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The logistic function: bias + caption × z over captions + library × z over the library."""

    bias: float
    caption: float
    library: float


# Fitted by: python benchmarks/relevance.py
FITTED = Calibration(bias=-10.069, caption=1.929, library=0.804)


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Turns scores of one query into probabilities.

    Attributes:
        background: Embeddings of the general captions.
        mean: Of the query's cosine over the library's windows.
        spread: Its standard deviation.
        calibration: The logistic function.
    """

    background: Float32[np.ndarray, "captions dim"]
    mean: float
    spread: float
    calibration: Calibration = FITTED

    @classmethod
    def of_query(
        cls,
        query: Vector,
        background: Float32[np.ndarray, "captions dim"],
        sample: Float32[np.ndarray, "windows dim"],
    ) -> "Relevance":
        """For a query in a library, of which `sample` are some windows."""
        scores = sample @ query
        return cls(background, float(scores.mean()), float(scores.std()))

    def __call__(self, score: float, window: Vector) -> float:
        """The probability that a clip whose best window scores so is relevant."""
        by_caption, by_library = self.standardised(score, window)
        weights = self.calibration
        logit = weights.bias + weights.caption * by_caption + weights.library * by_library
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))

    def standardised(self, score: float, window: Vector) -> tuple[float, float]:
        """(z over the captions for this window, z over the library for this query)."""
        others = self.background @ window
        by_caption = (score - float(others.mean())) / max(float(others.std()), 1e-4)
        by_library = (score - self.mean) / max(self.spread, 1e-4)
        return by_caption, by_library


def nothing_matches(results: Sequence[SearchResult]) -> bool:
    """True when the results are calibrated and none is likely what was asked for.

    A name, caption or tag that holds all that was asked counts as a match.
    """
    known = [result for result in results if result.relevance is not None]
    return bool(known) and all(
        (result.relevance or 0.0) < GOOD and not result.matched for result in known
    )


@cache
def background_captions() -> tuple[str, ...]:
    """The general captions."""
    path = Path(__file__).with_name("background_captions.txt")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def background_key(identity: str) -> str:
    """Names a model's embeddings of these very captions."""
    text = "\n".join((identity, *background_captions()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
