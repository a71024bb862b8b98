"""`wavtext search "a dog barking" DIR`: a table for people, JSON lines for programs.

`wavtext similar FILE DIR` is the same with a sound in place of words.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wavtext.cli.place import LibraryPlace, library_place

if TYPE_CHECKING:
    from wavtext.library.library import SearchResult

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def library_options(function: F) -> F:
    """--library and --model, as every command that opens a library takes them."""
    for option in (
        click.option("--model", metavar="NAME", help="A model's name or folder [the library's]."),
        click.option("--library", type=_PATH, metavar="FILE", help="The library's file."),
    ):
        function = option(function)
    return function


def result_options(function: F) -> F:
    """Filters, and what to do with results: the same for `search` and `similar`."""
    options = (
        click.option(
            "-n",
            "--limit",
            type=click.IntRange(1),
            default=10,
            show_default=True,
            help="Results at most.",
        ),
        click.option("--without", multiple=True, metavar="TEXT", help="What should not be heard."),
        click.option("--min-duration", type=float, metavar="S", help="Seconds at least."),
        click.option("--max-duration", type=float, metavar="S", help="Seconds at most."),
        click.option(
            "--folder", "inside", metavar="SUBDIR", help="Only sounds inside this folder of DIR."
        ),
        click.option("--format", "formats", multiple=True, help="Only this format: wav, flac, ..."),
        click.option("--sample-rate", type=int, metavar="HZ", help="At least so many Hz."),
        click.option("--channels", type=int, help="Exactly so many channels."),
        click.option("--after", metavar="DATE", help="Changed on this day or later: 2024-05-31."),
        click.option("--before", metavar="DATE", help="Changed before this day."),
        click.option("--licence", metavar="TEXT", help="Words in the licence: CC0."),
        click.option("--tag", "tags", multiple=True, help="A tag the sound must have."),
        click.option("--no-names", is_flag=True, help="Go by the sound alone, not by file names."),
        click.option("--no-adapt", is_flag=True, help="Leave out what `wavtext adapt` learned."),
        click.option("--copies", is_flag=True, help="Show sounds that sound the same one by one."),
        click.option(
            "--diverse",
            type=click.FloatRange(0, 0.99),
            default=0.0,
            metavar="0..1",
            help="How much results may not sound like each other.",
        ),
        click.option("--explain", is_flag=True, help="Show where in the sound, and which words."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line."),
        click.option("-o", "--out", type=_PATH, help="Write .json, .jsonl, .csv or .m3u8."),
        click.option("--reaper", type=_PATH, metavar="DIR", help="Write Reaper marker files."),
        click.option("--audition", type=_PATH, metavar="DIR", help="Write Audition markers."),
        click.option("--copy-to", type=_PATH, metavar="DIR", help="Copy the files found."),
        click.option("--link-to", type=_PATH, metavar="DIR", help="Link the files found."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(short_help="Find sounds by describing them.")
@click.argument("words", nargs=-1, metavar="[TEXT] DIR")
@click.option("--like", multiple=True, metavar="FILE[@START-END]", help="What to sound like.")
@library_options
@result_options
def search(
    words: tuple[str, ...],
    like: tuple[str, ...],
    library: Path | None,
    model: str | None,
    **options: Any,
) -> None:
    """Find sounds by describing them: wavtext search "a dog barking" DIR.

    Or by a sound, or by both: wavtext search "softer" --like door.wav@0-1.5 DIR.
    """
    if len(words) not in (1, 2) or (len(words) == 1 and not like):
        raise click.UsageError('Give a text and a folder: wavtext search "a dog barking" DIR')
    text = words[0] if len(words) == 2 else ""
    run_search(text, like, library_place(words[-1]), library, model, options)


@click.command(short_help="Find sounds that sound like a file.")
@click.argument("sound", metavar="FILE[@START-END]")
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@library_options
@result_options
def similar(
    sound: str, folder: Path | str, library: Path | None, model: str | None, **options: Any
) -> None:
    """Find sounds that sound like a file, or like a part of it: wavtext similar a.wav@2-3.5 DIR."""
    run_search("", (sound,), folder, library, model, options)


def run_search(
    text: str,
    like: Sequence[str],
    folder: Path | str,
    library: Path | None,
    model: str | None,
    options: dict[str, Any],
) -> None:
    """Search, print, and write what was asked for."""
    from wavtext.library.filters import Filters
    from wavtext.library.library import SoundLibrary

    filters = Filters(
        min_duration=options["min_duration"],
        max_duration=options["max_duration"],
        folder=options["inside"],
        formats=options["formats"],
        min_sample_rate=options["sample_rate"],
        channels=options["channels"],
        after=options["after"],
        before=options["before"],
        licence=options["licence"],
        tags=options["tags"],
    )
    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        results = sounds.search(
            text,
            limit=options["limit"],
            like=like or None,
            without=options["without"],
            filters=filters,
            names=not options["no_names"],
            group=not options["copies"],
            diversity=options["diverse"],
            explain=options["explain"],
            adapted=not options["no_adapt"],
        )
    if options["as_json"]:
        for rank, result in enumerate(results, 1):
            click.echo(json.dumps({"rank": rank, **result.to_dict()}))
    else:
        print_results(results, folder, text)
    _write(results, text or "like " + ", ".join(Path(each).name for each in like), options)


def print_results(results: "Sequence[SearchResult]", folder: Path | str, text: str) -> None:
    """A table: relevance, score, where in the file, file; an honest line when nothing fits."""
    from wavtext.library.relevance import nothing_matches

    if not results:
        click.echo("Nothing found.", err=True)
        return
    if nothing_matches(results, text):
        click.echo("Nothing here matches well. The nearest:", err=True)
    rows: list[tuple[str, str, str]] = []
    for result in results:
        fit = f"{result.score:.2f}"
        if result.relevance is not None:
            fit = f"{result.relevance:4.0%}  {fit}"
        name = result.uri or shown(result.path, folder)
        if result.duplicates:
            name += f"  (+{len(result.duplicates)} that sound the same)"
        rows.append((fit, place(result.start, result.end), name))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for result, (fit, span, name) in zip(results, rows, strict=True):
        click.echo(f"{fit:>{widths[0]}}  {span:>{widths[1]}}  {name}")
        indent = " " * (widths[0] + widths[1] + 4)
        if result.heat:
            click.echo(f"{indent}{heat_strip([window.score for window in result.heat])}")
        if result.why:
            said = ", ".join(f"{word} {share:.0%}" for word, share in result.why[:4])
            click.echo(f"{indent}by {said}")


def heat_strip(scores: Sequence[float], width: int = 60) -> str:
    """Scores along time as a line of bars, the highest of those that share a column."""
    columns = min(width, len(scores))
    parts = [
        max(scores[i * len(scores) // columns : (i + 1) * len(scores) // columns])
        for i in range(columns)
    ]
    low, high = min(parts), max(parts)
    bars = "▁▂▃▄▅▆▇█"
    if high - low < 1e-6:
        return bars[-1] * columns
    return "".join(bars[round((each - low) / (high - low) * 7)] for each in parts)


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


def shown(path: Path, folder: Path | str) -> str:
    """A path below the folder, printable whatever its bytes."""
    try:
        text = str(path.relative_to(Path(folder).expanduser().absolute()))
    except ValueError:
        text = str(path)
    text = text.encode(errors="backslashreplace").decode()
    # a name may hold a line's end, or what moves a terminal's cursor
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _write(results: "Sequence[SearchResult]", name: str, options: dict[str, Any]) -> None:
    """Files, markers and copies that were asked for."""
    from wavtext.library.export import gather, write_markers, write_results

    if options["out"] is not None:
        write_results(results, options["out"])
        click.echo(f"{len(results)} results written to {options['out']}", err=True)
    for kind in ("reaper", "audition"):
        if options[kind] is not None:
            written = write_markers(results, options[kind], kind, name)
            click.echo(f"{len(written)} marker files written to {options[kind]}", err=True)
    for option, link in (("copy_to", False), ("link_to", True)):
        if options[option] is not None:
            placed = gather(results, options[option], link=link)
            verb = "linked" if link else "copied"
            click.echo(f"{len(placed)} files {verb} into {options[option]}", err=True)
