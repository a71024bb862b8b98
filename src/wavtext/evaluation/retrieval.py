"""Clips with captions + their embeddings -> both directions of retrieval, measured with intervals.

Relevance is "own" (a caption asks for its own clip, as in the paper) or "same-caption" (equal
captions are one query, and every clip that bears it answers): what short titles that recur need.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from wavtext.corpora.manifest import Clip
from wavtext.errors import EvaluationError
from wavtext.evaluation.metrics import per_query, ranks
from wavtext.evaluation.pool import clips_above, expected_map_at, recall_curve
from wavtext.evaluation.ranking import Ranks, dot
from wavtext.evaluation.statistics import (
    Comparison,
    Interval,
    bootstrap,
    compare,
    holm,
)

Relevance = Literal["own", "same-caption"]
PAPER_METRICS = ("mAP@10", "R@1", "R@5", "R@10", "R@50")  # the columns of the paper's tables
POOL_SIZES = (50, 100, 250, 500, 742, 816, 957, 975, 1045, 2000, 5000)  # 742-975: AudioCaps' lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked of a model: the pool, the captions and which belong together."""

    clips: tuple[Clip, ...]
    captions: tuple[str, ...]
    clips_of: tuple[Int[np.ndarray, " clips"], ...]  # rows of the clips that answer each caption
    captions_of: tuple[Int[np.ndarray, " captions"], ...]  # rows of the captions of each clip
    relevance: Relevance
    uncaptioned: tuple[str, ...] = ()  # ids of clips left out because they have no caption

    @property
    def text_clusters(self) -> list[Hashable]:
        """The cluster of each caption: its clip's family, or itself when families share it."""
        clusters: list[Hashable] = []
        for caption, rows in zip(self.captions, self.clips_of, strict=True):
            families = {_family(self.clips[row]) for row in rows}
            clusters.append(families.pop() if len(families) == 1 else ("caption", caption))
        return clusters

    @property
    def audio_clusters(self) -> list[Hashable]:
        """The cluster of each clip: its family, or itself."""
        return [_family(clip) for clip in self.clips]


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of retrieval."""

    ranks: Ranks
    values: dict[str, Float[np.ndarray, " queries"]]
    intervals: dict[str, Interval]
    clusters: list[Hashable]
    pool_matched: dict[str, dict[int, float]]  # metric -> pool size in clips -> expected value


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model on a task."""

    name: str
    identity: str
    audio: Float[np.ndarray, "clips dim"]
    text: Float[np.ndarray, "captions dim"]
    text_to_audio: Direction
    audio_to_text: Direction

    @property
    def directions(self) -> dict[str, Direction]:
        """Both, by name."""
        return {"text_to_audio": self.text_to_audio, "audio_to_text": self.audio_to_text}


def retrieval_task(
    clips: Sequence[Clip],
    *,
    relevance: Relevance = "own",
    no_captions: Literal["error", "exclude"] = "error",
) -> Task:
    """The task of a manifest's clips (one split of it).

    Args:
        clips: The pool.
        relevance: Which clips answer a caption.
        no_captions: What to do with clips that have none: an error, or leave them out of the pool;
            `Task.uncaptioned` then names them.

    Raises:
        EvaluationError: There are no clips, an id comes twice, or clips have no captions.
    """
    if relevance not in ("own", "same-caption"):
        raise EvaluationError(f"relevance is {relevance!r}; it must be 'own' or 'same-caption'.")
    seen: set[str] = set()
    for clip in clips:
        if clip.clip_id in seen:
            raise EvaluationError(
                f"the clip_id {clip.clip_id!r} comes twice.", help="Each clip is ranked once."
            )
        seen.add(clip.clip_id)
    without = tuple(clip.clip_id for clip in clips if not any(map(_clean, clip.captions)))
    if without and no_captions == "error":
        raise EvaluationError(
            f"{len(without)} of {len(clips)} clips have no caption; the first is {without[0]!r}.",
            help="Caption them, or leave them out of the pool: --exclude-uncaptioned.",
        )
    kept = tuple(clip for clip in clips if clip.clip_id not in set(without))
    if not kept:
        raise EvaluationError("there are no clips with captions to evaluate on.")
    captions: list[str] = []
    rows: dict[Hashable, list[int]] = {}
    for row, clip in enumerate(kept):
        for number, caption in enumerate(filter(_clean, clip.captions)):
            key = _clean(caption) if relevance == "same-caption" else (row, number)
            if key not in rows:
                captions.append(caption.strip())
                rows[key] = []
            if row not in rows[key]:
                rows[key].append(row)
    clips_of = tuple(np.array(each) for each in rows.values())
    captions_of: list[list[int]] = [[] for _ in kept]
    for caption_row, clip_rows in enumerate(clips_of):
        for row in clip_rows:
            captions_of[row].append(caption_row)
    return Task(
        clips=kept,
        captions=tuple(captions),
        clips_of=clips_of,
        captions_of=tuple(np.array(each) for each in captions_of),
        relevance=relevance,
        uncaptioned=without,
    )


def evaluate(
    task: Task,
    audio: Float[np.ndarray, "clips dim"],
    text: Float[np.ndarray, "captions dim"],
    *,
    name: str,
    identity: str,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure a model's embeddings on a task, in both directions.

    Args:
        task: From `retrieval_task`.
        audio: One row for each of the task's clips.
        text: One row for each of the task's captions.
        name: The model's name.
        identity: The model's identity.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    directions: list[Direction] = []
    for queries, pool, relevant, clusters in (
        (text, audio, task.clips_of, task.text_clusters),
        (audio, text, task.captions_of, task.audio_clusters),
    ):
        found = ranks(queries, pool, relevant)
        values = per_query(found)
        intervals = {
            metric: bootstrap(each, clusters, resamples=resamples, seed=seed)
            for metric, each in values.items()
        }
        median = bootstrap(found.best, clusters, statistic="median", resamples=resamples, seed=seed)
        directions.append(
            Direction(
                ranks=found,
                values=values,
                intervals=intervals | {"median rank": median},
                clusters=clusters,
                pool_matched=_pool_matched(task, queries, pool, relevant),
            )
        )
    return Evaluation(
        name=name,
        identity=identity,
        audio=audio,
        text=text,
        text_to_audio=directions[0],
        audio_to_text=directions[1],
    )


def compare_evaluations(
    a: Evaluation, b: Evaluation, *, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, tuple[Comparison, float]]]:
    """A minus B in each direction and paper metric, with the permutation test's p after Holm."""
    found = {
        (direction, metric): compare(
            here.values[metric],
            b.directions[direction].values[metric],
            here.clusters,
            resamples=resamples,
            seed=seed,
        )
        for direction, here in a.directions.items()
        for metric in PAPER_METRICS
    }
    adjusted = holm({f"{d} {m}": each.permutation_p for (d, m), each in found.items()})
    return {
        direction: {
            metric: (found[direction, metric], adjusted[f"{direction} {metric}"])
            for metric in PAPER_METRICS
        }
        for direction in a.directions
    }


def _pool_matched(
    task: Task, queries: np.ndarray, pool: np.ndarray, relevant: Sequence[np.ndarray]
) -> dict[str, dict[int, float]]:
    """Expected metrics in smaller pools; nothing where a caption has several clips."""
    number = len(task.clips)
    sizes = [size for size in POOL_SIZES if size < number]
    if task.relevance != "own" or not sizes:
        return {}
    text_to_audio = relevant is task.clips_of
    owners = np.array([int(rows[0]) for rows in task.clips_of])
    item_clips = np.arange(number) if text_to_audio else owners
    above: list[np.ndarray] = []
    step = max(1, 2**25 // len(pool))
    for first in range(0, len(queries), step):
        score = dot(queries[first : first + step], pool)
        mask = np.zeros(score.shape, bool)
        for row, wanted in enumerate(relevant[first : first + step]):
            mask[row, wanted] = True
        above.append(clips_above(score, mask, item_clips))
    counts = np.concatenate(above)
    result = {
        f"R@{k}": dict(zip(sizes, recall_curve(counts, k, sizes).tolist(), strict=True))
        for k in (1, 5, 10)
    }
    if text_to_audio:
        result["mAP@10"] = {size: expected_map_at(counts, 10, size) for size in sizes}
    return result


def _family(clip: Clip) -> Hashable:
    return ("group", clip.group) if clip.group else ("clip", clip.clip_id)


def _clean(caption: str) -> str:
    return " ".join(caption.split()).casefold()
