"""`wavtext evaluate MODEL MANIFEST`: both directions of retrieval, with intervals, as a report."""

import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from wavtext.corpora.manifest import Clip
    from wavtext.evaluation.embedding import Encoder, Unreadable


@click.command(short_help="Measure how well a model finds the clips of a manifest.")
@click.argument("model", metavar="MODEL")
@click.argument("manifest", type=click.Path(path_type=Path), metavar="MANIFEST")
@click.option("--compare", metavar="MODEL2", help="A second model on the same clips, with tests.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder for report.json, report.md and report.html.",
)  # fmt: skip
@click.option("--split", help="Which split.  [default: test where the manifest has splits]")
@click.option(
    "--relevance", type=click.Choice(["own", "same-caption"]), default="own", show_default=True,
    help="A caption asks for its own clip, or for every clip with an equal caption.",
)  # fmt: skip
@click.option("--labels", metavar="COLUMN", help="Also zero-shot classification by this column.")
@click.option(
    "--template", "templates", multiple=True, metavar="TEXT",
    help="Prompt for --labels with one {}; several make an ensemble.",
)  # fmt: skip
@click.option(
    "--robustness", type=click.IntRange(0), default=0, metavar="N",
    help="Also damage N clips and see how far results move.",
)  # fmt: skip
@click.option(
    "--cache", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where embeddings are kept.  [default: ~/.cache/wavtext/embeddings.sqlite]",
)  # fmt: skip
@click.option("--skip-unreadable", is_flag=True, help="Leave clips that cannot be read out.")
@click.option("--exclude-uncaptioned", is_flag=True, help="Leave clips without caption out.")
@click.option("--no-plots", is_flag=True, help="Draw none; needs no matplotlib.")
@click.option(
    "--resamples", type=click.IntRange(2), default=1000, show_default=True,
    help="Of the bootstrap.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of all resampling.")
@click.option("--json", "as_json", is_flag=True, help="Print the report's numbers as JSON.")
def evaluate(
    model: str,
    manifest: Path,
    compare: str | None,
    out: Path,
    split: str | None,
    relevance: Any,
    labels: str | None,
    templates: tuple[str, ...],
    robustness: int,
    cache: Path | None,
    skip_unreadable: bool,
    exclude_uncaptioned: bool,
    no_plots: bool,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure how well a model finds the clips of a manifest.

    MODEL is a model's name or folder, or a folder with a CLAP of Hugging Face transformers (needs
    wavtext[train]).  The report holds the paper's table, intervals, pool sizes, other definitions
    in circulation, plots and the hardest captions with players.
    """
    from wavtext.corpora.manifest import read_manifest
    from wavtext.errors import EvaluationError
    from wavtext.evaluation import plots
    from wavtext.evaluation.embedding import embed_captions, embed_clips, hash_file
    from wavtext.evaluation.markdown import render_markdown
    from wavtext.evaluation.report import Extras, summarise, write_report
    from wavtext.evaluation.retrieval import evaluate as measure
    from wavtext.evaluation.retrieval import retrieval_task

    if not no_plots:
        plots.require_matplotlib()
    names = [model] if compare is None else [model, compare]
    clips, split = _choose_split(read_manifest(manifest), split, manifest)
    no_captions = "exclude" if exclude_uncaptioned else "error"
    # What fails, fails before anything long: the clips' captions, the models, their text towers.
    asked = retrieval_task(clips, relevance=relevance, no_captions=no_captions).captions
    encoders = [open_encoder(name) for name in names]
    if len({encoder.identity for encoder in encoders}) < len(encoders):
        raise EvaluationError("both models are the same.", help="--compare another one.")
    cache = cache or _default_cache()
    for encoder in encoders:
        embed_captions(encoder, asked, cache=cache)

    unreadable: dict[str, Unreadable] = {}
    audio: list[Any] = []
    for encoder in encoders:
        with _progress(f"Embedding with {encoder.name}") as show:
            audio.append(embed_clips(encoder, clips, cache=cache, progress=show))
        unreadable |= {each.clip_id: each for each in audio[-1][1]}
    if unreadable and not skip_unreadable:
        first = next(iter(unreadable.values()))
        raise EvaluationError(
            f"{len(unreadable)} of {len(clips)} clips cannot be read; {first.clip_id}: "
            f"{first.reason}",
            help="Mend them, or leave them out of the pool: --skip-unreadable.",
        )
    readable = [clip for clip in clips if clip.clip_id not in unreadable]
    task = retrieval_task(readable, relevance=relevance, no_captions=no_captions)
    wanted = {clip.clip_id for clip in task.clips}

    evaluations: list[Any] = []
    for encoder, (rows, failed) in zip(encoders, audio, strict=True):
        gone = {each.clip_id for each in failed}
        ids = [clip.clip_id for clip in clips if clip.clip_id not in gone]
        kept = rows[[number for number, clip_id in enumerate(ids) if clip_id in wanted]]
        text = embed_captions(encoder, task.captions, cache=cache)
        evaluations.append(
            measure(
                task, kept, text, name=encoder.name, identity=encoder.identity,
                resamples=resamples, seed=seed,
            )
        )  # fmt: skip
    if len(evaluations) == 2 and evaluations[0].name == evaluations[1].name:
        evaluations = [_named(each, name) for each, name in zip(evaluations, names, strict=True)]

    extras: dict[str, Any] = {
        "left_out": [{"clip_id": e.clip_id, "reason": e.reason} for e in unreadable.values()]
    }
    if labels:
        extras |= _by_label(encoders, evaluations, task.clips, labels, templates, seed)
    if robustness:
        extras["robustness"] = {
            evaluation.name: _damage(encoder, evaluation, task, robustness, seed)
            for encoder, evaluation in zip(encoders, evaluations, strict=True)
        }
    data = {"manifest": manifest.name, "sha256": hash_file(manifest), "split": split}
    summary = summarise(
        task, evaluations, data=data, extras=Extras(**extras), resamples=resamples, seed=seed
    )
    paths = write_report(out, summary, task, evaluations, plots=not no_plots)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
        return
    click.echo(render_markdown(summary).split("## Other definitions")[0].rstrip())
    click.echo(f"\n{paths[-1]}")


def open_encoder(name: str) -> "Encoder":
    """A model by name or folder; a transformers CLAP by its folder.

    Raises:
        ModelError: There is no such model.
        MissingExtraError: It is a transformers CLAP and wavtext[train] is not installed.
    """
    from wavtext.errors import MissingExtraError
    from wavtext.model.model import load_model

    folder = Path(name)
    if (folder / "config.json").is_file() and not (folder / "model.toml").is_file():
        try:
            from wavtext.training.hugging_face import HuggingFaceClap
        except ModuleNotFoundError as error:
            raise MissingExtraError("train", f"The transformers model {name}") from error
        return cast("Encoder", HuggingFaceClap(folder))
    return cast("Encoder", load_model(name))


def _choose_split(
    clips: "Sequence[Clip]", split: str | None, manifest: Path
) -> "tuple[list[Clip], str]":
    from wavtext.errors import EvaluationError

    splits = sorted({clip.split for clip in clips if clip.split})
    chosen = split if split is not None else ("test" if splits else "")
    found = [clip for clip in clips if clip.split == chosen] if chosen else list(clips)
    if not found:
        known = f"It has: {', '.join(splits)}." if splits else "Its clips have no splits."
        what = f"the split '{chosen}' is empty" if chosen else "it holds no clips"
        raise EvaluationError(f"{manifest}: {what}.", help=known if clips else "")
    return found, chosen


def _by_label(
    encoders: Sequence[Any],
    evaluations: Sequence[Any],
    clips: "Sequence[Clip]",
    column: str,
    templates: tuple[str, ...],
    seed: int,
) -> dict[str, Any]:
    """Zero-shot classification, and audio to audio, by a column of the manifest."""
    import warnings
    from dataclasses import asdict

    from wavtext.errors import EvaluationError
    from wavtext.evaluation.metrics import ExcludedQueriesWarning, per_query
    from wavtext.evaluation.statistics import bootstrap
    from wavtext.evaluation.zero_shot import TEMPLATES, audio_to_audio, class_embeddings, classify

    missing = [clip.clip_id for clip in clips if not clip.columns.get(column)]
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {len(clips)} clips have no '{column}'; the first is {missing[0]!r}."
        )
    labels = [clip.columns[column] for clip in clips]
    groups = [clip.group or clip.clip_id for clip in clips]
    names = sorted(set(labels))
    alone = len(names) == len(labels)
    if alone:
        click.echo(f"Each clip has a '{column}' of its own: nothing to find by it.", err=True)
    zero_shot: dict[str, Any] = {}
    neighbours: dict[str, Any] = {}
    for encoder, evaluation in zip(encoders, evaluations, strict=True):
        classes = class_embeddings(encoder, names, templates=templates or TEMPLATES[:1])
        zero_shot[evaluation.name] = classify(
            evaluation.audio, classes, labels, names, groups=groups, seed=seed
        )
        if alone:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExcludedQueriesWarning)  # the report counts them
            found = audio_to_audio(evaluation.audio, labels, no_relevant="exclude")
        kept = [groups[row] for row in found.kept]
        values = per_query(found)
        neighbours[evaluation.name] = {
            "queries": len(found),
            "excluded": len(found.excluded),
            "metrics": {
                metric: asdict(bootstrap(values[metric], kept, seed=seed))
                for metric in ("R@1", "R@5", "mAP@10")
            },
        }
    return {"zero_shot": zero_shot, "audio_to_audio": neighbours}


def _damage(encoder: Any, evaluation: Any, task: Any, number: int, seed: int) -> dict[str, Any]:
    """Robustness on `number` clips drawn by the seed, and the captions that ask for them alone."""
    import numpy as np

    from wavtext.errors import EvaluationError
    from wavtext.evaluation.robustness import robustness

    count = min(number, len(task.clips))
    drawn = np.sort(np.random.default_rng(seed).choice(len(task.clips), count, replace=False))
    clips = [task.clips[i] for i in drawn]
    rows = [row for row, wanted in enumerate(task.clips_of) if np.isin(wanted, drawn).all()]
    if not rows:
        raise EvaluationError(
            f"no caption asks for some of the {count} clips alone.",
            help="Give --robustness a larger number, or leave out --relevance.",
        )
    relevant = [np.searchsorted(drawn, task.clips_of[row]) for row in rows]
    return robustness(
        encoder, [clip.path for clip in clips], evaluation.text[rows], relevant, seed=seed
    )


def _named(evaluation: Any, name: str) -> Any:
    from dataclasses import replace

    return replace(evaluation, name=name)


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "wavtext" / "embeddings.sqlite"


@contextmanager
def _progress(title: str) -> "Generator[Callable[[int, int], None]]":
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
