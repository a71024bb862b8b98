"""The paper's Figure 1 for any collection: its most frequent words as bars.  PNG or SVG."""

from collections.abc import Sequence
from pathlib import Path

from wavtext.errors import ConfigError, MissingExtraError

SUFFIXES = (".png", ".svg")


def save_word_figure(words: Sequence[tuple[str, int]], path: Path, *, title: str) -> None:
    """Draw words and how often they come.

    Raises:
        ConfigError: The suffix is neither .png nor .svg, or there are no words.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: a figure is .png or .svg.")
    if not words:
        raise ConfigError(f"{path}: there are no words to draw.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("corpora", "drawing the figure of frequent words") from error
    # Not pyplot: it keeps global state and looks for a display.
    figure = Figure(figsize=(8, 0.24 * len(words) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [word for word, _ in reversed(words)]
    counts = [count for _, count in reversed(words)]
    bars = axes.barh(names, counts, color="#3b6ea5")
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_xlabel("occurrences")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without dates, so that two runs give the same file.
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    figure.savefig(path, dpi=150, metadata=metadata)
