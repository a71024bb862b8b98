"""The training loop: it learns what can be learnt, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavtext.training.config import LossConfig, TrainConfig
from wavtext.training.loop import train

MakeConfig = Callable[..., TrainConfig]


def test_eight_sounds_are_learnt_by_heart(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(epochs=22, loss=LossConfig(duplicates="ignored"))
    result = train(config, eight_sounds, tmp_path / "run", cache=log_mels)
    assert result.best["text_to_audio R@1"] == 1.0
    assert result.best["audio_to_text R@1"] == 1.0


def test_captions_of_other_sounds_teach_nothing_about_new_ones(
    make_manifest: Callable[..., Path], log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    manifest = make_manifest(tmp_path / "sounds", variants=6, held_out=2)
    config = tiny_config(epochs=12, batch_size=16, loss=LossConfig(duplicates="ignored"))
    meant = train(config, manifest, tmp_path / "meant", cache=log_mels)
    shuffled = train(
        replace(config, shuffle_captions=True), manifest, tmp_path / "shuffled", cache=log_mels
    )
    # 8 kinds of sound, 2 held-out clips of each: by chance a caption's first clip fits once in 8 times
    ranks = "text_to_audio R@1"
    chance, error = 1 / 8, np.sqrt(1 / 8 * 7 / 8 / 8)
    assert last_validation(shuffled.run)[ranks] <= chance + 3 * error
    assert last_validation(meant.run)[ranks] >= 0.75


def last_validation(run: Path) -> dict[str, float]:
    """Validation of a run's last epoch."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return next(line["validation"] for line in reversed(lines) if "validation" in line)
