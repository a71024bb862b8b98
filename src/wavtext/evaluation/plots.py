"""Evaluations -> plots as SVG text: R@k curves, rank histogram, pool curve, similarity matrix."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wavtext.errors import MissingExtraError
from wavtext.evaluation.ranking import dot
from wavtext.evaluation.retrieval import Evaluation, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {"text_to_audio": "text to audio", "audio_to_text": "audio to text"}
_POOL_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_MATRIX = 150  # clips shown of the similarity matrix


def require_matplotlib() -> None:
    """Fail early, before anything long runs, when plots cannot be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("evaluate", "Drawing plots") from error


def draw(task: Task, evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Caption -> SVG, self-contained and the same for the same numbers."""
    require_matplotlib()
    figures = {
        "Recall at every cut-off: share of queries with a relevant item in the top k": _recall(
            evaluations
        ),
        "Where the best relevant item ranks": _histogram(evaluations),
    }
    if evaluations[0].text_to_audio.pool_matched:
        title = "Text to audio had the pool N clips: expectation over all smaller pools"
        figures[title] = _pool(evaluations, len(task.clips))
    shown = min(len(task.clips), _MATRIX)
    for evaluation in evaluations:
        title = f"Cosine of captions and clips by {evaluation.name}, first {shown} clips"
        figures[title] = _matrix(task, evaluation, shown)
    return {title: _svg(figure, title) for title, figure in figures.items()}


def _recall(evaluations: Sequence[Evaluation]) -> "Figure":
    figure, axes = _figure("k", "R@k")
    for number, evaluation in enumerate(evaluations):
        for name, direction in evaluation.directions.items():
            best = np.sort(direction.ranks.best)
            k = np.unique(np.geomspace(1, direction.ranks.pool, 60).astype(int))
            recall = np.searchsorted(best, k, side="right") / len(best)
            style = "-" if name == "text_to_audio" else "--"
            axes.plot(
                k, recall, style, color=f"C{number}", label=f"{evaluation.name}, {_LABELS[name]}"
            )
    _log(axes)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)
    return figure


def _histogram(evaluations: Sequence[Evaluation]) -> "Figure":
    figure, axes = _figure("rank (text to audio)", "queries")
    pool = max(evaluation.text_to_audio.ranks.pool for evaluation in evaluations)
    edges = np.unique(np.concatenate([[1, 2, 3], np.geomspace(4, pool + 1, 20).astype(int)]))
    for evaluation in evaluations:
        axes.hist(
            evaluation.text_to_audio.ranks.best,
            bins=edges.tolist(),
            alpha=0.6,
            label=evaluation.name,
        )
    _log(axes)
    axes.legend(fontsize=8)
    return figure


def _pool(evaluations: Sequence[Evaluation], clips: int) -> "Figure":
    figure, axes = _figure("clips in the pool", "expected R@k")
    for number, evaluation in enumerate(evaluations):
        direction = evaluation.text_to_audio
        for metric, style in (("R@1", ":"), ("R@5", "--"), ("R@10", "-")):
            curve = direction.pool_matched[metric] | {clips: direction.intervals[metric].estimate}
            axes.plot(
                list(curve),
                list(curve.values()),
                style,
                color=f"C{number}",
                marker=".",
                label=f"{evaluation.name}, {metric}",
            )
    _log(axes)
    smallest = min(evaluations[0].text_to_audio.pool_matched["R@1"])
    axes.set_xticks([size for size in _POOL_TICKS if smallest <= size <= clips] or [clips])
    axes.legend(fontsize=8)
    return figure


def _matrix(task: Task, evaluation: Evaluation, shown: int) -> "Figure":
    figure, axes = _figure("clip", "caption of clip")
    rows = [int(task.captions_of[clip][0]) for clip in range(shown)]
    score = dot(evaluation.text[rows], evaluation.audio[:shown])
    figure.colorbar(axes.imshow(score, cmap="viridis", interpolation="nearest"), ax=axes)
    axes.grid(visible=False)
    return figure


def _log(axes: Any) -> None:
    """A logarithmic axis that says 1, 10, 100."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")


def _figure(x: str, y: str) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: "Figure", title: str) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
