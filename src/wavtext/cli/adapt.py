"""`wavtext adapt DIR`: searches learn what the user calls things; `--undo` takes it back."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavtext.cli.search import library_options

if TYPE_CHECKING:
    from wavtext.library.adapt.learn import AdaptReport

_PATH = click.Path(path_type=Path)
_SOURCES = ("auto", "names", "captions", "tags", "folders")


@click.command(short_help="Learn the words of a library's own names.")
@click.argument("folder", type=_PATH, metavar="DIR")
@click.option(
    "--from",
    "source",
    type=click.Choice(_SOURCES),
    default="auto",
    show_default=True,
    help="What to learn from; auto: the first of these that says something about a sound.",
)
@click.option("--dry-run", is_flag=True, help="Measure only; change nothing.")
@click.option("--undo", is_flag=True, help="Search as before.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@library_options
def adapt(
    folder: Path,
    source: Any,
    dry_run: bool,
    undo: bool,
    as_json: bool,
    library: Path | None,
    model: str | None,
) -> int:
    """Learn what your files are called, so that searches know your words.

    Queries change, sounds are not embedded again.  Exit status 1, and nothing changed, when names
    that were held out are not found better.
    """
    from wavtext.library.library import SoundLibrary

    if undo and (dry_run or source != "auto"):
        raise click.UsageError("--undo goes alone.")
    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        if undo:
            undone = sounds.undo_adapt()
            click.echo("Searches are as before." if undone else "Nothing had been learned.")
            return 0
        report = sounds.adapt(source=source, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        _show(report)
    if not report.better:
        click.echo(f"Not adapted: {report.reason}. Nothing was changed.", err=True)
        return 1
    if not as_json:
        click.echo(
            f"Searches use it from now on. Take it back: wavtext adapt {folder} --undo"
            if report.saved
            else "A dry run: nothing was changed."
        )
    return 0


def _show(report: "AdaptReport") -> None:
    """What was learned from, and held-out measures before and after."""
    click.echo(
        f"{report.names:,} names of {report.clips:,} sounds; {report.dropped:,} sounds have a name "
        f"that says nothing. {report.elapsed:.0f} s."
    )
    click.echo(f"{'names held out':<16}{'before':>8}{'after':>8}   difference, 95 % interval")
    for label, each in (("R@10", report.recall), ("mAP@10", report.precision)):
        click.echo(
            f"{label:<16}{each.before:>8.3f}{each.after:>8.3f}   "
            f"{each.difference:+.3f}, {each.low:+.3f} to {each.high:+.3f}"
        )
    median, low = report.caption_cosine
    click.echo(f"General queries keep a cosine of {median:.2f} (5th percentile {low:.2f}).")
