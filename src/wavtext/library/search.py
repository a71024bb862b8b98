"""One search, from a query's vector to results: candidates, names, filters, groups, details.

Candidates are chosen by the cosine plus a bonus for words of the query found in a file's name,
captions or tags; the bonus is measured in standard deviations of the cosine over the library, so
that it weighs the same for any model. Where scores are calibrated, the best of them are then
ordered by their probability, which counts names too. `SearchResult.score` stays the plain cosine.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import QueryError
from wavtext.library.exact import Index, Vector
from wavtext.library.explain import explain_words
from wavtext.library.filters import Filters
from wavtext.library.records import ClipRecord
from wavtext.library.results import MatchingWindow, SearchResult

NAME_WEIGHT = 3.0  # standard deviations that a name with all words of the query is worth
READ_AT_ONCE = 20  # candidates
LOOK_FOR_COPIES = 2  # times the limit: candidates that grouping looks at, and 20 at least
ORDERED = 3  # times the limit: candidates that are ordered by relevance, and 30 at least
POOL = 200  # candidates that names, groups and diversity choose from
SAMPLE = 2048  # windows that stand for the library
WINDOWS_SHOWN = 10  # of one clip, in a result
WINDOW_MARGIN = 0.1  # cosine below the best window, within which others match too
SAME_COSINE = 0.995  # of two clips' embeddings: they sound the same
SAME_DURATION = 0.02  # share by which their durations may differ
_STOP_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "being", "by", "for", "from", "in", "into", "is"}
    | {"it", "its", "like", "of", "off", "on", "or", "over", "some", "sound", "sounds", "that"}
    | {"the", "there", "this", "to", "under", "up", "very", "with", "without"}
)

Clips = Int64[np.ndarray, " clips"]
# (clips,) scores, (clips, dim) best windows, (clips,) shares of the query's words -> probabilities
Relevance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Catalogue(Protocol):
    """What a search needs of names, notes and records, wherever they are kept."""

    def allowed(self, filters: Filters) -> Any:
        """What `Index.best` takes for clips that a filter lets pass; None for all."""
        ...

    def passing(self, clip_ids: Clips, allowed: Any) -> Clips:
        """Those clips that are allowed."""
        ...

    def clips_with_word(self, word: str) -> Clips:
        """Clips whose name, captions or tags hold a word in any of its forms."""
        ...

    def count(self, table: str) -> int:
        """How many there are of something: "clips"."""
        ...

    def clip_rows(self, clip_ids: Iterable[int] | None = None) -> Iterator[tuple[int, ClipRecord]]:
        """(clip id, record) of the clips asked for, those that are there, in that order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search.

    Attributes:
        limit: Results at most.
        filters: Which clips may be found.
        names: Let words in names, captions and tags count.
        group: Fold clips that sound the same into one result.
        diversity: 0 ranks by fit alone; towards 1, results differ more from those before.
        explain: Fill `heat` and `why` of the results.
        exclude: Clips not to return, such as the one that others should resemble.
    """

    limit: int = 10
    filters: Filters = field(default_factory=Filters)
    names: bool = True
    group: bool = False
    diversity: float = 0.0
    explain: bool = False
    exclude: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise QueryError(f"limit is {self.limit}; it must be 1 or more.")
        if not 0 <= self.diversity < 1:
            raise QueryError(f"diversity is {self.diversity}; it must be 0 or more, below 1.")


@dataclass(frozen=True, slots=True)
class _Candidate:
    clip_id: int
    score: float  # cosine of the best window
    rank: float  # what candidates are chosen by
    share: float  # of the query's words that its name, captions or tags hold
    matched: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Heard:
    """A candidate with its embeddings."""

    candidate: _Candidate
    spans: Float32[np.ndarray, "windows 2"]
    vectors: Float32[np.ndarray, "windows dim"]
    relevance: float | None = None
    _mean: Vector | None = None

    @property
    def mean(self) -> Vector:
        """The clip's embedding, made when it is first asked for."""
        if self._mean is None:
            self._mean = clip_vector(self.vectors)
        return self._mean


@dataclass(slots=True, eq=False)
class _Found:
    """A candidate with all that a result needs."""

    heard: _Heard
    record: ClipRecord
    duplicates: list[Path] = field(default_factory=list[Path])


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """Clips that hold words of the query, by id, and the share of its words that each holds."""

    words: list[str]
    ids: Clips
    shares: np.ndarray  # (clips,)
    holds: np.ndarray  # (words, clips) bool

    def places(self, clip_ids: Clips) -> Int64[np.ndarray, " clips"]:
        """Where each clip stands in `ids`; -1 for those that hold no word."""
        places = np.searchsorted(self.ids, clip_ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[places] == clip_ids, places, -1)

    def matched(self, place: int) -> tuple[str, ...]:
        """The words that the clip at a place holds."""
        if place < 0:
            return ()
        return tuple(itertools.compress(self.words, self.holds[:, place].tolist()))


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
        heard = _heard(index, _candidates(store, index, query, text, options, pool))
        if relevance is not None:
            heard = _by_relevance(heard, query, relevance, options)
        if options.diversity:
            heard = iter(_diversified(list(heard), options))
        chosen = _grouped(folder, _recorded(store, heard), options)
        folded = options.group and len(chosen) < options.limit
        if not folded or pool >= store.count("clips"):
            break
        pool *= 8  # copies took the places: look further
    if relevance is not None and not options.diversity:  # batches of candidates may overlap
        chosen.sort(key=lambda each: -(each.heard.relevance or 0.0))
    results = [_result(folder, each, query, heat=options.explain) for each in chosen]
    if options.explain and embed_text is not None and text:
        best = [each.heard.vectors[int(np.argmax(each.heard.vectors @ query))] for each in chosen]
        return explain_words(results, best, text, embed_text)
    return results


def content_words(text: str) -> list[str]:
    """The words of a query that can be looked for in names, once each."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [word for word in dict.fromkeys(words) if word not in _STOP_WORDS][:12]


def matching_windows(
    spans: Float32[np.ndarray, "windows 2"], scores: Float32[np.ndarray, " windows"]
) -> tuple[MatchingWindow, ...]:
    """The windows of one clip that match about as well as its best, best first."""
    order = (-scores).argsort(kind="stable")[:WINDOWS_SHOWN]
    best = scores[order].tolist()
    return tuple(
        MatchingWindow(start, end, score)
        for (start, end), score in zip(spans[order].tolist(), best, strict=True)
        if score >= best[0] - WINDOW_MARGIN
    )


def clip_vector(vectors: Float32[np.ndarray, "windows dim"]) -> Vector:
    """A clip's embedding: the mean of its windows', of length 1."""
    total = np.add.reduce(vectors, axis=0)
    return total / max(math.sqrt(float(total @ total)), 1e-12)


def _candidates(
    store: Catalogue, index: Index, query: Vector, text: str, options: SearchOptions, pool: int
) -> Iterator[_Candidate]:
    """Clips worth a closer look, in order: `pool` found by sound, and others by name."""
    allowed = store.allowed(options.filters)
    words = content_words(text) if options.names else []
    ids, scores = index.best(query, pool, allowed)
    named = _named(store, words, ids)
    if named is None:
        shares = np.zeros(len(ids), np.float32)
    else:
        others = np.setdiff1d(named.ids[np.argsort(-named.shares, kind="stable")[:POOL]], ids)
        if allowed is not None:
            others = store.passing(others, allowed)
        ids, scores, shares = _with_named(index, query, ids, scores, named, others)
    bonus = NAME_WEIGHT * float((index.sample(SAMPLE) @ query).std()) if named else 0.0
    ranks = scores + np.float32(bonus) * shares
    if options.exclude:
        ranks[np.isin(ids, list(options.exclude))] = -np.inf
    order = np.lexsort((ids, -ranks))
    order = order[np.isfinite(ranks[order])]
    places = named.places(ids[order]) if named else np.full(len(order), -1)
    columns = (each[order].tolist() for each in (ids, scores, ranks, shares))
    for clip_id, score, rank, share, place in zip(*columns, places.tolist(), strict=True):
        matched = named.matched(place) if named else ()
        yield _Candidate(clip_id, score, rank, share, matched)


def _with_named(
    index: Index,
    query: Vector,
    ids: Clips,
    scores: Float32[np.ndarray, " clips"],
    named: _Named,
    others: Clips,
) -> tuple[Clips, Float32[np.ndarray, " all"], Float32[np.ndarray, " all"]]:
    """Clips found by sound, and others by name: (ids, scores, shares of the query's words)."""
    every = np.concatenate([ids, others])
    scores = np.concatenate([scores, index.best_of(others, query)])
    places = named.places(every)
    shares = np.where(places >= 0, named.shares[places], 0.0)
    return every, scores, shares.astype(np.float32)


def _named(store: Catalogue, words: list[str], found: Clips) -> _Named | None:
    """What names say: of the clips that hold a word, those found by sound, and POOL others.

    Rare words count more. None where no clip holds a word.
    """
    if not words:
        return None
    total = max(store.count("clips"), 1)
    holders = [store.clips_with_word(word) for word in words]
    weights = np.array([math.log(1 + total / max(len(ids), 1)) for ids in holders])
    ids, places = np.unique(np.concatenate(holders), return_inverse=True)
    if not len(ids):
        return None
    holds = np.zeros((len(words), len(ids)), bool)
    begin = 0
    for row, each in enumerate(holders):
        holds[row, places[begin : begin + len(each)]] = True
        begin += len(each)
    shares = (weights / weights.sum()) @ holds
    wanted = np.isin(ids, found)
    wanted[np.argsort(-shares, kind="stable")[:POOL]] = True
    return _Named(words, ids[wanted], shares[wanted], holds[:, wanted])


def _heard(index: Index, candidates: Iterator[_Candidate]) -> Iterator[_Heard]:
    """Candidates with their embeddings, without those that left meanwhile."""
    for candidate in candidates:
        windows = index.windows(candidate.clip_id)
        if windows is not None:
            yield _Heard(candidate, *windows)


def _recorded(store: Catalogue, heard: Iterator[_Heard]) -> Iterator[_Found]:
    """With their records, read a few at a time as they are asked for."""
    while some := list(itertools.islice(heard, READ_AT_ONCE)):
        records = dict(store.clip_rows([each.candidate.clip_id for each in some]))
        for each in some:
            record = records.get(each.candidate.clip_id)
            if record is None or not record.format:
                continue  # it left meanwhile, or its name was lost to damage
            yield _Found(each, record)


def _by_relevance(
    heard: Iterator[_Heard], query: Vector, relevance: Relevance, options: SearchOptions
) -> Iterator[_Heard]:
    """Candidates in the order of their probability, the best ones first, the rest as asked for.

    All that may be shown are mostly among the first; with diversity they are all, since any may be
    chosen, and where copies are folded together the rest may be needed too.
    """
    look = None if options.diversity else max(30, ORDERED * options.limit)
    while some := list(itertools.islice(heard, look)):
        yield from _ordered(some, query, relevance)


def _ordered(some: list[_Heard], query: Vector, relevance: Relevance) -> list[_Heard]:
    """Candidates with their probability, in its order."""
    scores = [each.vectors @ query for each in some]
    best = [int(np.argmax(each)) for each in scores]
    probabilities = relevance(
        np.array([each[i] for each, i in zip(scores, best, strict=True)], np.float32),
        np.stack([each.vectors[i] for each, i in zip(some, best, strict=True)]),
        np.array([each.candidate.share for each in some], np.float32),
    )
    for each, probability in zip(some, probabilities.tolist(), strict=True):
        each.relevance = probability
    return [some[i] for i in np.argsort(-probabilities, kind="stable").tolist()]


def _grouped(folder: Path, found: Iterator[_Found], options: SearchOptions) -> list[_Found]:
    """The first `limit`; with `group`, clips that sound like one before are folded into it.

    What sounds the same scores the same, so once there are enough, copies are looked for among the
    next few only.
    """
    if not options.group:
        return list(itertools.islice(found, options.limit))
    chosen: list[_Found] = []
    by_content: dict[bytes, _Found] = {}
    by_duration: dict[int, list[_Found]] = {}
    look = max(20, LOOK_FOR_COPIES * options.limit)
    for position, each in enumerate(found):
        if position >= look and len(chosen) == options.limit:
            break
        same = by_content.get(each.record.content) or _copied(by_duration, each)
        if same is not None:
            same.duplicates.append(folder / each.record.path)
        elif len(chosen) < options.limit:
            chosen.append(each)
            by_content[each.record.content] = each
            by_duration.setdefault(_scale(each), []).append(each)
    return chosen


def _copied(by_duration: dict[int, list[_Found]], each: _Found) -> _Found | None:
    """The clip among those chosen that sounds the same as this one and lasts as long."""
    duration, scale = each.record.duration, _scale(each)
    for kept in itertools.chain.from_iterable(
        by_duration.get(near, ()) for near in (scale - 1, scale, scale + 1)
    ):
        other = kept.record.duration
        near = abs(other - duration) <= SAME_DURATION * max(other, duration)
        if near and float(kept.heard.mean @ each.heard.mean) >= SAME_COSINE:
            return kept
    return None


def _scale(found: _Found) -> int:
    """The clip's duration in steps wider than SAME_DURATION: what may be alike is a step away."""
    return round(math.log(max(found.record.duration, 1e-3)) / (1.5 * SAME_DURATION))


def _diversified(heard: list[_Heard], options: SearchOptions) -> list[_Heard]:
    """Maximal marginal relevance: each next fits well and differs from those chosen before.

    Source: Carbonell and Goldstein 1998; ranks are scaled to 0..1 so that both parts compare.
    """
    if not heard:
        return []
    ranks = np.array([each.candidate.rank for each in heard], np.float32)
    fits = (ranks - ranks.min()) / max(float(np.ptp(ranks)), 1e-9)
    means = np.stack([each.mean for each in heard])
    nearest = np.zeros(len(heard), np.float32)
    left = np.ones(len(heard), bool)
    order: list[_Heard] = []
    for _ in range(min(len(heard), 4 * options.limit)):
        value = (1 - options.diversity) * fits - options.diversity * nearest
        position = int(np.argmax(np.where(left, value, -np.inf)))
        left[position] = False
        order.append(heard[position])
        nearest = np.maximum(nearest, means @ means[position])
    return order


def _result(folder: Path, found: _Found, query: Vector, *, heat: bool) -> SearchResult:
    heard = found.heard
    scores = heard.vectors @ query
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
