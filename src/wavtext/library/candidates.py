"""Clips worth a closer look: by the cosine, plus a bonus for words of the query in their names.

The bonus for words found in a file's name, captions or tags is measured in standard deviations of
the cosine over the library, so that it weighs the same for any model.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import QueryError
from wavtext.library.exact import Index, Vector, best_clips, places_in
from wavtext.library.filters import Filters
from wavtext.library.records import ClipRecord

NAME_WEIGHT = 3.0  # standard deviations that a name with all words of the query is worth
POOL = 200  # candidates that names, groups and diversity choose from
_STOP_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "being", "by", "for", "from", "in", "into", "is"}
    | {"it", "its", "like", "of", "off", "on", "or", "over", "some", "sound", "sounds", "that"}
    | {"the", "there", "this", "to", "under", "up", "very", "with", "without"}
)

Clips = Int64[np.ndarray, " clips"]


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
class Candidate:
    """A clip worth a closer look."""

    clip_id: int
    score: float  # cosine of the best window
    rank: float  # what candidates are chosen by
    share: float  # of the query's words that its name, captions or tags hold
    matched: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """Clips that hold words of the query, by id, and the share of its words that each holds."""

    words: list[str]
    ids: Clips
    shares: np.ndarray  # (clips,)
    holds: np.ndarray  # (words, clips) bool

    def matched(self, place: int) -> tuple[str, ...]:
        """The words that the clip at a place holds."""
        if place < 0:
            return ()
        return tuple(itertools.compress(self.words, self.holds[:, place].tolist()))


def find_candidates(
    store: Catalogue, index: Index, query: Vector, text: str, options: SearchOptions, pool: int
) -> Iterator[Candidate]:
    """Clips worth a closer look, in order: `pool` found by sound, and others by name."""
    allowed = store.allowed(options.filters)
    words = content_words(text) if options.names else []
    ids, scores = index.best(query, pool, allowed)
    named = _named(store, words, ids)
    if named is None:
        shares = np.zeros(len(ids), np.float32)
    else:
        others = named.ids[_best_named(named.shares)]
        others = np.sort(others[places_in(np.sort(ids), others) < 0])
        if allowed is not None:
            others = store.passing(others, allowed)
        ids, scores, shares = _with_named(index, query, ids, scores, named, others)
    typical = index.typical() if named else None
    bonus = NAME_WEIGHT * typical.cosine(query)[1] if typical else 0.0
    ranks = scores + np.float32(bonus) * shares
    if options.exclude:
        ranks[np.isin(ids, list(options.exclude))] = -np.inf
    order = np.lexsort((ids, -ranks))
    order = order[np.isfinite(ranks[order])]
    places = places_in(named.ids, ids[order]) if named else np.full(len(order), -1)
    columns = (each[order].tolist() for each in (ids, scores, ranks, shares))
    for clip_id, score, rank, share, place in zip(*columns, places.tolist(), strict=True):
        matched = named.matched(place) if named else ()
        yield Candidate(clip_id, score, rank, share, matched)


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
    places = places_in(named.ids, every)
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
    wanted = places_in(np.sort(found), ids) >= 0
    wanted[_best_named(shares)] = True
    return _Named(words, ids[wanted], shares[wanted], holds[:, wanted])


def _best_named(shares: np.ndarray) -> Int64[np.ndarray, " best"]:
    """The POOL places with the highest shares."""
    return best_clips(shares, np.ones(len(shares), bool), POOL)


def content_words(text: str) -> list[str]:
    """The words of a query that can be looked for in names, once each."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [word for word in dict.fromkeys(words) if word not in _STOP_WORDS][:12]
