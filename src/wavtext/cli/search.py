"""`wavtext search "a dog barking" DIR`: a table for people, JSON lines for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wavtext.library.library import SearchResult


@click.command(short_help="Find sounds by describing them.")
@click.argument("text")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--library", type=click.Path(path_type=Path), metavar="FILE", help="The library's file."
)
@click.option("--model", metavar="NAME", help="A model's name or folder.  [default: the library's]")
@click.option("-n", "--limit", type=click.IntRange(1), default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def search(
    text: str, folder: Path, library: Path | None, model: str | None, limit: int, as_json: bool
) -> None:
    """Find sounds by describing them: wavtext search "a dog barking" DIR."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        results = sounds.search(text, limit=limit)
    if as_json:
        for rank, result in enumerate(results, 1):
            click.echo(json.dumps({"rank": rank, **result.to_dict()}))
        return
    print_results(results, folder)


def print_results(results: "Sequence[SearchResult]", folder: Path) -> None:
    """A table: score, where in the file, file."""
    rows = [
        (f"{result.score:.2f}", place(result.start, result.end), shown(result.path, folder))
        for result in results
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)] if rows else [0, 0]
    for score, span, path in rows:
        click.echo(f"{score:>{widths[0]}}  {span:>{widths[1]}}  {path}")


def place(start: float, end: float) -> str:
    """A stretch of time: '3.5-8.5 s', '1:02:03-1:02:08'."""
    if end < 60:
        return f"{start:.1f}-{end:.1f} s"
    return f"{clock(start)}-{clock(end)}"


def clock(seconds: float) -> str:
    """Seconds as on a clock: '2:05', '1:02:03'."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def shown(path: Path, folder: Path) -> str:
    """A path below the folder, printable whatever its bytes."""
    try:
        text = str(path.relative_to(folder.expanduser().absolute()))
    except ValueError:
        text = str(path)
    return text.encode(errors="backslashreplace").decode()
