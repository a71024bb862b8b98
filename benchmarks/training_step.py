"""Training step of CNN14 + HTSAT + RoBERTa-base: ours against the straightforward PyTorch step.

    python benchmarks/training_step.py                       batch 8, three alternating rounds
    python benchmarks/training_step.py --memory 8,32,128 --chunk 8    peak memory, batch by batch
    python benchmarks/training_step.py --data                the loader alone, from cached log-mels
    python benchmarks/training_step.py --convolution         CNN14's weight gradients

Both steps train the same network (241 M parameters, random weights) on the same random batch of
10 s at 44.1 kHz.  Straightforward: float32, Adam as PyTorch makes it by default, the batch at once.
Ours: what `wavtext train` does with precision = "bf16" - autocast, convolutions with channels last,
fused Adam - and gradient caching where --chunk is given.  Time is wall time and CPU time: on a
machine that others use, compare the CPU times.  Memory is measured in a process of its own.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `wavtext train` does

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.manifest import Clip
from wavtext.training.build import build
from wavtext.training.config import AudioConfig, TextConfig, TrainConfig
from wavtext.training.convolution import MIN_WEIGHTS, weight_gradient
from wavtext.training.data import Batch, TrainingData, make_pairs
from wavtext.training.optimizer import make_optimizer
from wavtext.training.run import environment
from wavtext.training.step import Paired, compute_gradients
from wavtext.training.text import CaptionTokenizer, train_tokenizer

WORDS = 14  # tokens of a caption
# of a 3 x 3 convolution: no bias, stride, padding, dilation, ..., the weight's gradient alone
SIDES = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False])


def make_model(precision: str) -> tuple[nn.Module, TrainConfig]:
    config = TrainConfig(
        precision=precision,  # type: ignore[arg-type]
        audio=AudioConfig(duration=10.0),
        text=TextConfig(
            name="random", layers=12, dim=768, heads=12, vocab_size=50_265, max_tokens=512
        ),
    )
    # a vocabulary of RoBERTa's size, which a learnt tokenizer does not reach
    import wavtext.training.build as build_module

    plain = build_module.random_text_encoder
    build_module.random_text_encoder = lambda text, _: plain(text, text.vocab_size)
    try:
        model = build(config, ["a dog barks", "rain"]).model.train()
    finally:
        build_module.random_text_encoder = plain
    return model, config


def make_batch(size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    frames = round(10.0 * LogMelConfig().sample_rate) // LogMelConfig().hop_length + 1
    return Batch(
        log_mel=torch.randn(size, frames, 64, generator=generator) * 15 - 40,
        input_ids=torch.randint(5, 50_000, (size, WORDS), generator=generator),
        attention_mask=torch.ones(size, WORDS, dtype=torch.int64),
        clip_index=torch.arange(size),
        text_index=torch.arange(size),
        crop_start=torch.randint(0, frames - 1024 + 1, (size,), generator=generator),
    )


def timed_step(
    paired: Paired, optimizer: torch.optim.Optimizer, batch: Batch, chunk: int | None
) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    optimizer.zero_grad(set_to_none=True)
    compute_gradients(paired, batch, chunk_size=chunk)
    optimizer.step()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(size: int, rounds: int) -> None:
    model, config = make_model("fp32")
    batch = make_batch(size)
    ours = make_optimizer(model, config.optimizer)
    plain = torch.optim.Adam(model.parameters(), lr=1e-4)
    plain.state = ours.state  # one set of moments: two would be a gigabyte more
    count = sum(p.numel() for p in model.parameters())
    print(f"{count / 1e6:.0f} M parameters, batch {size}, {torch.get_num_threads()} threads")
    times: dict[str, list[tuple[float, float]]] = {"fp32": [], "ours": []}
    for round_ in range(rounds + 1):
        model.to(memory_format=torch.contiguous_format)
        fp32 = timed_step(Paired(model), plain, batch, None)
        model.to(memory_format=torch.channels_last)
        bf16 = timed_step(Paired(model, bf16=True), ours, batch, None)
        if not round_:
            continue  # the first warms up
        times["fp32"].append(fp32)
        times["ours"].append(bf16)
        print(
            f"round {round_}: straightforward fp32 {fp32[1] / size:.2f} CPU-s a clip, "
            f"{size / fp32[0]:.2f} clips/s; ours {bf16[1] / size:.2f} CPU-s, "
            f"{size / bf16[0]:.2f} clips/s; ratio {fp32[1] / bf16[1]:.2f} CPU, "
            f"{fp32[0] / bf16[0]:.2f} wall",
            flush=True,
        )
    for what, index in (("wall", 0), ("CPU", 1)):
        ratio = sum(t[index] for t in times["fp32"]) / sum(t[index] for t in times["ours"])
        print(f"speed-up, {what} time, {rounds} rounds: {ratio:.2f}")
    print(f"peak memory of both together: {peak_gigabytes():.2f} GB")


def measure_memory(size: int, chunk: int | None) -> None:
    model, config = make_model("bf16")
    model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config.optimizer)
    paired, batch = Paired(model, bf16=True), make_batch(size)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes Adam's moments, which otherwise appear at the end of the first step
    wall, cpu = timed_step(paired, optimizer, batch, chunk)
    print(
        f"batch {size:4d}  chunk {chunk or size:3d}  peak {peak_gigabytes():5.2f} GB  "
        f"{wall:.0f} s, {cpu / size:.2f} CPU-s a clip",
        flush=True,
    )


def measure_data(size: int, rounds: int) -> None:
    """Clips a CPU second from cached log-mels of 30 s: crop, mask, tokens."""
    words = ["rain on a roof", "a dog barks at night", "an engine starts", "wind"]
    tokenizer = CaptionTokenizer(train_tokenizer(words), pad_id=1)
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []
        clips: list[Clip] = []
        rng = np.random.default_rng(0)
        for i in range(64):
            path = Path(folder) / f"{i}.npy"
            np.save(path, rng.normal(-40, 15, (4135, 64)).astype(np.float16))
            files.append(path)
            clips.append(Clip(str(i), path, (words[i % 4],)))
        ready = dict(zip([clip.path for clip in clips], files, strict=True))
        config = TrainConfig(batch_size=size)
        data = TrainingData(make_pairs(clips, ready), tokenizer, config, crop_frames=1024)
        for _ in range(rounds):
            before = time.process_time()
            count = sum(len(batch) for batch in data.loader(0))
            speed = count / (time.process_time() - before)
            print(f"data path: {speed:.0f} clips a CPU second")


def measure_convolutions(size: int) -> None:
    """Weight gradients in bfloat16: oneDNN's against nine matrix products, channels last."""
    plain: Any = torch.ops.aten.convolution_backward
    height, width, before = 1379, 64, 64
    for channels in (64, 128, 256, 512, 1024, 2048):
        for inputs in dict.fromkeys((before, channels)):

            def draw(channels: int, height: int = height, width: int = width) -> torch.Tensor:
                drawn = torch.randn(size, channels, height, width, dtype=torch.bfloat16)
                return drawn.to(memory_format=torch.channels_last)

            heard, towards = draw(inputs), draw(channels)
            weight = torch.zeros(channels, inputs, 3, 3, dtype=torch.bfloat16)
            weight = weight.to(memory_format=torch.channels_last)
            times: list[float] = []
            for run in (
                lambda t=towards, h=heard, w=weight: plain(t, h, w, *SIDES),
                lambda t=towards, h=heard: weight_gradient(h, t),
            ):
                run()
                start = time.process_time()
                run()
                times.append(time.process_time() - start)
            chosen = "products" if inputs * channels >= MIN_WEIGHTS else "oneDNN"
            print(
                f"{inputs:4d} -> {channels:4d}, {height} x {width}: oneDNN {times[0]:.3f} CPU-s, "
                f"nine products {times[1]:.3f}; used: {chosen}",
                flush=True,
            )
        before, height, width = channels, height // 2, width // 2


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", action="store_true", help="the data path alone")
    parser.add_argument("--convolution", action="store_true", help="weight gradients alone")
    parser.add_argument("--memory", help="batch sizes, with commas")
    parser.add_argument("--chunk", type=int, help="pairs embedded at once")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure_memory(arguments.one, arguments.chunk)
        return
    facts = environment()
    print(f"{facts['system']}, torch {facts['torch']}, commit {facts['git_commit'][:8]}")
    if arguments.convolution:
        measure_convolutions(arguments.batch)
        return
    if arguments.data:
        measure_data(arguments.batch, arguments.rounds)
        return
    if not arguments.memory:
        compare(arguments.batch, arguments.rounds)
        return
    for size in arguments.memory.split(","):
        command = [sys.executable, str(Path(__file__)), "--one", size]
        command += ["--chunk", str(arguments.chunk)] if arguments.chunk else []
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
