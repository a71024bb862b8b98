"""`wavtext index DIR`: a folder of sounds becomes searchable; a bar or JSON shows it."""

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavtext.cli.place import LibraryPlace

if TYPE_CHECKING:
    from wavtext.library.library import SoundLibrary
    from wavtext.library.results import IndexProgress, IndexReport


@click.command(short_help="Make a folder of sounds searchable.")
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep the library in this file, for a folder that cannot be written.",
)
@click.option("--model", metavar="NAME", help="A model's name or folder.  [default: the library's]")
@click.option("--retry", is_flag=True, help="Try files again that failed before.")
@click.option("--prune", is_flag=True, help="Forget all sounds even when the folder is empty.")
@click.option("--workers", type=click.IntRange(1), help="Threads that decode.  [default: cores]")
@click.option("--watch", is_flag=True, help="Go on after every change of the folder, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def index(
    folder: Path | str,
    library: Path | None,
    model: str | None,
    retry: bool,
    prune: bool,
    workers: int | None,
    watch: bool,
    as_json: bool,
) -> int:
    """Make a folder of sounds searchable.

    Only new and changed files are read.  Stop it with Ctrl-C at any time: what was finished is
    kept, and the next run goes on.  Exit status 1 when files failed; each is listed with its
    reason.
    """
    from wavtext.library.library import SoundLibrary
    from wavtext.library.priority import step_back

    step_back()
    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        if watch:
            sounds.watch(
                threading.Event(),
                lambda report: _print_report(report, as_json),
                trouble=lambda error: click.echo(str(error), err=True),
            )
            return 0
        if not as_json and sys.stderr.isatty():
            report = _index_with_bar(sounds, retry=retry, prune=prune, workers=workers)
        else:
            report = sounds.index(retry=retry, prune=prune, workers=workers)
    _print_report(report, as_json)
    return 1 if report.failures or not report.files else 0


def _index_with_bar(
    sounds: "SoundLibrary", *, retry: bool, prune: bool, workers: int | None
) -> "IndexReport":
    """Index under a bar that shows files, sound, speed and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} files"),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=0, state="looking at the folder")

        def show(progress: "IndexProgress") -> None:
            state = f"· {progress.audio_duration / 3600:.2f} h of sound"
            state += f" · {progress.speed:.0f} × real time"
            if progress.time_left is not None:
                state += f" · {format_duration(progress.time_left)} left"
            if progress.failed:
                state += f" · {progress.failed} failed"
            bar.update(task, completed=progress.files_done, total=progress.files_total, state=state)

        return sounds.index(show, retry=retry, prune=prune, workers=workers)


def _print_report(report: "IndexReport", as_json: bool) -> None:
    for failure in report.failures:
        click.echo(f"{failure.path}: {failure.reason}", err=True)
    for note in report.notes:
        click.echo(note, err=True)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
        return
    if not report.files:
        click.echo("0 of 0 files indexed: the folder holds no sounds.", err=True)
        return
    click.echo(report.summary())
    changes = [
        f"{count} {what}"
        for count, what in (
            (report.embedded, "embedded"),
            (report.reused - report.moved, "recognised by content"),
            (report.moved, "moved"),
            (report.unchanged, "unchanged"),
            (report.removed, "removed"),
        )
        if count
    ]
    line = ", ".join(changes)
    if report.audio_duration:
        speed = report.audio_duration / max(report.elapsed, 1e-9)
        line += f"; {format_duration(report.audio_duration)} of sound in "
        line += f"{format_duration(report.elapsed)} ({speed:.0f} × real time)"
    if line:
        click.echo(line + ".")


def format_duration(seconds: float) -> str:
    """Seconds as people say them: '48 s', '3 min 20 s', '2 h 05 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
