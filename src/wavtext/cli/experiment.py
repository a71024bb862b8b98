"""`wavtext experiment table3`: train the rows of one of the paper's tables, and say what holds."""

import json
from pathlib import Path

import click

from wavtext.errors import MissingExtraError


@click.command(short_help="Train and score the rows of one of the paper's tables.")
@click.argument("table", type=click.Choice(["table3", "table4", "table5"]))
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="ROOT",
    help="A folder with audiocaps/, clotho/, ... as `wavtext collect` makes them, and weights/.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="Where trainings and the report go.  [default: runs/TABLE-SCALE]",
)  # fmt: skip
@click.option(
    "--scale", default="paper", show_default=True, metavar="paper|cpu|FILE",
    help="The paper's settings, small towers, or a TOML laid over every training.",
)  # fmt: skip
@click.option(
    "--corpora", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="A TOML with the folders that stand in for datasets, such as macs = \"my-scenes\".",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each row."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where log-mels are kept.")
@click.option("--device", help="Such as cpu or cuda; by default CUDA where there is some.")
@click.option("--check", is_flag=True, help="List the data that are missing; train nothing.")
def experiment(
    table: str,
    data: Path,
    out: Path | None,
    scale: str,
    corpora: Path | None,
    seeds: int,
    jobs: int,
    cache: Path | None,
    device: str | None,
    check: bool,
) -> int:
    """Train and score the rows of one of the paper's tables.

    Missing data are listed before anything runs.  Stop it at any time: the next run goes on.  The
    report holds the paper's table, ours beside it, the literature, and which claims hold.
    """
    from wavtext.evaluation.table_report import render_table, summarise_table

    try:
        from wavtext.training.experiment_data import Corpora, Setting, missing_data, read_corpora
        from wavtext.training.experiments import run_table
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "wavtext":
            raise
        raise MissingExtraError("train", "An experiment") from error

    if scale not in ("paper", "cpu") and not Path(scale).is_file():
        raise click.BadParameter(
            f"{scale!r} is neither paper, cpu nor a file.", param_hint="--scale"
        )
    out = out or Path("runs") / f"{table}-{Path(scale).stem}"
    setting = Setting(
        data=data, out=out, scale=scale if scale in ("paper", "cpu") else Path(scale),
        corpora=read_corpora(corpora) if corpora else Corpora(), cache=cache, device=device,
    )  # fmt: skip
    missing = missing_data(table, setting)
    for line in missing:
        click.echo(f"missing: {line}", err=not check)
    if check:
        click.echo(f"{table}: {len(missing) or 'nothing'} missing.")
        return 1 if missing else 0
    if missing:
        click.echo(f"{len(missing)} things are missing; nothing was trained.", err=True)
        return 1
    results = run_table(
        table, setting, seeds=seeds, jobs=jobs, report=lambda line: click.echo(line, err=True)
    )
    summary = summarise_table(
        table, results, scale=Path(scale).stem, stand_ins=setting.corpora.stand_ins
    )
    text = render_table(summary)
    (out / "report.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(text, encoding="utf-8")
    click.echo(text)
    return 0
