"""Scores people can read: a cosine -> the probability that the clip is what was asked for.

A cosine of 0.3 may be a perfect match for one query and nothing for another. Two comparisons make
it readable: how the window scores for this query against how it scores for general captions
(background_captions.txt), and how it scores against the library's other windows. A logistic
function of both, fitted on labelled sounds by benchmarks/relevance.py, gives the probability. A
name that holds the query's words makes it more likely, by as much as benchmarks/name_weight.py
found on sounds whose labels do not come from names. Results are shown in this order, so that the
percentage never rises down a list (docs/decisions/0079).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from wavtext.library.candidates import content_words
from wavtext.library.exact import Vector
from wavtext.library.results import SearchResult
from wavtext.library.typical import Typical

GOOD = 0.1  # probability below which no result is called a match (docs/library.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The logistic function.

    bias + caption × z over captions + library × z over the library + name × share of the query's
    words that the file's name, captions or tags hold.
    """

    bias: float
    caption: float
    library: float
    name: float = 0.0


# Fitted by: python benchmarks/relevance.py; the name's weight by python benchmarks/name_weight.py
FITTED = Calibration(bias=-8.146, caption=0.806, library=0.734, name=1.7)


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
        typical: Typical,
    ) -> "Relevance":
        """For a query in a library, of which `typical` says how cosines spread."""
        return cls(background, *typical.cosine(query))

    def __call__(
        self,
        scores: Float32[np.ndarray, " clips"],
        windows: Float32[np.ndarray, "clips dim"],
        shares: Float32[np.ndarray, " clips"],
    ) -> Float64[np.ndarray, " clips"]:
        """The probability that each clip is relevant.

        Args:
            scores: Cosine of its best window.
            windows: That window's embedding.
            shares: Share of the query's words that its name holds, 0 to 1.
        """
        weights = self.calibration
        by = self.standardised(scores, windows)
        logits = weights.bias + by @ [weights.caption, weights.library] + weights.name * shares
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))

    def standardised(
        self, scores: Float32[np.ndarray, " clips"], windows: Float32[np.ndarray, "clips dim"]
    ) -> Float64[np.ndarray, "clips 2"]:
        """(z over the captions for this window, z over the library for this query) of each."""
        others = windows @ self.background.T
        by_caption = (scores - others.mean(axis=1)) / np.maximum(others.std(axis=1), 1e-4)
        by_library = (scores - self.mean) / max(self.spread, 1e-4)
        return np.stack([by_caption, by_library], axis=1).astype(np.float64)


def nothing_matches(results: Sequence[SearchResult], text: str) -> bool:
    """True when the results are calibrated and none is likely what was asked for.

    Names, captions or tags that hold every word of the query count as a match.
    """
    words = set(content_words(text))
    known = [result for result in results if result.relevance is not None]
    return bool(known) and all(
        (result.relevance or 0.0) < GOOD and not (words and words.issubset(result.matched))
        for result in known
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
