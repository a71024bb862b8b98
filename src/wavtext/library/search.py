"""One search, from a query's vector to results.

Candidates (candidates.py) are chosen by the cosine plus a bonus for words found in names; where
scores are calibrated, the best of them are then ordered by their probability, which counts names
too; copies are folded and results varied where that was asked (choosing.py).
`SearchResult.score` stays the plain cosine.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavtext.library.candidates import POOL, Catalogue, SearchOptions, find_candidates
from wavtext.library.choosing import (
    Found,
    Relevance,
    by_relevance,
    diversified,
    grouped,
    hear,
    heard_at_once,
    with_records,
)
from wavtext.library.exact import Index, Vector
from wavtext.library.explain import explain_words
from wavtext.library.results import MatchingWindow, SearchResult

WINDOWS_SHOWN = 10  # of one clip, in a result
WINDOW_MARGIN = 0.1  # cosine below the best window, within which others match too


def search(
    folder: Path,
    store: Catalogue,
    index: Index,
    query: Vector,
    text: str,
    options: SearchOptions,
    *,
    relevance: Relevance | None = None,
    embed_text: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> list[SearchResult]:
    """The clips that fit best.

    Args:
        folder: What the clips' paths are relative to.
        store: Names, notes and records.
        index: Embeddings.
        query: What to look for.
        text: The words of the query, for names and for `explain`.
        options: How to search.
        relevance: Turns a score into a probability.
        embed_text: Embeds variants of the text, for `explain`.
    """
    pool = options.limit + len(options.exclude)
    if options.names or options.group or options.diversity:
        pool = max(POOL, 4 * pool)
    while True:
        candidates = find_candidates(store, index, query, text, options, pool)
        heard = hear(index, candidates, query, heard_at_once(options))
        if relevance is not None:
            heard = by_relevance(heard, relevance, options)
        if options.diversity:
            heard = iter(diversified(list(heard), options))
        chosen = grouped(folder, with_records(store, heard), options)
        folded = options.group and len(chosen) < options.limit
        if not folded or pool >= store.count("clips"):
            break
        pool *= 8  # copies took the places: look further
    if relevance is not None and not options.diversity:  # batches of candidates may overlap
        chosen.sort(key=lambda each: -(each.heard.relevance or 0.0))
    results = [_result(folder, each, heat=options.explain) for each in chosen]
    if options.explain and embed_text is not None and text:
        best = [each.heard.vectors[each.heard.best] for each in chosen]
        return explain_words(results, best, text, embed_text)
    return results


def matching_windows(
    spans: Float32[np.ndarray, "windows 2"], scores: Float32[np.ndarray, " windows"]
) -> tuple[MatchingWindow, ...]:
    """The windows of one clip that match about as well as its best, best first."""
    # most clips have few windows: lists are quicker than arrays
    cosines = scores.tolist()
    least = max(cosines) - WINDOW_MARGIN
    matching = [place for place, cosine in enumerate(cosines) if cosine >= least]
    matching.sort(key=cosines.__getitem__, reverse=True)
    best = matching[:WINDOWS_SHOWN]
    return tuple(
        MatchingWindow(start, end, cosines[place])
        for place, (start, end) in zip(best, spans[best].tolist(), strict=True)
    )


def _result(folder: Path, found: Found, *, heat: bool) -> SearchResult:
    heard = found.heard
    scores = heard.scores
    windows = matching_windows(heard.spans, scores)
    best = windows[0]
    return SearchResult(
        clip_id=heard.candidate.clip_id,
        path=folder / found.record.path,
        start=best.start,
        end=best.end,
        score=best.score,
        relevance=heard.relevance,
        windows=windows,
        duration=found.record.duration,
        matched=heard.candidate.matched,
        duplicates=tuple(found.duplicates),
        heat=tuple(map(_window, heard.spans, scores.tolist())) if heat else (),
    )


def _window(span: Float32[np.ndarray, "2"], score: float) -> MatchingWindow:
    return MatchingWindow(float(span[0]), float(span[1]), float(score))
