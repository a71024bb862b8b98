"""Embeddings of clips and of class names -> accuracy, mAP per class; clips -> clips of their label.

classes = class_embeddings(model, ["dog", "rain"], templates=["this is a sound of {}"])
result = classify(model.embed_audio(paths), classes, labels, ["dog", "rain"])
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from wavtext.errors import EvaluationError
from wavtext.evaluation.embedding import Encoder
from wavtext.evaluation.metrics import NoRelevant, Ranks, ranks, ranks_of, rows_with_label
from wavtext.evaluation.ranking import dot
from wavtext.evaluation.statistics import Interval, bootstrap

TEMPLATES = ("This is a sound of {}.", "{}", "The sound of {}.", "{} can be heard.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """Zero-shot classification of clips that have one class each."""

    accuracy: Interval
    mean_average_precision: float  # over the classes that occur
    average_precision: dict[str, float]  # class -> AP over all clips
    correct: Bool[np.ndarray, " clips"]
    absent: tuple[str, ...]  # classes without a clip: no AP is defined


def class_embeddings(
    model: Encoder, classes: Sequence[str], *, templates: Sequence[str] = TEMPLATES[:1]
) -> Float[np.ndarray, "classes dim"]:
    """One embedding a class: the normalised mean over the templates (an ensemble with several).

    Args:
        model: An encoder with a text tower.
        classes: Class names; underscores are read as spaces.
        templates: Sentences with one `{}` each.
    """
    if not classes or len(set(classes)) != len(classes):
        raise EvaluationError("class names must be at least one, and all different.")
    for template in templates:
        if template.count("{}") != 1:
            raise EvaluationError(f"the template {template!r} must hold '{{}}' once.")
    if not templates:
        raise EvaluationError("there is no template.", help="Give at least '{}'.")
    names = [name.replace("_", " ") for name in classes]
    total = np.mean(
        [
            model.embed_text([template.replace("{}", name) for name in names])
            for template in templates
        ],
        axis=0,
    )
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def classify(
    clip_embeddings: Float[np.ndarray, "clips dim"],
    classes: Float[np.ndarray, "classes dim"],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> ZeroShot:
    """Accuracy and average precision; of equally near classes a wrong one is taken.

    Args:
        clip_embeddings: One row a clip.
        classes: From `class_embeddings`.
        labels: The right class of each clip.
        names: The class of each row of `classes`.
        groups: Clusters for the interval; None: each clip by itself.
        seed: Of the bootstrap.
    """
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise EvaluationError(f"{len(unknown)} labels are not classes, as {unknown[0]!r}.")
    right = rows_with_label(labels, names)
    correct = ranks(clip_embeddings, classes, right).hits_at(1)
    score = dot(classes, clip_embeddings)  # (classes, clips)
    relevant = np.array(names)[:, None] == np.array(labels)
    present = relevant.any(axis=1)
    precision = ranks_of(score[present], relevant[present]).average_precisions_at(len(labels))
    occurring = [name for name, here in zip(names, present, strict=True) if here]
    return ZeroShot(
        accuracy=bootstrap(correct, groups or np.arange(len(labels)), seed=seed),
        mean_average_precision=float(precision.mean()),
        average_precision=dict(zip(occurring, precision.tolist(), strict=True)),
        correct=correct.astype(bool),
        absent=tuple(name for name, here in zip(names, present, strict=True) if not here),
    )


def audio_to_audio(
    clip_embeddings: Float[np.ndarray, "clips dim"],
    labels: Sequence[Hashable],
    *,
    no_relevant: NoRelevant = "error",
) -> Ranks:
    """Ranks of the other clips with each clip's label; a clip is never ranked for itself.

    A clip whose label nobody shares has no relevant clip: an error, or left out by `no_relevant`.
    """
    if len(labels) != len(clip_embeddings):
        raise EvaluationError(f"there are {len(clip_embeddings)} clips and {len(labels)} labels.")
    rows = np.arange(len(labels))
    others = [same[same != row] for row, same in enumerate(rows_with_label(labels, labels))]
    return ranks(clip_embeddings, clip_embeddings, others, itself=rows, no_relevant=no_relevant)
