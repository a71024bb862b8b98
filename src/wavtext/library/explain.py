"""Why a result matched: how much of its score each word of the query carries."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from wavtext.library.exact import Vector
from wavtext.library.results import SearchResult

MAX_WORDS = 12  # of a query; each costs one embedding


def explain_words(
    results: Sequence[SearchResult],
    best_windows: Sequence[Vector],
    text: str,
    embed_text: Callable[[Sequence[str]], np.ndarray],
) -> list[SearchResult]:
    """Fill `why`: the share of each word, by how far the score falls without it; most first.

    Args:
        results: Results of a search for `text`.
        best_windows: The embedding of each result's best window.
        text: The query.
        embed_text: The model's text encoder.
    """
    words = re.findall(r"\S+", text)
    if not 2 <= len(words) <= MAX_WORDS or not results:
        return list(results)
    variants = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    vectors = embed_text([text, *variants])
    scores = np.stack(best_windows) @ vectors.T  # (results, 1 + words)
    falls = np.maximum(scores[:, :1] - scores[:, 1:], 0.0)
    explained: list[SearchResult] = []
    for result, fall in zip(results, falls, strict=True):
        total = float(fall.sum())
        if total <= 0:
            explained.append(result)
            continue
        order = np.argsort(-fall, kind="stable")
        why = tuple((words[i], float(fall[i]) / total) for i in order if fall[i] > 0)
        explained.append(replace(result, why=why))
    return explained
