"""Tiny towers and synthetic sounds for the tests of training."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.training.config import (
    AudioConfig,
    AugmentConfig,
    OptimizerConfig,
    ProjectionConfig,
    TextConfig,
    TrainConfig,
)
from wavtext.training.htsat import HtsatConfig

RATE = 8000  # Hz
FRONT_END = LogMelConfig(
    sample_rate=RATE, win_length=256, hop_length=128, n_mels=32, f_min=50.0, f_max=4000.0
)
TINY_HTSAT = HtsatConfig(
    embed_dim=8,
    depths=(1, 1),
    num_heads=(2, 2),
    window_size=4,
    spec_size=64,
    n_mels=32,
    drop_path=0.0,
)
NAMES = (
    "a low hum",
    "a high whistle",
    "white noise hissing",
    "slow clicks of a clock",
    "a rising siren",
    "a falling slide whistle",
    "two notes together",
    "fast beeping alarm",
)


def make_tiny_config(**changes: object) -> TrainConfig:
    """A run of seconds: a CNN of three blocks, one layer of text, no augmentation."""
    settings: dict[str, object] = {
        "epochs": 1,
        "batch_size": 8,
        "front_end": FRONT_END,
        "audio": AudioConfig(
            encoder="cnn14",
            duration=0.8,
            cnn14_channels=(16, 32, 64),
            cnn14_dim=64,
            cnn14_block_dropout=0.0,
            cnn14_head_dropout=0.0,
            htsat=TINY_HTSAT,
        ),
        "text": TextConfig(
            name="random", pooling="mean", layers=1, dim=64, heads=2, vocab_size=400, max_tokens=16
        ),
        "projection": ProjectionConfig(kind="linear", dim=32),
        "optimizer": OptimizerConfig(learning_rate=4e-3, schedule="cosine"),
        "augment": AugmentConfig(time_masks=0, frequency_masks=0),
    }
    return TrainConfig(**(settings | changes))  # type: ignore[arg-type]


def synthesise(kind: int, variant: int, duration: float = 0.8) -> np.ndarray:
    """One of eight kinds of sound, (samples,) float32 at 8 kHz."""
    rng = np.random.default_rng([kind, variant])
    t = np.arange(int(duration * RATE)) / RATE
    shift = 1.0 + 0.03 * rng.standard_normal()
    beat = {3: 2.0, 7: 9.0}.get(kind, 1.0)
    sounds = (
        np.sin(2 * np.pi * 90 * shift * t),
        np.sin(2 * np.pi * 2600 * shift * t),
        rng.standard_normal(len(t)),
        rng.standard_normal(len(t)) * ((t * beat) % 1.0 < 0.04),
        np.sin(2 * np.pi * (300 * t + 600 * t**2) * shift),
        np.sin(2 * np.pi * (2800 * t - 900 * t**2) * shift),
        np.sin(2 * np.pi * 440 * shift * t) + np.sin(2 * np.pi * 660 * shift * t),
        np.sin(2 * np.pi * 1000 * shift * t) * ((t * beat) % 1.0 < 0.5),
    )
    sound = sounds[kind] + 0.003 * rng.standard_normal(len(t))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def write_sounds(folder: Path, *, variants: int = 1, held_out: int = 0, captions: int = 1) -> Path:
    """A manifest of 8 × `variants` sounds for training, and 8 × `held_out` for validation."""
    clips: list[Clip] = []
    for kind, name in enumerate(NAMES):
        for variant in range(variants + held_out):
            path = folder / f"{kind}-{variant}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, synthesise(kind, variant), RATE)
            texts = tuple(f"{name}{' again' * i}" for i in range(captions))
            split = "train" if variant < variants else "validation"
            clips.append(Clip(f"{kind}-{variant}", path, texts, split=split))
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


@pytest.fixture(scope="session")
def eight_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of eight sounds, for training (eight pairs of each) and for validation."""
    folder = tmp_path_factory.mktemp("eight")
    write_sounds(folder)
    clips = [
        Clip(
            f"{kind}-{split}",
            folder / f"{kind}-0.wav",
            (name,) * (8 if split == "train" else 1),
            split=split,
        )
        for split in ("train", "validation")
        for kind, name in enumerate(NAMES)
    ]
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


@pytest.fixture(scope="session")
def log_mels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of log-mels shared by the session."""
    return tmp_path_factory.mktemp("log-mels")


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., TrainConfig]:
    """Makes the settings of a run of seconds; keywords change them."""
    return make_tiny_config


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., Path]:
    """Writes 8 × `variants` sounds for training, 8 × `held_out` for validation; their manifest."""
    return write_sounds


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small_bert() -> torch.nn.Module:
    """As wide as MiniLM, one layer deep, untrained."""
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=1, num_attention_heads=12)
    return BertModel(config, add_pooling_layer=False)
