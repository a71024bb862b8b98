"""Does the memory of a long training drift?  The real loop, small towers, 1,000 steps.

    python benchmarks/training_drift.py --steps 1000

Sounds are synthesised; each epoch of 50 steps ends, as always, with a validation and a checkpoint.
Prints the process's resident memory at step 50 and on, and the slope of a line through the last
half with its 95 % interval: a loop that leaks a batch a step would grow by 13 MB in 50 steps.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.training.config import AudioConfig, ProjectionConfig, TextConfig, TrainConfig
from wavtext.training.htsat import HtsatConfig
from wavtext.training.loop import Progress, train
from wavtext.training.run import environment

RATE, EPOCH = 16_000, 50  # Hz; steps


def write_sounds(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    clips: list[Clip] = []
    for i in range(count):
        path = folder / f"{i}.wav"
        tone = np.sin(2 * np.pi * (100 + 7 * i) * np.arange(2 * RATE) / RATE)
        soundfile.write(path, 0.3 * tone + 0.05 * rng.normal(size=2 * RATE), RATE)
        split = "validation" if i % 8 == 0 else "train"
        clips.append(Clip(str(i), path, (f"tone number {i}", f"a sound at {i}"), split=split))
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--chunk", type=int, help="pairs embedded at once")
    arguments = parser.parse_args()
    facts = environment()
    print(f"{facts['system']}, torch {facts['torch']}, commit {facts['git_commit'][:8]}")
    batch = 8
    config = TrainConfig(
        epochs=-(-arguments.steps // EPOCH),
        batch_size=batch,
        chunk_size=arguments.chunk,
        precision="bf16",
        front_end=LogMelConfig(sample_rate=RATE, hop_length=320, f_max=8_000.0),
        audio=AudioConfig(
            duration=2.0,
            htsat_duration=2.0,
            cnn14_channels=(8, 16, 32),
            cnn14_dim=64,
            htsat=HtsatConfig(
                embed_dim=16, depths=(1, 1), num_heads=(2, 4), window_size=4, spec_size=64
            ),
        ),
        text=TextConfig(name="random", dim=64, heads=4, pooling="mean"),
        projection=ProjectionConfig(dim=64),
    )
    config = replace(config, augment=replace(config.augment, time_width=16))
    resident: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.validation is None and progress.step == progress.steps:
            resident.append(resident_megabytes())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # two captions a clip, seven of eight clips for training: EPOCH whole batches
        manifest = write_sounds(folder, -(-EPOCH * batch * 8 // 14))
        train(config, manifest, folder / "run", cache=folder / "mels", report=watch, device="cpu")
    for i, value in enumerate(resident):
        print(f"step {(i + 1) * EPOCH:5d}  {value:.1f} MB")
    half = np.array(resident[len(resident) // 2 :])
    x = np.arange(len(half), dtype=float)
    x -= x.mean()
    slope = float(x @ half / (x @ x))
    rest = half - half.mean() - slope * x
    error = 1.96 * float(np.sqrt(rest @ rest / max(1, len(half) - 2) / (x @ x)))
    print(
        f"step {EPOCH} to {len(resident) * EPOCH}: {resident[-1] - resident[0]:+.1f} MB; "
        f"last half {slope:+.3f} MB in {EPOCH} steps [{slope - error:+.3f}, {slope + error:+.3f}]; "
        f"threads {torch.get_num_threads()}"
    )


if __name__ == "__main__":
    main()
