"""Short synthesised sounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 16000  # Hz
Write = Callable[..., Path]


def synthesise(kind: str, duration: float = 1.0, seed: int = 0) -> np.ndarray:
    """(samples,) float32: a hum, a tone, a whistle or a hiss, a little different for each seed."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(duration * RATE)) / RATE
    if kind == "hiss":
        return (0.3 * generator.standard_normal(len(time))).clip(-1, 1).astype(np.float32)
    if kind == "silence":
        return np.zeros(len(time), np.float32)
    pitch = {"hum": 110, "tone": 900, "whistle": 2800}[kind] * (1 + 0.1 * generator.random())
    return (0.5 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
