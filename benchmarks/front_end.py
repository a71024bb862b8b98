"""Is the front end five times faster than torchlibrosa?  Log-mel of 10 s on one core, side by side.

    python benchmarks/front_end.py [--rounds 30] [--json FILE]

Each round times every implementation once, in a new random order, so that what else the machine
does falls on all of them. CPU time of the process, one thread. The ratio of a round is their time
over ours; printed are its median and a bootstrap 95 % interval of the median. The implementations
must agree with ours first (5e-3 dB within 60 dB of the maximum), or nothing is timed.
"""

# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
from machine import interval, machine
from torchlibrosa.stft import LogmelFilterBank, Spectrogram
from transformers import ClapFeatureExtractor

from wavtext.audio.log_mel import LogMelConfig, log_mel

SETTINGS = {
    "paper": LogMelConfig(),
    "PANNs": LogMelConfig(sample_rate=32_000, f_max=14_000.0),
}
TOLERANCE = 5e-3  # dB


def implementations(config: LogMelConfig) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Each takes (samples,) and gives (frames, mels) in dB for the same settings."""
    spectrogram = Spectrogram(n_fft=1024, hop_length=config.hop_length, win_length=1024)
    bank = LogmelFilterBank(
        sr=config.sample_rate,
        n_fft=1024,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        ref=1.0,
        amin=config.amin,
        top_db=None,
    )
    clap = ClapFeatureExtractor(
        feature_size=config.n_mels,
        sampling_rate=config.sample_rate,
        hop_length=config.hop_length,
        fft_window_size=1024,
        frequency_min=config.f_min,
        frequency_max=config.f_max,
    )

    def by_torchlibrosa(samples: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return bank(spectrogram(torch.from_numpy(samples)[None]))[0, 0].numpy()

    def by_librosa(samples: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=samples,
            sr=config.sample_rate,
            n_fft=1024,
            hop_length=config.hop_length,
            n_mels=config.n_mels,
            fmin=config.f_min,
            fmax=config.f_max,
            pad_mode="reflect",
        )
        return librosa.power_to_db(mel, ref=1.0, amin=config.amin, top_db=None).T

    def by_transformers(samples: np.ndarray) -> np.ndarray:
        return clap._np_extract_fbank_features(samples, clap.mel_filters_slaney)

    return {
        "wavtext": lambda samples: log_mel(samples, config),
        "torchlibrosa": by_torchlibrosa,
        "librosa": by_librosa,
        "transformers": by_transformers,
    }


def check(name: str, found: np.ndarray, ours: np.ndarray) -> None:
    near = ours > ours.max() - 60
    error = float(np.abs(found[: len(ours)] - ours)[near].max())
    if found.shape != ours.shape or error > TOLERANCE:
        raise SystemExit(
            f"{name} differs from wavtext by {error:.4f} dB, {found.shape}: not timed."
        )


def measure(config: LogMelConfig, rounds: int) -> dict[str, np.ndarray]:
    """CPU seconds of each round, for each implementation."""
    generator = np.random.default_rng(0)
    samples = (0.1 * generator.standard_normal(10 * config.sample_rate)).astype(np.float32)
    functions = implementations(config)
    ours = functions["wavtext"](samples)
    for name, function in functions.items():
        check(name, function(samples), ours)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name in generator.permutation(list(functions)):
            begin = time.process_time()
            functions[name](samples)
            times[name].append(time.process_time() - begin)
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report: dict[str, object] = {"machine": machine(), "rounds": arguments.rounds}
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"Log-mel of 10 s, one thread, {arguments.rounds} rounds; CPU ms; ratio = theirs / ours")
    for setting, config in SETTINGS.items():
        times = measure(config, arguments.rounds)
        for name, values in times.items():
            ratio, low, high = interval(values / times["wavtext"])
            print(
                f"{setting:6} {name:13} {1e3 * np.median(values):7.2f} ms "
                f"(best {1e3 * values.min():6.2f})  ratio {ratio:5.2f} [{low:.2f}, {high:.2f}]"
            )
            report[f"{setting}/{name}"] = {
                "median_ms": 1e3 * float(np.median(values)),
                "best_ms": 1e3 * float(values.min()),
                "ratio": [ratio, low, high],
            }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
