"""A report's dictionary, plots and sounds -> one HTML file that needs no network."""

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wavtext.evaluation.markdown import data_lines, tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { padding: 0.25rem 0.7rem; text-align: left; border-bottom: 1px solid #8884; }
td { font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 100%; background: #fff; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #444; padding: 0 0.5rem 0.3rem; }
audio { height: 2rem; vertical-align: middle; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e4e6ea; } }
"""


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
    hardest = {f"Hardest captions of {model['name']}": model for model in summary["models"]}
    for title, head, rows in tables(summary):
        parts.append(f"<h2>{escape(title)}</h2>")
        cells = [[escape(cell) for cell in row] for row in rows]
        if title in hardest:
            for row, each in zip(cells, hardest[title]["hardest"], strict=True):
                row[2] += _player(sounds.get(each["clip"]), folder)
                row[3] += _player(sounds.get(each["found"]), folder)
        parts += _table([escape(cell) for cell in head], cells)
    if figures:
        parts.append("<h2>Plots</h2>")
    for title, svg in figures.items():
        parts.append(f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>")
    parts.append("<h2>Definitions</h2>")
    parts.append("<dl>")
    for name, text in summary["definitions"].items():
        parts.append(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>")
    parts += ["</dl>", "</body>", "</html>"]
    return "\n".join(parts) + "\n"


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
