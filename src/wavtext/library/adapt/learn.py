"""From a library's names to a correction that is kept only when held-out names are found better.

Five parts of the names, families apart, are held out in turn; settings are chosen on the other four
by three inner parts. What is reported is the five held-out parts together. The correction that is
kept is learned from all names, its setting chosen by the same five parts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import LibraryError
from wavtext.library.adapt.measure import (
    LEAST_LOW,
    LEAST_MEDIAN,
    LEAST_VARIETY,
    RIDGES,
    STRENGTHS,
    WORD_SHARES,
    Change,
    Material,
    change,
    folds,
)
from wavtext.library.adapt.residual import Adaptation, Names, Setting
from wavtext.library.adapt.vocabulary import Source, Vocabulary, read_vocabulary
from wavtext.library.notes import Notes
from wavtext.library.pipeline import Embedder
from wavtext.model.captions import CAPTION_BANK, read_captions

MIN_FAMILIES = 50  # names; below, nothing can be said about held-out ones
MAX_NAMES = 2500  # drawn from more: keeps the work below two minutes
MAX_CLIPS = 8000  # that names compete for
OUTER, INNER = 5, 3
_BATCH = 64  # texts

SETTINGS = tuple(
    Setting(ridge=ridge, strength=strength, words=words)
    for words, ridge, strength in product(WORD_SHARES, RIDGES, STRENGTHS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptReport:
    """What was learned and measured.

    Attributes:
        clips: Of the library.
        dropped: Clips whose name says nothing.
        names: Different names that were learned from.
        families: Of names; one is never on both sides of a held-out split.
        recall: R@10 of held-out names.
        precision: mAP@10 of held-out names.
        caption_cosine: Of general captions, after to before: median and 5th percentile.
        caption_variety: Different clips among their first ten, after as a share of before.
        setting: What was chosen; None when no setting leaves general captions in place.
        better: True when it is worth keeping.
        reason: Why it is not, in one line.
        saved: True when searches use it now.
        operations: Multiplications.
        elapsed: Seconds.
    """

    clips: int
    dropped: int
    names: int
    families: int
    recall: Change
    precision: Change
    caption_cosine: tuple[float, float]
    caption_variety: float
    setting: Setting | None
    better: bool
    reason: str
    saved: bool
    operations: float
    elapsed: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def learn(
    paths: Sequence[str],
    notes_of: Callable[[int], Notes],
    embeddings: Float32[np.ndarray, "clips dim"],
    model: Embedder,
    *,
    source: Source = "auto",
    seed: int = 0,
) -> tuple[Adaptation | None, AdaptReport]:
    """Learn a correction, measure it, and give it back when it is better.

    Args:
        paths: Of the clips, relative to the library's folder.
        notes_of: What is written about the i-th clip.
        embeddings: Of the clips, of length 1.
        model: Embeds texts.
        source: Where names come from.
        seed: Of the splits, and of the draw from large libraries.

    Raises:
        LibraryError: Too few clips have a name that says something.
    """
    begin, rng = time.perf_counter(), np.random.default_rng(seed)
    vocabulary = read_vocabulary(paths, notes_of, embeddings, source)
    if vocabulary.num_families < MIN_FAMILIES:
        raise LibraryError(
            f"only {vocabulary.num_families} different names in {len(paths)} sounds say something "
            f"({vocabulary.dropped} sounds have none that does); {MIN_FAMILIES} are needed.",
            help="Other sources of words: --from names, captions, tags or folders.",
        )
    material = _material(vocabulary, embeddings, model, rng)
    everything = np.arange(len(material.names.texts))
    before = material.top_ten(material.base, everything)
    after = before.copy()
    for train, test in folds(material.family, OUTER, rng):
        for chosen in _ranked(material, train, INNER, rng):
            found = next(iter(material.trials(train, test, [chosen])))[1]
            if found is not None:
                after[test] = found
                break
    recall, precision = (change(before[:, i], after[:, i], material.family, rng) for i in range(2))
    adaptation, cosine, variety = None, (1.0, 1.0), 1.0
    for setting in _ranked(material, everything, OUTER, rng):
        learned, residuals = _fit(material, setting, model.identity)
        if material.calm(residuals, setting.strength):
            adaptation = learned
            low, median = np.percentile(material.cosines(residuals, setting.strength), [5, 50])
            cosine = (float(median), float(low))
            variety = material.variety(residuals, setting.strength)
            break
    reason = _why_not(recall, precision, adaptation, variety)
    report = AdaptReport(
        clips=len(paths),
        dropped=vocabulary.dropped,
        names=len(everything),
        families=len(np.unique(material.family)),
        recall=recall,
        precision=precision,
        caption_cosine=cosine,
        caption_variety=variety,
        setting=adaptation.setting if adaptation else None,
        better=not reason,
        reason=reason,
        saved=False,
        operations=material.operations,
        elapsed=time.perf_counter() - begin,
    )
    if adaptation is None or reason:
        return None, report
    adaptation.report.update(report.to_dict())
    return adaptation, report


def _material(
    vocabulary: Vocabulary,
    embeddings: Float32[np.ndarray, "clips dim"],
    model: Embedder,
    rng: np.random.Generator,
) -> Material:
    """Names and clips to work with: all, or a draw of whole families from a large library."""
    families = rng.permutation(np.unique(vocabulary.family))
    sizes = np.bincount(vocabulary.family, minlength=len(vocabulary.texts))[families]
    taken = families[np.cumsum(sizes) <= MAX_NAMES]
    kept = np.flatnonzero(np.isin(vocabulary.family, taken))
    number = np.full(len(vocabulary.texts) + 1, -1)  # the last: no name
    number[kept] = np.arange(len(kept))
    name_of_clip = number[vocabulary.text_of_clip]
    order = rng.permutation(len(embeddings))
    order = np.concatenate([order[name_of_clip[order] >= 0], order[name_of_clip[order] < 0]])
    clips = np.sort(order[:MAX_CLIPS])
    captions = read_captions(CAPTION_BANK)
    caption_embeddings = _embed(model, captions)
    texts = tuple(vocabulary.texts[i] for i in kept)
    embedded = _embed(model, texts)
    return Material(
        Names(texts, embedded, caption_embeddings.mean(axis=0)),
        vocabulary.family[kept],
        embeddings[clips],
        name_of_clip[clips],
        captions,
        caption_embeddings,
    )


def _embed(model: Embedder, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
    parts = [model.embed_text(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
    return np.concatenate(parts).astype(np.float32)


def _ranked(
    material: Material, some: Int64[np.ndarray, " some"], parts: int, rng: np.random.Generator
) -> list[Setting]:
    """Settings that keep general captions in place, by mAP@10 over held-out parts of some names."""
    total = dict.fromkeys(SETTINGS, 0.0)
    for train, test in folds(material.family[some], parts, rng):
        for setting, found in material.trials(some[train], some[test], SETTINGS):
            if found is None:
                total.pop(setting, None)
            elif setting in total:
                total[setting] += float(found[:, 1].sum())
    return sorted(total, key=lambda setting: -total[setting])


def _fit(
    material: Material, setting: Setting, identity: str
) -> tuple[Adaptation, Float32[np.ndarray, "captions dim"]]:
    """The correction learned from all names, and what it adds to the general captions."""
    names = material.names
    everything = np.arange(len(names.texts))
    learned, kernel = material.coefficients(setting.words, setting.ridge, everything)
    residuals = material.multiply(kernel[len(everything) :], learned)
    return Adaptation(names, learned, setting, identity, {}), residuals


def _why_not(
    recall: Change, precision: Change, adaptation: Adaptation | None, variety: float
) -> str:
    """Why a correction is refused, in one line; empty when it is good."""
    if precision.low <= 0 or recall.difference < 0:
        return (
            "held-out names are not found clearly better "
            f"(mAP@10 {precision.before:.3f} -> {precision.after:.3f}, 95 % interval of the "
            f"difference {precision.low:+.3f} to {precision.high:+.3f}; "
            f"R@10 {recall.before:.3f} -> {recall.after:.3f})"
        )
    if adaptation is None:
        return (
            "general queries would move too far (median cosine to before below "
            f"{LEAST_MEDIAN}, or 5th percentile below {LEAST_LOW})"
        )
    if variety < LEAST_VARIETY:
        return (
            f"general queries would all find the same sounds ({variety:.0%} of the different "
            f"sounds that they find now; {LEAST_VARIETY:.0%} are asked for)"
        )
    return ""
