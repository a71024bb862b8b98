"""How well held-out names find their sounds, and how calm general captions stay.

R@10 and mAP@10, text to audio, over all clips of the library, by the clips' mean embeddings and
without the words of file names. mAP@10 of one name: the sum, over its clips among the first ten, of
the precision down to that clip, divided by the number of its clips (by ten where there are more).
Of equal scores the irrelevant one ranks first. Intervals: paired bootstrap over families of names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, Int64

from wavtext.library.adapt.residual import Names, Setting, solve, unit

TOP = 10
ROUNDS = 1000  # of the bootstrap
RIDGES = (0.3, 1.0)
STRENGTHS = (0.5, 1.0, 2.0, 3.0)
WORD_SHARES = (0.3, 0.6)
LEAST_MEDIAN, LEAST_LOW = 0.90, 0.75  # cosine of general captions: median and 5th percentile
LEAST_VARIETY = 0.8  # of the different clips among their first ten, against before
_TIE = 1e-6  # by which an irrelevant clip of equal score is ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A measure before and after, and the 95 % interval of the difference."""

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(slots=True, eq=False)
class Material:
    """What is learned from, and what it is measured on.

    Attributes:
        names: The names.
        family: Of each name.
        clips: Embeddings of the clips that names compete for.
        name_of_clip: The name of each clip; -1 for none.
        captions: General captions.
        caption_embeddings: Of them.
        operations: Multiplications done so far.
    """

    names: Names
    family: Int64[np.ndarray, " names"]
    clips: Float32[np.ndarray, "clips dim"]
    name_of_clip: Int64[np.ndarray, " clips"]
    captions: Sequence[str]
    caption_embeddings: Float32[np.ndarray, "captions dim"]
    operations: float = 0.0
    targets: Float32[np.ndarray, "names dim"] = field(init=False)
    base: Float32[np.ndarray, "names clips"] = field(init=False)
    _near: Float32[np.ndarray, "rows names"] = field(init=False)
    _shared: Float32[np.ndarray, "rows names"] = field(init=False)

    def __post_init__(self) -> None:
        embeddings, count = self.names.embeddings, len(self.names.texts)
        sums = np.zeros((count, self.clips.shape[1]), np.float32)
        named = self.name_of_clip >= 0
        np.add.at(sums, self.name_of_clip[named], self.clips[named])
        held = np.bincount(self.name_of_clip[named], minlength=count)[:, None]
        self.targets = unit(sums / np.maximum(held, 1) - self.clips.mean(axis=0))
        self.base = self.multiply(embeddings, self.clips.T)
        self.base[self.name_of_clip[named], np.flatnonzero(named)] -= _TIE
        rows = np.concatenate([embeddings, self.caption_embeddings])  # names, then captions
        self._near = self.names.near(rows)
        self._shared = self.names.shared([*self.names.texts, *self.captions])

    def multiply(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """A matrix product, counted."""
        self.operations += float(left.shape[0]) * left.shape[1] * right.shape[1]
        return left @ right

    def kernel(
        self, share: float, columns: Int64[np.ndarray, " some"]
    ) -> Float32[np.ndarray, "rows some"]:
        """The kernel of all names, then of all captions, with some names."""
        return (1 - share) * self._near[:, columns] + share * self._shared[:, columns]

    def coefficients(
        self, share: float, ridge: float, some: Int64[np.ndarray, " some"]
    ) -> tuple[Float32[np.ndarray, "some dim"], Float32[np.ndarray, "rows some"]]:
        """What is learned from some names, and their kernel with all names and captions."""
        kernel = self.kernel(share, some)
        self.operations += 2 / 3 * len(some) ** 3
        return solve(kernel[some], self.targets[some], ridge), kernel

    def trials(
        self,
        train: Int64[np.ndarray, " train"],
        test: Int64[np.ndarray, " test"],
        settings: Sequence[Setting],
    ) -> Iterator[tuple[Setting, Float64[np.ndarray, "test 2"] | None]]:
        """R@10 and AP@10 of test names for each setting; None where captions move too far."""
        count = len(self.names.texts)
        pairs = sorted({(each.words, each.ridge) for each in settings})
        for share, ridge in pairs:
            learned, kernel = self.coefficients(share, ridge, train)
            moved = self.multiply(self.multiply(kernel[test], learned), self.clips.T)
            captions = self.multiply(kernel[count:], learned)
            for setting in settings:
                if (setting.words, setting.ridge) != (share, ridge):
                    continue
                if not self.calm(captions, setting.strength):
                    yield setting, None
                else:
                    scores = self.base[test] + setting.strength * moved
                    yield setting, self.top_ten(scores, test)

    def top_ten(
        self, scores: Float32[np.ndarray, "some clips"], some: Int64[np.ndarray, " some"]
    ) -> Float64[np.ndarray, "some 2"]:
        """R@10 and AP@10 of some names."""
        best = first(scores)
        hits = self.name_of_clip[best] == some[:, None]
        precision = np.cumsum(hits, axis=1) / np.arange(1, best.shape[1] + 1)
        held = np.bincount(self.name_of_clip[self.name_of_clip >= 0], minlength=len(self.base))
        total = np.clip(held[some], 1, TOP)
        return np.stack([hits.any(axis=1), (precision * hits).sum(axis=1) / total], axis=1)

    def cosines(
        self, residuals: Float32[np.ndarray, "captions dim"], strength: float
    ) -> Float32[np.ndarray, " captions"]:
        """Of each general caption after to before: both have length 1 but for the residual."""
        along = np.einsum("cd,cd->c", self.caption_embeddings, residuals)
        size = np.einsum("cd,cd->c", residuals, residuals)
        length = np.sqrt(1 + 2 * strength * along + strength**2 * size)
        return (1 + strength * along) / np.maximum(length, 1e-12)

    def calm(self, residuals: Float32[np.ndarray, "captions dim"], strength: float) -> bool:
        """True when general captions stay about where they were."""
        low, median = np.percentile(self.cosines(residuals, strength), [5, 50])
        return bool(median >= LEAST_MEDIAN and low >= LEAST_LOW)

    def variety(self, residuals: Float32[np.ndarray, "captions dim"], strength: float) -> float:
        """Different clips among the captions' first ten, after as a share of before."""
        after = self.caption_embeddings + strength * residuals
        counts = [
            len(np.unique(first(self.multiply(some, self.clips.T))))
            for some in (self.caption_embeddings, after)
        ]
        return counts[1] / counts[0]


def first(scores: Float32[np.ndarray, "queries clips"]) -> Int64[np.ndarray, "queries top"]:
    """The ten best clips of each query, best first."""
    top = min(TOP, scores.shape[1])
    best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def folds(
    family: Int64[np.ndarray, " names"], count: int, rng: np.random.Generator
) -> list[tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]]:
    """Splits of names, each family on one side."""
    _, place = np.unique(family, return_inverse=True)
    fold = (rng.permutation(int(place.max()) + 1) % count)[place]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


def change(
    before: Float64[np.ndarray, " names"],
    after: Float64[np.ndarray, " names"],
    family: Int64[np.ndarray, " names"],
    rng: np.random.Generator,
) -> Change:
    """Means before and after, with a paired bootstrap over families."""
    _, place = np.unique(family, return_inverse=True)
    sums, counts = np.bincount(place, after - before), np.bincount(place)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=ROUNDS)
    low, high = np.percentile((draws @ sums) / (draws @ counts), [2.5, 97.5])
    return Change(
        before=float(before.mean()), after=float(after.mean()), low=float(low), high=float(high)
    )
