"""How large, fast and calm is the compact model?

    python benchmarks/compact.py [--sounds DIR] [--rounds 5] [--json FILE]

Size: the folder in the package.  Speed: from decoded waveform to embedding on one core, for 10 s
and 1.1 s clips, against transformers' ClapModel + ClapFeatureExtractor (laion/clap-htsat-unfused's
architecture, random weights, float32, one thread) in alternating rounds; and the same in a process
of its own that may use AVX2 but none of the newer instructions (8-bit dot products, bfloat16);
that one leaves out texts, whose graph OpenVINO plans by what the CPU has, not by what it is told.
Calm: cosine of a spoilt clip to the clean one, and how often the spoilt clip finds its own clean
clip first.  Needs wavtext[train] for the comparison.
"""

# ruff: noqa: E402

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from machine import machine, summary

import wavtext
from wavtext.audio.decode import AUDIO_SUFFIXES, load_audio
from wavtext.evaluation import robustness
from wavtext.model import runtime


def clap():
    """Waveform (samples,) at 48 kHz -> embedding, as transformers does it."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ClapModel(ClapConfig()).eval()
    extract = ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")

    def run(samples: np.ndarray) -> None:
        features = extract(samples, sampling_rate=48_000, return_tensors="pt")
        with torch.inference_mode():
            model.get_audio_features(**features)

    return run


def speed(model: wavtext.Model, rounds: int, *, texts: bool = True) -> dict[str, object]:
    generator = np.random.default_rng(0)
    peer = clap()
    sounds = {
        seconds: wavtext.Waveform(
            (0.1 * generator.standard_normal(int(seconds * 22_050))).astype(np.float32), 22_050
        )
        for seconds in (10.0, 1.1)
    }
    wide = (0.1 * generator.standard_normal(480_000)).astype(np.float32)
    times: dict[str, list[float]] = {}

    def clock(name: str, work, repeat: int) -> None:
        work()
        begin = time.process_time()
        for _ in range(repeat):
            work()
        times.setdefault(name, []).append((time.process_time() - begin) / repeat)

    for _ in range(rounds):
        clock("clap 10 s", lambda: peer(wide), 2)
        for seconds, sound in sounds.items():
            clock(f"{seconds:g} s", lambda s=sound: model.embed_audio([s]), 10)
        if texts:
            clock("text", lambda: model.embed_text(["a small dog barking far away"]), 20)
    base = np.array(times["clap 10 s"])
    ten = np.array(times["10 s"])
    report: dict[str, object] = {
        "times real time per core": summary(10.0 / ten),
        "ratio to transformers": summary(base / ten),
        "1.1 s clips a second": summary(1 / np.array(times["1.1 s"])),
    }
    if texts:
        report["text query, ms"] = summary(1e3 * np.array(times["text"]))
    return report


def speed_with_avx2_only(rounds: int) -> dict[str, object]:
    command = [sys.executable, __file__, "--speed-only", "--rounds", str(rounds)]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def calm(model: wavtext.Model, paths: list[Path]) -> dict[str, object]:
    sounds, clean = [], []
    for path in paths:
        try:
            sound = load_audio(path, duration=20.0)
            clean.append(model.embed_audio([sound])[0])
            sounds.append(sound)
        except wavtext.WavtextError:
            continue
    base = np.stack(clean)
    spoil = {
        "1 s of silence before": lambda s: robustness.lead_in(s, 1.0),
        "+12 dB": lambda s: robustness.gain(s, 12.0),
        "-12 dB": lambda s: robustness.gain(s, -12.0),
        "MP3 64 kbit/s": lambda s: robustness.mp3(s, 64_000),
        "16 kHz": lambda s: robustness.through_rate(s, 16_000),
        "white noise, SNR 30 dB": lambda s: robustness.noise(s, 30.0),
        "white noise, SNR 20 dB": lambda s: robustness.noise(s, 20.0),
    }
    report: dict[str, object] = {"clips": len(base)}
    for name, change in spoil.items():
        other = np.stack([model.embed_audio([change(sound)])[0] for sound in sounds])
        cosine = (other * base).sum(1)
        score = other @ base.T
        own = score[np.arange(len(base)), np.arange(len(base))]
        first = (score > own[:, None] + 1e-6).sum(1) == 0
        report[name] = {
            "cosine median": round(float(np.median(cosine)), 4),
            "cosine 5th percentile": round(float(np.percentile(cosine, 5)), 4),
            "finds itself first": round(float(first.mean()), 4),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sounds", type=Path, default=Path("demo"))
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed-only", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runtime.num_cores = lambda: 1
    model = wavtext.load_model()
    if arguments.speed_only:
        print(json.dumps(speed(model, arguments.rounds, texts=False)))
        return
    paths = sorted(p for p in arguments.sounds.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: arguments.clips]]
    report = machine() | {
        "model": model.identity,
        "bytes": sum(path.stat().st_size for path in model.folder.iterdir()),
        "speed": {"all instructions": speed(model, arguments.rounds)},
        "calm": calm(model, paths),
    }
    if platform.machine() in ("x86_64", "AMD64"):
        report["speed"]["AVX2 at most"] = speed_with_avx2_only(arguments.rounds)
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
