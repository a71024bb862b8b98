"""Inference of converted encoders, log-mel -> representation: ours against the PyTorch modules.

    python benchmarks/inference.py --rounds 3 --clips 4

HTSAT (tiny, 28 M parameters) against transformers' ClapAudioModel in float32, and CNN14 (80 M)
against the PyTorch module in float32; random weights, the same 10 s clips at 32 kHz (1001 frames),
alternating rounds, one thread for both.  "auto" is what a model folder does by default: bfloat16
where the CPU has it.  Times are CPU seconds, so that other work on the machine counts little.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from networks import randomise_statistics
from torch import nn

from wavtext.model import runtime
from wavtext.training.cnn14 import Cnn14
from wavtext.training.convert import AudioGraph
from wavtext.training.export import export_onnx
from wavtext.training.htsat import Htsat
from wavtext.training.run import environment

FRAMES, MELS, SECONDS = 1001, 64, 10.0


def cpu_seconds(function: Callable[[], object]) -> float:
    before = time.process_time()
    function()
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--only", choices=["htsat", "cnn14"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runtime.num_cores = lambda: 1  # one core for ours too
    facts = environment()
    print(f"{facts['system']}, torch {facts['torch']}, commit {facts['git_commit'][:8]}")
    rng = np.random.default_rng(0)
    clips = [
        (rng.normal(size=(FRAMES, MELS)) * 15 - 40).astype(np.float32)
        for _ in range(arguments.clips)
    ]
    for name, make in (("htsat", Htsat), ("cnn14", Cnn14)):
        if arguments.only in (None, name):
            compare(name, randomise_statistics(make(), seed=1), clips, arguments.rounds)


@torch.no_grad()
def compare(name: str, module: nn.Module, clips: list[np.ndarray], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.onnx"
        graph = AudioGraph(module)
        export_onnx(graph, torch.zeros(1, FRAMES, MELS), path, name="log_mel", axis="frames")
        ours = {p: runtime.Graph(path, p) for p in ("auto", "f32")}

        def plain() -> np.ndarray:
            return np.concatenate([graph(torch.from_numpy(clip)[None]).numpy() for clip in clips])

        expected = plain()
        print(f"{name}: auto is {ours['auto'].precision} here")
        for precision, runner in ours.items():
            found = runner.run(clips)
            error = np.abs(found - expected).max() / np.abs(expected).max()
            cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1)
            print(f"  {precision}: relative error {error:.2g}, least cosine {cosine.min():.5f}")
        times: dict[str, list[float]] = {"torch": [], "auto": [], "f32": []}
        for _ in range(rounds):
            times["torch"].append(cpu_seconds(plain))
            for precision, runner in ours.items():
                times[precision].append(cpu_seconds(lambda r=runner: r.run(clips)))
        audio = SECONDS * len(clips)
        for what, taken in times.items():
            speed = sorted(audio / each for each in taken)
            ratio = sorted(t / each for t, each in zip(times["torch"], taken, strict=True))
            print(
                f"  {name}, {what:5s} {speed[len(speed) // 2]:6.1f} x real time a core "
                f"[{speed[0]:.1f}, {speed[-1]:.1f}]; {ratio[len(ratio) // 2]:.2f} x torch fp32 "
                f"[{ratio[0]:.2f}, {ratio[-1]:.2f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
