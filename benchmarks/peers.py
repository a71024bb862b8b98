"""How fast do msclap and laion-clap embed sounds, and how fast the same weights in a model folder?

    pip download --no-deps msclap==1.3.4 laion-clap==1.1.7 && unzip ... , then
    python benchmarks/peers.py --msclap msclap-1.3.4/msclap --laion laion_clap-1.1.7/laion_clap

Audio encoders of the published sizes with random weights, built by the peers' own classes (as in
parity.py: their packages need another NumPy and transformers, and one calls a hub when imported),
from a waveform at the encoder's rate to the projected embedding. The same weights are converted by
`wavtext convert` and run by `Model.embed_audio`. One thread, CPU seconds, alternating rounds;
ratio = theirs / ours of the same round, median and bootstrap 95 % interval.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

# ruff: noqa: E402
import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
from machine import machine, summary

import wavtext
from wavtext.model import runtime
from wavtext.training.convert import convert
from wavtext.training.text import train_tokenizer

RATES = {"msclap-2022": 44_100, "msclap-2023": 44_100, "laion-clap": 48_000}  # Hz
WINDOWS = {"msclap-2022": 5.0, "msclap-2023": 7.0, "laion-clap": 10.0}  # s
Embed = Callable[[torch.Tensor], torch.Tensor]


def peers(msclap: Path | None, laion: Path | None) -> Iterator[tuple[str, dict[str, Any], Embed]]:
    """Kind, checkpoint and (1, samples) -> (1, dim) of each encoder that can be built."""
    if msclap:
        for year, model in parity.msclap_models(msclap):
            yield (
                f"msclap-{year}",
                {"model": model.state_dict()},
                lambda w, m=model: m.audio_encoder(w)[0],
            )
    if laion:
        for fusion, model in parity.laion_models(laion):
            if not fusion:
                state = {f"module.{key}": value for key, value in model.state_dict().items()}
                yield (
                    "laion-clap",
                    {"state_dict": state},
                    lambda w, m=model: m.audio_projection(
                        m.encode_audio({"waveform": w}, device="cpu")["embedding"]
                    ),
                )


def compare(
    kind: str, checkpoint: dict[str, Any], theirs: Embed, rounds: int, work: Path
) -> dict[str, Any]:
    """Times real time a CPU second of both, and the ratios of the rounds."""
    torch.save(checkpoint, work / "checkpoint.pt")
    tokenizer = work / "tokenizer.json"
    train_tokenizer(["a dog barks", "rain"], vocab_size=300).save(str(tokenizer))
    seconds = WINDOWS[kind]
    wave = torch.randn(1, round(RATES[kind] * seconds), generator=torch.manual_seed(0)) * 0.1
    sound = wavtext.Waveform(wave[0].numpy(), RATES[kind])
    runs: dict[str, Callable[[], object]] = {"theirs": lambda: theirs(wave)}
    for precision in ("f32", "bf16"):
        folder = convert(
            kind, work / "checkpoint.pt", work / precision, tokenizer=tokenizer, precision=precision
        )
        model = wavtext.load_model(folder)
        runs[precision] = lambda m=model: m.embed_audio([sound])
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            times[name].append(time.process_time() - begin)
    base = np.array(times["theirs"])
    found: dict[str, Any] = {"seconds of sound": seconds, "theirs": summary(seconds / base)}
    for precision in ("f32", "bf16"):
        ours = np.array(times[precision])
        found[precision] = summary(seconds / ours) | {"ratio": summary(base / ours)}
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--msclap", type=Path, help="the unpacked package")
    parser.add_argument("--laion", type=Path, help="the unpacked package")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    runtime.num_cores = lambda: 1
    report: dict[str, Any] = machine() | {"torch": torch.__version__, "unit": "times real time"}
    for kind, checkpoint, theirs in peers(arguments.msclap, arguments.laion):
        with tempfile.TemporaryDirectory() as folder:
            report[kind] = compare(kind, checkpoint, theirs, arguments.rounds, Path(folder))
            for name in ("f32", "bf16"):
                found = report[kind][name]
                middle, (low, high) = found["ratio"]["median"], found["ratio"]["interval"]
                print(
                    f"{kind}, {name}: {found['median']} x real time, "
                    f"{middle} [{low}, {high}] x theirs",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
