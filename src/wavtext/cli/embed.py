"""`wavtext embed SOURCE... --out DIR`: sounds anywhere -> Parquet files, here or on a cluster."""

import contextlib
import json
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import click

from wavtext.cli.index import format_duration

if TYPE_CHECKING:
    from wavtext.library.bulk.embedding import EmbedProgress, EmbedReport, Progress


@click.command(short_help="Embed sounds into Parquet files, on many machines.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o", "--out", required=True, metavar="DIR", help="Where the Parquet files go; s3://... too."
)
@click.option(
    "--model", default="compact", show_default=True, metavar="NAME", help="A name or a folder."
)
@click.option("--ray", "on_ray", is_flag=True, help="Share the work out with Ray.")
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help='The Ray cluster, such as "auto".  [default: RAY_ADDRESS, or one started here]',
)
@click.option(
    "--workers", type=click.IntRange(1), help="Threads that decode; with Ray: parts at a time."
)
@click.option(
    "--part-files",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Sounds in a Parquet file.",
)
@click.option("--retry", is_flag=True, help="Try files again that failed before.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def embed(
    sources: tuple[str, ...],
    out: str,
    model: str,
    on_ray: bool,
    ray_address: str | None,
    workers: int | None,
    part_files: int,
    retry: bool,
    as_json: bool,
) -> int:
    """Embed sounds into Parquet files, for `wavtext library import` and for other programs.

    A SOURCE is a folder, a file, a glob in quotes, or an address that fsspec reaches:
    s3://bucket/prefix.  Stop it at any time: finished parts are kept, and the next run goes on
    with the others.  Exit status 1 when files failed; each is listed with its reason.
    """
    from wavtext.library.bulk import embedding

    runner = None
    if on_ray or ray_address is not None:
        from wavtext.library.bulk.cluster import on_cluster

        runner = on_cluster(ray_address, tasks=workers)
    bar = _bar() if sys.stderr.isatty() and not as_json else contextlib.nullcontext()
    with bar as progress:
        report = embedding.embed(
            sources,
            out,
            model=model,
            part_files=part_files,
            workers=None if runner else workers,
            retry=retry,
            progress=progress,
            runner=runner,
        )
    _print_report(report, as_json)
    return 1 if report.failures else 0


@contextlib.contextmanager
def _bar() -> "Generator[Progress]":
    """A bar that shows files, sound and speed."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Embedding"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} files"),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=0, state="looking at what is there")

        def show(progress: "EmbedProgress") -> None:
            speed = progress.audio_duration / max(progress.elapsed, 1e-9)
            state = f"· {progress.audio_duration / 3600:.2f} h of sound · {speed:.0f} × real time"
            if progress.failed:
                state += f" · {progress.failed} failed"
            bar.update(task, completed=progress.files_done, total=progress.files_total, state=state)

        yield show


def _print_report(report: "EmbedReport", as_json: bool) -> None:
    for path, reason in report.failures:
        click.echo(f"{path}: {reason}", err=True)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
        return
    there = report.embedded + report.finished
    line = f"{there} of {report.files} files embedded"
    click.echo(line + (f"; {len(report.failures)} failed." if report.failures else "."))
    if report.parts:
        speed = report.audio_duration / max(report.elapsed, 1e-9)
        click.echo(
            f"{report.embedded} now, in {report.parts} parts; "
            f"{format_duration(report.audio_duration)} of sound in "
            f"{format_duration(report.elapsed)} ({speed:.0f} × real time)."
        )
