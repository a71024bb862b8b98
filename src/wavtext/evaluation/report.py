"""Evaluations -> report.json, report.md and report.html in one folder.

The JSON holds every number; Markdown and HTML show it, rendered from the same dictionary, so that
they cannot disagree.  HTML is one file with its plots inside; only the sounds it plays lie
elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from wavtext import __version__
from wavtext.evaluation.html import render_html
from wavtext.evaluation.markdown import render_markdown
from wavtext.evaluation.ranking import dot
from wavtext.evaluation.retrieval import (
    Direction,
    Evaluation,
    Task,
    compare_evaluations,
)
from wavtext.evaluation.robustness import Shift
from wavtext.evaluation.zero_shot import ZeroShot

DEFINITIONS = {
    "R@k": "any relevant item in the top k (the paper, Mei, WavCaps, LAION; MTEB's cv_recall_at_k)",
    "mAP@k": "(1/relevant) sum of i/rank_i over ranks <= k, ascending (the paper, DCASE)",
    "nDCG@10": "gain 1, discount log2(rank + 1)",
    "fraction R@k": "share of the relevant items in the top k (DCASE baseline; MTEB's recall_at_k)",
    "LAION mAP@10": "mAP@10, ranks in caption order: only to compare with LAION's printed values",
    "rank": "of the best relevant item; 1 is best; ties are settled against the model",
    "interval": "95 %, percentile bootstrap over clips (families where the manifest groups them), "
    "the pool fixed",
    "pool-matched": "expectation over all smaller pools that hold the query's own clip",
    "p (Holm)": "paired permutation test over clips, adjusted for the comparisons of this report",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a report may hold beside retrieval."""

    left_out: Sequence[Mapping[str, str]] = ()  # clips that could not be read: clip_id, reason
    zero_shot: Mapping[str, ZeroShot] = field(default_factory=dict[str, ZeroShot])
    robustness: Mapping[str, Mapping[str, Shift]] = field(
        default_factory=dict[str, Mapping[str, Shift]]
    )
    audio_to_audio: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )


def summarise(
    task: Task,
    evaluations: Sequence[Evaluation],
    *,
    data: Mapping[str, Any],
    extras: Extras | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every number of the report, ready for JSON.

    Args:
        task: What was asked.
        evaluations: One model, or two to compare on the same task.
        data: The manifest's identity: path, SHA-256, split.
        extras: Zero-shot, robustness and what was left out.
        resamples: Of the paired bootstrap.
        seed: Of all resampling.
    """
    extras = extras or Extras()
    result: dict[str, Any] = {
        "wavtext": __version__,
        "data": {
            **data,
            "clips": len(task.clips),
            "captions": len(task.captions),
            "relevance": task.relevance,
            "clusters": len(set(task.audio_clusters)),
            "repeated_captions": _repeated(task),
            "left_out": [*extras.left_out],
            "uncaptioned": list(task.uncaptioned),
        },
        "resamples": resamples,
        "seed": seed,
        "definitions": DEFINITIONS,
        "models": [_model(each, task, extras) for each in evaluations],
    }
    if len(evaluations) == 2:
        compared = compare_evaluations(*evaluations, resamples=resamples, seed=seed)
        result["comparison"] = {
            "a": evaluations[0].name,
            "b": evaluations[1].name,
            **{
                direction: {
                    metric: {**asdict(comparison), "permutation_p_holm": adjusted}
                    for metric, (comparison, adjusted) in metrics.items()
                }
                for direction, metrics in compared.items()
            },
        }
    return result


def write_report(
    folder: Path,
    summary: Mapping[str, Any],
    task: Task,
    evaluations: Sequence[Evaluation],
    *,
    plots: bool = True,
) -> list[Path]:
    """Write the three files; returns their paths.

    Args:
        folder: Made where it is missing.
        summary: From `summarise`.
        task: What was asked, for the players' files.
        evaluations: As for `summarise`, for the plots.
        plots: Draw plots; needs wavtext[evaluate].
    """
    figures: dict[str, str] = {}
    if plots:
        from wavtext.evaluation.plots import draw

        figures = draw(task, evaluations)
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {clip.clip_id: clip.path for clip in task.clips}
    texts = {
        "report.json": json.dumps(summary, indent=2, ensure_ascii=False) + "\n",
        "report.md": render_markdown(summary),
        "report.html": render_html(summary, figures, sounds, folder),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _model(evaluation: Evaluation, task: Task, extras: Extras) -> dict[str, Any]:
    result: dict[str, Any] = {"name": evaluation.name, "identity": evaluation.identity}
    for name, direction in evaluation.directions.items():
        result[name] = _direction(direction)
    result["hardest"] = _hardest(evaluation, task)
    if evaluation.name in extras.zero_shot:
        found = extras.zero_shot[evaluation.name]
        result["zero_shot"] = {
            "accuracy": asdict(found.accuracy),
            "mAP": found.mean_average_precision,
            "average_precision": found.average_precision,
            "absent": list(found.absent),
        }
    if evaluation.name in extras.audio_to_audio:
        result["audio_to_audio"] = extras.audio_to_audio[evaluation.name]
    if evaluation.name in extras.robustness:
        shifts = extras.robustness[evaluation.name]
        result["robustness"] = {damage: asdict(shift) for damage, shift in shifts.items()}
    return result


def _direction(direction: Direction) -> dict[str, Any]:
    return {
        "queries": len(direction.ranks),
        "pool": direction.ranks.pool,
        "metrics": {name: asdict(interval) for name, interval in direction.intervals.items()},
        "pool_matched": {
            metric: {str(size): value for size, value in sizes.items()}
            for metric, sizes in direction.pool_matched.items()
        },
    }


def _hardest(evaluation: Evaluation, task: Task, count: int = 20) -> list[dict[str, Any]]:
    """The captions whose clip ranks worst, with what was found in its place."""
    best = evaluation.text_to_audio.ranks.best
    rows = np.argsort(-best, kind="stable")[:count]
    score = dot(evaluation.text[rows], evaluation.audio)
    result: list[dict[str, Any]] = []
    for row, scores in zip(rows.tolist(), score, strict=True):
        wanted = int(task.clips_of[row][np.argmax(scores[task.clips_of[row]])])
        top = int(np.argmax(scores))
        result.append(
            {
                "caption": task.captions[row],
                "rank": int(best[row]),
                "clip": task.clips[wanted].clip_id,
                "score": float(scores[wanted]),
                "found": task.clips[top].clip_id,
                "found_caption": next(iter(task.clips[top].captions), ""),
                "found_score": float(scores[top]),
            }
        )
    return result


def _repeated(task: Task) -> int:
    """Captions that another clip has too: under relevance "own", right answers counted as wrong."""
    if task.relevance != "own":
        return 0
    clean = [" ".join(caption.split()).casefold() for caption in task.captions]
    owners: dict[str, set[int]] = {}
    for text, rows in zip(clean, task.clips_of, strict=True):
        owners.setdefault(text, set()).update(cast(list[int], rows.tolist()))
    return sum(len(owners[text]) > 1 for text in clean)
