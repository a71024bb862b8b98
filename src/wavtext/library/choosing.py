"""Candidates -> the clips to show: in the order of their relevance, without copies, varied."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavtext.library.candidates import Candidate, Catalogue, SearchOptions
from wavtext.library.exact import Index, Vector
from wavtext.library.matrix import clip_means
from wavtext.library.records import ClipRecord

READ_AT_ONCE = 20  # candidates
LOOK_FOR_COPIES = 2  # times the limit: candidates that grouping looks at, and 20 at least
ORDERED = 3  # times the limit: candidates that are heard and ordered by relevance at once
SAME_COSINE = 0.995  # of two clips' embeddings: they sound the same
SAME_DURATION = 0.02  # share by which their durations may differ

# (clips,) scores, (clips, dim) best windows, (clips,) shares of the query's words -> probabilities
Relevance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(slots=True, eq=False)
class Heard:
    """A candidate with its embeddings."""

    candidate: Candidate
    spans: Float32[np.ndarray, "windows 2"]
    vectors: Float32[np.ndarray, "windows dim"]
    scores: Float32[np.ndarray, " windows"]  # cosine of each to the query
    relevance: float | None = None

    @property
    def best(self) -> int:
        """The window that fits best."""
        return int(self.scores.argmax())


@dataclass(slots=True, eq=False)
class Found:
    """A candidate with all that a result needs."""

    heard: Heard
    record: ClipRecord
    duplicates: list[Path] = field(default_factory=list[Path])


def hear(
    index: Index, candidates: Iterator[Candidate], query: Vector, at_once: int
) -> Iterator[Heard]:
    """Candidates with their embeddings, without those that left meanwhile; read as asked for."""
    while some := list(itertools.islice(candidates, at_once)):
        windows = index.windows([each.clip_id for each in some])
        there = [(each, *found) for each, found in zip(some, windows, strict=True) if found]
        if not there:
            continue
        # summed row by row: what else is asked changes no bit
        scores = np.einsum("ij,j->i", np.concatenate([vectors for *_, vectors in there]), query)
        begin = 0
        for candidate, spans, vectors in there:
            end = begin + len(vectors)
            yield Heard(candidate, spans, vectors, scores[begin:end])
            begin = end


def heard_at_once(options: SearchOptions) -> int:
    """Candidates of which the best are shown, mostly: ORDERED times the limit, and 30 at least."""
    return max(30, ORDERED * options.limit)


def with_records(store: Catalogue, heard: Iterator[Heard]) -> Iterator[Found]:
    """With their records, read a few at a time as they are asked for."""
    while some := list(itertools.islice(heard, READ_AT_ONCE)):
        records = dict(store.clip_rows([each.candidate.clip_id for each in some]))
        for each in some:
            record = records.get(each.candidate.clip_id)
            if record is None or not record.format:
                continue  # it left meanwhile, or its name was lost to damage
            yield Found(each, record)


def by_relevance(
    heard: Iterator[Heard], relevance: Relevance, options: SearchOptions
) -> Iterator[Heard]:
    """Candidates in the order of their probability, the best ones first, the rest as asked for.

    All that may be shown are mostly among the first; with diversity they are all, since any may be
    chosen, and where copies are folded together the rest may be needed too.
    """
    look = None if options.diversity else heard_at_once(options)
    while some := list(itertools.islice(heard, look)):
        yield from _ordered(some, relevance)


def _ordered(some: list[Heard], relevance: Relevance) -> list[Heard]:
    """Candidates with their probability, in its order."""
    best = [each.best for each in some]
    probabilities = relevance(
        np.array([each.scores[i] for each, i in zip(some, best, strict=True)], np.float32),
        np.array([each.vectors[i] for each, i in zip(some, best, strict=True)]),
        np.array([each.candidate.share for each in some], np.float32),
    )
    for each, probability in zip(some, probabilities.tolist(), strict=True):
        each.relevance = probability
    return [some[i] for i in np.argsort(-probabilities, kind="stable").tolist()]


def grouped(folder: Path, found: Iterator[Found], options: SearchOptions) -> list[Found]:
    """The first `limit`; with `group`, clips that sound like one before are folded into it.

    What sounds the same scores the same, so once there are enough, copies are looked for among the
    next few only.
    """
    if not options.group:
        return list(itertools.islice(found, options.limit))
    chosen: list[Found] = []
    by_content: dict[bytes, Found] = {}
    look = max(20, LOOK_FOR_COPIES * options.limit)
    while len(chosen) < options.limit and (some := list(itertools.islice(found, look))):
        every = [*chosen, *some]
        alike = _sound_alike(every)
        suspects = np.flatnonzero(alike.any(axis=0)).tolist()
        kept = list(range(len(chosen)))  # the places of those chosen among all
        for place, each in enumerate(some, len(chosen)):
            same = by_content.get(each.record.content)
            if same is None and place in suspects:
                same = next((every[k] for k in kept if alike[k, place]), None)
            if same is not None:
                same.duplicates.append(folder / each.record.path)
            elif len(chosen) < options.limit:
                chosen.append(each)
                kept.append(place)
                by_content[each.record.content] = each
    return chosen


def _sound_alike(found: Sequence[Found]) -> np.ndarray:
    """(clips, clips): which sound the same and last as long, about."""
    durations = np.array([each.record.duration for each in found])
    apart = np.abs(np.subtract.outer(durations, durations))
    near = np.less_equal(apart, SAME_DURATION * np.maximum.outer(durations, durations))
    vectors = [each.heard.vectors for each in found]
    means = clip_means(np.concatenate(vectors), np.cumsum([0, *map(len, vectors[:-1])]))
    alike = near & (means @ means.T >= SAME_COSINE)
    np.fill_diagonal(alike, val=False)
    return alike


def diversified(heard: list[Heard], options: SearchOptions) -> list[Heard]:
    """Maximal marginal relevance: each next fits well and differs from those chosen before.

    Source: Carbonell and Goldstein 1998; ranks are scaled to 0..1 so that both parts compare.
    """
    if not heard:
        return []
    ranks = np.array([each.candidate.rank for each in heard], np.float32)
    fits = (ranks - ranks.min()) / max(float(np.ptp(ranks)), 1e-9)
    means = np.stack([clip_vector(each.vectors) for each in heard])
    nearest = np.zeros(len(heard), np.float32)
    left = np.ones(len(heard), bool)
    order: list[Heard] = []
    for _ in range(min(len(heard), 4 * options.limit)):
        value = (1 - options.diversity) * fits - options.diversity * nearest
        position = int(np.argmax(np.where(left, value, -np.inf)))
        left[position] = False
        order.append(heard[position])
        nearest = np.maximum(nearest, means @ means[position])
    return order


def clip_vector(vectors: Float32[np.ndarray, "windows dim"]) -> Vector:
    """A clip's embedding: the mean of its windows', of length 1."""
    total = np.add.reduce(vectors, axis=0)
    return total / max(math.sqrt(float(total @ total)), 1e-12)
