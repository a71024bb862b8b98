"""The paper's tables as experiments.  Datasets, a TOML a training, seeds -> per-query values.

    OUT/<training>/manifest.jsonl         what it trains and validates on
    OUT/<training>/seed<k>/               the run's folder (wavtext.training.run)
    OUT/<training>/seed<k>/result.npz     values of every query of both test sets

A training is finished when its result.npz is there; what is not is trained, or gone on with.
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from wavtext.corpora.manifest import read_manifest
from wavtext.errors import ManifestError, TrainingError
from wavtext.evaluation.paper_tables import TABLES, TEST_SETS
from wavtext.evaluation.retrieval import evaluate, retrieval_task
from wavtext.training.cache import LogMelCache, default_cache_folder
from wavtext.training.config import TrainConfig
from wavtext.training.data import make_pairs
from wavtext.training.experiment_data import (
    Experiment,
    Setting,
    check_same,
    chosen_clips,
    load_experiment,
    missing_data,
    write_training_manifest,
)
from wavtext.training.loop import Trained, train
from wavtext.training.validate import embed_captions, embed_clips


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
        check_same(name, setting)
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
    training = read_manifest(setting.out / name / "manifest.jsonl")
    pairs = sum(len(clip.captions) for clip in training if clip.split == "train")
    values["training_pairs"] = np.array(pairs)
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
        clips = [clip for clip in read_manifest(setting.manifest_of(test)) if clip.split == "test"]
        clips = chosen_clips(clips, experiment.clips_per_dataset)
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
