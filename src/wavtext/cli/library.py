"""`wavtext library`: look after it; `wavtext duplicates`, `wavtext export`."""

import json
from pathlib import Path

import click

from wavtext.cli.index import format_duration
from wavtext.cli.place import LibraryPlace
from wavtext.cli.search import library_options, shown

_PATH = click.Path(path_type=Path)


@click.group(short_help="Look after a library: stats, check, repair.")
def library() -> None:
    """Look after a library: what it holds, whether it is sound, and what failed."""


@library.command()
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@library_options
def stats(folder: Path | str, as_json: bool, library: Path | None, model: str | None) -> None:
    """What a library holds."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        found = sounds.stats()
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    click.echo(f"{found.clips:,} sounds, {format_duration(found.duration)}")
    click.echo(f"{found.windows:,} windows by model {found.model} ({found.dim}-d)")
    click.echo(f"{found.failures:,} files failed; {found.damaged:,} clips damaged")
    if found.size:  # not known of a server's
        click.echo(f"{found.size / 1e6:,.1f} MB on disk")
    if found.adapted:
        click.echo(f"Searches know its names; without: wavtext adapt {folder} --undo")


@library.command()
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@library_options
def failures(folder: Path | str, library: Path | None, model: str | None) -> None:
    """The files that could not be indexed, and why."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        for failure in sounds.failures():
            click.echo(f"{shown(failure.path, folder)}: {failure.reason}")


@library.command()
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@library_options
def check(folder: Path | str, library: Path | None, model: str | None) -> int:
    """Read the whole library and tell what is damaged; exit status 1 when something is."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        problems = sounds.check()
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo("The library is sound.")
    return 1 if problems else 0


@library.command()
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@library_options
def repair(folder: Path | str, library: Path | None, model: str | None) -> None:
    """Rebuild a damaged library from every clip that can still be read."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        saved = sounds.repair()
    click.echo(f"{saved.clips + saved.nameless:,} clips salvaged.")
    click.echo(f"The damaged file is kept as {saved.kept_as}.")
    click.echo(f"For the rest: wavtext index {folder}")


@library.command("import")
@click.argument("source", metavar="PARQUET")
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@click.option(
    "--root",
    metavar="DIR",
    help="Where the sounds are that were embedded, when they were moved since.",
)
@library_options
def import_(
    source: str, folder: Path | str, root: str | None, library: Path | None, model: str | None
) -> int:
    """Add sounds whose embeddings are in PARQUET: a file, or a folder or address of some.

    As `wavtext embed` and `wavtext export` write them.  DIR is the folder that holds the sounds,
    or a collection: qdrant://host:6333/sounds.
    """
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        report = sounds.import_embeddings(source, root=root)
    for failure in report.failures:
        click.echo(f"{shown(failure.path, folder)}: {failure.reason}", err=True)
    line = f"{report.added:,} sounds imported"
    if report.unchanged:
        line += f"; {report.unchanged:,} were there"
    click.echo(f"{line}; {len(report.failures)} failed.")
    return 1 if report.failures else 0


@click.command(short_help="Find sounds that sound the same.")
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    default=0.995,
    show_default=True,
    help="Cosine from which two sounds are the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one group a line as JSON.")
@library_options
def duplicates(
    folder: Path | str, threshold: float, as_json: bool, library: Path | None, model: str | None
) -> None:
    """Find sounds that sound the same: equal files, and equal sounds in other formats."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        groups = sounds.duplicates(threshold=threshold)
    if as_json:
        for group in groups:
            click.echo(json.dumps([clip.to_dict() for clip in group]))
        return
    for number, group in enumerate(groups, 1):
        click.echo(f"{number}. {len(group)} sounds, {format_duration(group[0].duration)}")
        for clip in group:
            click.echo(f"   {shown(clip.path, folder)}")
    spare = sum(len(group) - 1 for group in groups)
    click.echo(f"{len(groups)} groups; {spare} files sound like another.", err=True)


@click.command(short_help="Write a library's embeddings to a file.")
@click.argument("folder", type=LibraryPlace(), metavar="DIR")
@click.option("-o", "--out", type=_PATH, required=True, help="A .parquet or .npz file.")
@click.option("--clips", is_flag=True, help="One row for each sound instead of each window.")
@library_options
def export(
    folder: Path | str, out: Path, clips: bool, library: Path | None, model: str | None
) -> None:
    """Write a library's embeddings to a Parquet or NumPy file."""
    from wavtext.library.library import SoundLibrary

    with SoundLibrary.open(folder, library=library, model=model) as sounds:
        rows = sounds.export_embeddings(out, windows=not clips)
    click.echo(f"{rows:,} embeddings written to {out}")
