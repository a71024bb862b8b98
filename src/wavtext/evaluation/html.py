"""A report's dictionary, plots and sounds -> one HTML file that needs no network."""

import os
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wavtext.evaluation.markdown import data_lines, tables

_STYLE = """
:root { color-scheme: light dark; --muted: #667; --line: #8883; --figure: #fff; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0.5rem; }
h2 { margin: 2.2rem 0 0.3rem; font-size: 1.15rem; }
p { max-width: 60rem; margin: 0.3rem 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: 0.3rem 1.1rem 0.3rem 0; text-align: left; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--muted); vertical-align: bottom; }
td { font-variant-numeric: tabular-nums; }
.interval { color: var(--muted); font-size: 0.85em; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--figure); border: 1px solid var(--line); padding: 0.5rem; }
figure svg { width: 100%; height: auto; }
figcaption { color: #444; font-size: 0.9em; }
audio { width: 15rem; height: 2rem; vertical-align: middle; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; }
dt { font-weight: 600; }
dd { margin: 0; }
@media (prefers-color-scheme: dark) {
  :root { --muted: #9aa; }
  body { background: #16181c; color: #e4e6ea; }
}
"""
_INTERVAL = re.compile(r"(-?[\d.]+ )(\[[-\d., ]+\])")


def render_html(
    summary: Mapping[str, Any],
    figures: Mapping[str, str],
    sounds: Mapping[str, Path],
    folder: Path,
) -> str:
    """The whole report as HTML.

    Args:
        summary: From `summarise`.
        figures: Title -> SVG.
        sounds: Clip id -> file, for the players of the hardest captions.
        folder: Where the file will lie; the players' links are relative to it.
    """
    parts = ["<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">']
    parts += ['<meta name="viewport" content="width=device-width">', "<title>Evaluation</title>"]
    parts += [f"<style>{_STYLE}</style>", "</head>", "<body>", "<h1>Evaluation</h1>"]
    parts += [f"<p>{escape(line)}</p>" for line in data_lines(summary)]
    sections = list(tables(summary))
    first = 3 if "comparison" in summary else 2  # the paper's tables, then plots, then the rest
    hardest = {f"Hardest captions of {model['name']}": model for model in summary["models"]}
    for number, (title, head, rows) in enumerate(sections):
        if number == first:
            parts += _plots(figures)
        parts.append(f"<h2>{escape(title)}</h2>")
        cells = [[_cell(cell) for cell in row] for row in rows]
        if title in hardest:
            for row, each in zip(cells, hardest[title]["hardest"], strict=True):
                row[2] += _player(sounds.get(each["clip"]), folder)
                row[3] += _player(sounds.get(each["found"]), folder)
        parts += _table([escape(cell) for cell in head], cells)
    parts.append("<h2>Definitions</h2>")
    parts.append("<dl>")
    for name, text in summary["definitions"].items():
        parts.append(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>")
    parts += ["</dl>", "</body>", "</html>"]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """A cell's text; what stands between an interval's brackets is set smaller."""
    found = _INTERVAL.fullmatch(text)
    if not found:
        return escape(text)
    return f'{found[1]}<span class="interval">{found[2]}</span>'


def _plots(figures: Mapping[str, str]) -> list[str]:
    if not figures:
        return []
    lines = ["<h2>Plots</h2>", '<div class="plots">']
    for title, svg in figures.items():
        lines.append(f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>")
    return [*lines, "</div>"]


def _player(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    try:
        relative = Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        relative = path.as_posix()
    return f'<br><audio controls preload="none" src="{quote(relative)}"></audio>'


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["<table>", "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return [*lines, "</table>"]
