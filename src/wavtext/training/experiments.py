"""The paper's tables as experiments.  Datasets, a TOML a training, seeds -> per-query values.

    OUT/<training>/manifest.jsonl         what it trains and validates on
    OUT/<training>/seed<k>/               the run's folder (wavtext.training.run)
    OUT/<training>/seed<k>/result.npz     values of every query of both test sets

A training is finished when its result.npz is there; what is not is trained, or gone on with.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from wavtext.config import from_dict, read_toml
from wavtext.corpora.captions import PAPER_TEMPLATE, CaptionBuilder
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.errors import ConfigError, ManifestError, TrainingError
from wavtext.evaluation.paper_tables import TABLES, TEST_SETS
from wavtext.evaluation.retrieval import evaluate, retrieval_task
from wavtext.training.cache import LogMelCache, default_cache_folder
from wavtext.training.config import TrainConfig
from wavtext.training.data import make_pairs
from wavtext.training.loop import Trained, train
from wavtext.training.validate import embed_captions, embed_clips


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One training of the tables."""

    datasets: tuple[str, ...]
    wavtext5k_caption: str = PAPER_TEMPLATE
    clips_per_dataset: int | None = None  # None: all; a seeded choice otherwise
    train: TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where data comes from and results go."""

    data: Path  # one folder a dataset, each with the manifest.jsonl of `wavtext collect`
    out: Path
    scale: str | Path = "paper"  # "paper", "cpu", or a TOML that is laid over every training
    cache: Path | None = None  # of log-mels; None: the user's
    device: str | None = None


def load_experiment(name: str, setting: Setting) -> Experiment:
    """A training's TOML with the scale's laid over it; weights are looked for under the data."""
    folder = config_folder()
    values = read_toml(folder / f"{name}.toml")
    if setting.scale != "paper":
        over = folder / "cpu.toml" if setting.scale == "cpu" else Path(setting.scale)
        values = _laid_over(values, read_toml(over))
    experiment = from_dict(Experiment, values, where=f"{name}.toml")
    audio = experiment.train.audio
    found = {
        field: setting.data / path
        for field in ("cnn14_weights", "htsat_weights")
        if (path := getattr(audio, field)) is not None
    }
    audio = replace(audio, **cast(Any, found))
    return replace(experiment, train=replace(experiment.train, audio=audio))


def config_folder() -> Path:
    """configs/experiments, in the package where it is installed, in the repository otherwise."""
    here = Path(__file__).parent
    for folder in (here / "experiment_configs", here.parents[2] / "configs" / "experiments"):
        if folder.is_dir():
            return folder
    raise ConfigError("the experiments' settings are not installed.", help="Reinstall wavtext.")


def missing_data(table: str, setting: Setting) -> list[str]:
    """What the table's trainings need and do not find, a line each."""
    experiments = [load_experiment(name, setting) for name in TABLES[table]]
    wanted = dict.fromkeys(name for each in experiments for name in each.datasets)
    missing: list[str] = []
    for dataset in wanted:
        missing += _missing_dataset(dataset, setting.data)
    for experiment in experiments:
        audio, text = experiment.train.audio, experiment.train.text
        for weights in (audio.cnn14_weights, audio.htsat_weights):
            if weights is not None and not weights.is_file():
                missing.append(f"{weights}: the encoder's weights (docs/training.md says whence)")
        if text.name != "random" and not _has_text_model(text.name):
            missing.append(f"the text encoder {text.name}: a folder, or in Hugging Face's cache")
    return list(dict.fromkeys(missing))


def run_table(
    table: str,
    setting: Setting,
    *,
    seeds: int = 3,
    jobs: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, list[Path]]:
    """Train and score what is not there yet; training -> its seeds' results.

    Args:
        table: "table3", "table4" or "table5".
        setting: Data, scale, folders.
        seeds: Trainings of each row.
        jobs: Processes; cores are shared among them.
        report: Called with a line for each training that ends.

    Raises:
        TrainingError: Data are missing (`missing_data` lists them), or a training fails.
    """
    missing = missing_data(table, setting)
    if missing:
        raise TrainingError(
            f"{len(missing)} things that {table} needs are missing, the first: {missing[0]}.",
            help="Nothing was trained. --check lists all of them.",
        )
    names = TABLES[table]
    for name in names:
        write_training_manifest(load_experiment(name, setting), setting, name)
    todo = [(name, seed) for seed in range(seeds) for name in names]
    todo = [each for each in todo if not result_path(setting, *each).exists()]
    if jobs == 1:
        for name, seed in todo:
            report(run_training(name, seed, setting))
    else:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(run_training, *each, setting, threads) for each in todo]
            for done in as_completed(waiting):
                report(done.result())
    return {name: [result_path(setting, name, seed) for seed in range(seeds)] for name in names}


def result_path(setting: Setting, name: str, seed: int) -> Path:
    """Where a training's values are."""
    return setting.out / name / f"seed{seed}" / "result.npz"


def run_training(name: str, seed: int, setting: Setting, threads: int | None = None) -> str:
    """Train one row with one seed, score it on both test sets; a line for people."""
    if threads:
        torch.set_num_threads(threads)
    experiment = load_experiment(name, setting)
    config = replace(experiment.train, seed=seed)
    path = result_path(setting, name, seed)
    trained = train(
        config,
        setting.out / name / "manifest.jsonl",
        path.parent,
        resume=(path.parent / "config.toml").exists(),
        cache=setting.cache,
        device=setting.device,
    )
    values = score(trained, config, experiment, setting)
    partial = path.with_name(".partial.npz")
    np.savez_compressed(partial, **cast(Any, values))
    partial.replace(path)
    recall = [float(values[f"{test}/text_to_audio/R@1"].mean()) for test in TEST_SETS]
    shown = ", ".join(f"{t} {100 * r:.1f}" for t, r in zip(TEST_SETS, recall, strict=True))
    return f"{name}, seed {seed}: text-to-audio R@1 {shown} %"


@torch.no_grad()
def score(
    trained: Trained, config: TrainConfig, experiment: Experiment, setting: Setting
) -> dict[str, np.ndarray]:
    """Every query's values on both test sets, clusters and pool sizes."""
    model = cast(Any, trained.model)
    device = next(trained.model.parameters()).device
    result: dict[str, np.ndarray] = {}
    for test in TEST_SETS:
        clips = [
            clip
            for clip in read_manifest(setting.data / test / "manifest.jsonl")
            if clip.split == "test"
        ]
        clips = _chosen(clips, experiment.clips_per_dataset)
        task = retrieval_task(clips)
        cache = LogMelCache(setting.cache or default_cache_folder(), config.front_end)
        ready, failures = cache.prepare([clip.path for clip in clips], workers=config.workers)
        if failures:
            raise ManifestError(
                f"{test}: {len(failures)} test clips cannot be read; the first is "
                f"{failures[0].path}: {failures[0].reason}",
                help="Mend them: the pool is the test set.",
            )
        pairs = make_pairs(task.clips, ready)
        found = evaluate(
            task,
            embed_clips(model, pairs, frames=config.crop_frames, device=device),
            embed_captions(model, task.captions, trained.built.tokenizer, device=device),
            name="",
            identity="",
            resamples=2,
        )
        for name, direction in found.directions.items():
            place = f"{test}/{name}"
            result |= {f"{place}/{metric}": each for metric, each in direction.values.items()}
            result[f"{place}/clusters"] = np.array([repr(each) for each in direction.clusters])
        result[f"{test}/pool"] = np.array(len(task.clips))
    return result


def write_training_manifest(experiment: Experiment, setting: Setting, name: str) -> int:
    """Train on all datasets, validate on AudioCaps' and Clotho's validation parts; clips written.

    Of MACS, SoundDescs and WavText5K every clip trains, whatever its split, as in the paper's
    counts; of WavText5K those with title and description.
    """
    clips: list[Clip] = []
    tested: set[str] = set()
    for dataset in experiment.datasets:
        found = read_manifest(setting.data / dataset / "manifest.jsonl")
        if dataset == "wavtext5k":
            builder = CaptionBuilder(templates=(experiment.wavtext5k_caption,))
            found = [
                replace(clip, captions=builder.build(clip.columns))
                for clip in found
                if clip.columns.get("title", "").strip()
                and clip.columns.get("description", "").strip()
            ]
        if dataset in TEST_SETS:
            tested |= {clip.checksum for clip in found if clip.split == "test" and clip.checksum}
            held = [clip for clip in found if clip.split == "validation"]
            clips += _chosen(held, experiment.clips_per_dataset)
            found = [clip for clip in found if clip.split == "train"]
        chosen = _chosen(found, experiment.clips_per_dataset)
        clips += [replace(clip, split="train") for clip in chosen]
    kept = [
        replace(clip, clip_id=f"{number}/{clip.clip_id}")
        for number, clip in enumerate(clips)
        if clip.checksum not in tested
    ]
    path = setting.out / name / "manifest.jsonl"
    if not path.exists():
        write_manifest(path, kept)
    return len(kept)


def _missing_dataset(dataset: str, root: Path) -> list[str]:
    path = root / dataset / "manifest.jsonl"
    if not path.is_file():
        return [f"{path}: wavtext collect {dataset} FOLDER --out {root / dataset}"]
    try:
        clips = read_manifest(path)
    except ManifestError as error:
        return [str(error)]
    missing: list[str] = []
    if dataset in TEST_SETS:
        for split in ("train", "validation", "test"):
            if not any(clip.split == split for clip in clips):
                missing.append(f"{path}: the split '{split}' is empty")
    gone = [clip.path for clip in clips if not clip.path.is_file()]
    if gone:
        missing.append(f"{path}: {len(gone)} of {len(clips)} sounds, the first {gone[0]}")
    return missing


def _has_text_model(name: str) -> bool:
    if Path(name).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _chosen(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    if limit is None or len(clips) <= limit:
        return list(clips)
    rows = np.random.default_rng(0).choice(len(clips), limit, replace=False)
    return [clips[row] for row in sorted(rows)]


def _laid_over(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables merged; an empty text takes a setting away."""
    result = dict(values)
    for name, value in over.items():
        if isinstance(value, Mapping):
            inner = cast(Mapping[str, Any], value)
            result[name] = _laid_over(cast(Mapping[str, Any], result.get(name, {})), inner)
        elif value == "":
            result.pop(name, None)
        else:
            result[name] = value
    return result
