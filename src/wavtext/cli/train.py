"""`wavtext train`: a TOML of settings and a manifest -> a run folder."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavtext.errors import MissingExtraError

if TYPE_CHECKING:
    from wavtext.training.loop import Progress


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "manifest",
    required=True,
    metavar="DATA",
    help="The manifest to train on, or a pack: its folder, or a URL such as s3://...",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--dry-run", is_flag=True, help="Check settings, data and memory; train nothing.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where log-mels are kept.")
@click.option("--device", help="Such as cpu or cuda; by default CUDA where there is some.")
@click.option(
    "--checkpoint-steps",
    type=click.IntRange(min=1),
    help="Also write a checkpoint each so many steps.",
)
@click.option("--no-export", is_flag=True, help="Leave out the model folder RUN/model.")
def train(
    config: Path,
    manifest: str,
    out: Path,
    resume: bool,
    dry_run: bool,
    cache: Path | None,
    device: str | None,
    checkpoint_steps: int | None,
    no_export: bool,
) -> None:
    """Train a model from a manifest of sounds and captions."""
    # threads that wait without spinning: twice as fast on a machine that does other things too
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from wavtext.config import load_config

    try:
        from wavtext.training.config import TrainConfig
        from wavtext.training.convert import export_run
        from wavtext.training.loop import train as run_training
        from wavtext.training.plan import plan
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "wavtext":
            raise
        raise MissingExtraError("train", "Training") from error

    settings = load_config(TrainConfig, config)
    if dry_run:
        click.echo(plan(settings, manifest, device=device).describe())
        return
    result = run_training(
        settings,
        manifest,
        out,
        resume=resume,
        cache=cache,
        device=device,
        checkpoint_steps=checkpoint_steps,
        report=(watcher := Watcher()),
        preparing=watcher.preparing,
    )
    if int(os.environ.get("RANK", "0")):
        return  # the first process tells
    for name, value in result.best.items():
        click.echo(f"best {name}: {value:.4g}")
    if no_export:
        click.echo(f"Run: {result.run}")
        return
    click.echo(f"Model folder: {export_run(result.run, result.run / 'model')}")


class Watcher:
    """One live line on a terminal; a line every half minute and at each epoch's end elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.last = 0.0

    def __call__(self, progress: "Progress") -> None:
        """Show where the run is."""
        if progress.validation is not None:
            shown = ", ".join(f"{k} {v:.4g}" for k, v in progress.validation.items())
            self._line(f"epoch {progress.epoch}/{progress.epochs}  validation: {shown}")
            return
        line = (
            f"epoch {progress.epoch}/{progress.epochs}  step {progress.step}/{progress.steps}  "
            f"loss {progress.loss:.4f}  scale {progress.logit_scale:.1f}  "
            f"{progress.clips_per_second:.1f} clips/s  {_clock(progress.seconds_left)} left"
        )
        ends = progress.step == progress.steps
        if self.live and not ends:
            click.echo(f"\r{line}\033[K", nl=False, err=True)
        elif ends or time.monotonic() - self.last > 30:
            self._line(line)
            self.last = time.monotonic()

    def preparing(self, done: int, total: int) -> None:
        """Show how many log-mels are made before the run begins."""
        line = f"log-mels: {done:,} of {total:,}"
        if self.live:
            click.echo(f"\r{line}\033[K", nl=done == total, err=True)
        elif done == total or time.monotonic() - self.last > 30:
            self._line(line)
            self.last = time.monotonic()

    def _line(self, text: str) -> None:
        click.echo(f"\r{text}\033[K" if self.live else text, err=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
