"""How fast are collections checked and packed, what does the fingerprint find, in how much memory?

    python benchmarks/corpora.py speed [--clips 200] [--workers 2] [--runs 5]
    python benchmarks/corpora.py fingerprint --sounds FOLDER [--clips 500]
    python benchmarks/corpora.py scale [--clips 50000] [--duration 10]
    python benchmarks/corpora.py memory --sounds FOLDER --work FOLDER [--command pack]

speed: 10 s stereo clips of noise and tones, 48 kHz, in four formats -> times real time, of
`wavtext corpus pack --log-mel` (decode, check, resample to 44.1 kHz, log-mel, FLAC, one pass), by
the clock on all workers, and by the processor time of one, which other load does not spoil.
fingerprint: copies of real sounds, re-encoded, resampled, padded -> share recognised, and pairs of
different files taken for copies.
scale: the one pair among random fingerprints of some seconds -> seconds, peak memory.  Few of them
are similar enough to be compared word by word; real ones are, which costs time, not memory.
memory: real sounds at eight speeds, each a file of its own (16-bit FLAC), in a manifest -> what
`wavtext corpus check` (or `pack --log-mel`) finds, how long it takes, and the most memory that it
and its workers held together, sampled each 0.2 s (shared pages counted for each: an upper bound).
"""

import argparse
import io
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile
import soxr
from machine import interval, machine
from process_tree import tree_memory

from wavtext.audio.decode import AUDIO_SUFFIXES, load_audio
from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.duplicates import MAX_DIFFERENCE, MIN_SIMILARITY, near_duplicates
from wavtext.corpora.fingerprint import (
    DESCRIPTOR_SIZE,
    SAMPLE_RATE,
    Fingerprint,
    difference,
    fingerprint,
)
from wavtext.corpora.inspection import CACHE_NAME, Inspection
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.corpora.pack import PackOptions, pack
from wavtext.errors import WavtextError

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}


def speed(clips: int, workers: int, runs: int) -> None:
    rng = np.random.default_rng(0)
    time_axis = np.arange(480_000) / 48_000
    tone = np.sin(2 * np.pi * (200 + 300 * np.sin(time_axis)) * time_axis)
    sound = np.stack([0.3 * tone + 0.05 * rng.standard_normal(480_000)] * 2, axis=1)
    print(f"{clips} clips, {workers} workers, {runs} runs: median (95 % interval of the median)")
    print("| format | × real time, clock | × real time of one core |")
    print("|---|---:|---:|")
    options = PackOptions(log_mel=LogMelConfig())
    for suffix, (kind, subtype) in FORMATS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            manifest: list[Clip] = []
            for number in range(clips):
                path = folder / f"{number}.{suffix}"
                if number < 8:
                    shifted = np.roll(sound, number * 999, 0)
                    soundfile.write(path, shifted, 48_000, subtype, format=kind)
                else:
                    os.link(folder / f"{number % 8}.{suffix}", path)
                manifest.append(Clip(f"{number}", path, ("noise",)))
            clock: list[float] = []
            used: list[float] = []
            for run in range(runs):
                start = time.perf_counter()
                whole = pack(manifest, str(folder / f"{run}"), options=options, workers=workers)
                clock.append(whole.duration / (time.perf_counter() - start))
                # Again in this process, for the processor time of a core.
                start = time.process_time()
                alone = pack(manifest[:40], str(folder / f"a{run}"), options=options, workers=1)
                used.append(alone.duration / (time.process_time() - start))
            print(f"| {suffix} | {rate(clock)} | {rate(used)} |", flush=True)


def rate(values: list[float]) -> str:
    middle, low, high = interval(np.array(values))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def encoded(sound: np.ndarray, rate: int, kind: str, subtype: str, level: float | None = None):
    buffer = io.BytesIO()
    extra = {} if level is None else {"compression_level": level}
    soundfile.write(buffer, np.clip(sound, -1, 1), rate, format=kind, subtype=subtype, **extra)
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")


def resampled(sound: np.ndarray, rate: int, to: int) -> np.ndarray:
    return sound if rate == to else soxr.resample(sound, rate, to)


Change = Callable[[np.ndarray, int], tuple[np.ndarray, int]]
CHANGES: dict[str, Change] = {
    "MP3, 44.1 kHz, default quality": lambda x, r: encoded(
        resampled(x, r, 44_100), 44_100, "MP3", "MPEG_LAYER_III"
    ),
    "MP3, 22 kHz, low quality": lambda x, r: encoded(
        resampled(x, r, 22_050), 22_050, "MP3", "MPEG_LAYER_III", 0.9
    ),
    "Vorbis, low quality": lambda x, r: encoded(x, r, "OGG", "VORBIS", 0.9),
    "Opus, low quality": lambda x, r: encoded(resampled(x, r, 48_000), 48_000, "OGG", "OPUS", 0.9),
    "8 kHz": lambda x, r: (resampled(x, r, 8_000), 8_000),
    "11 kHz, 8 bit": lambda x, r: (np.round(resampled(x, r, 11_025) * 127) / 127, 11_025),
    "12 dB quieter": lambda x, r: (x * 0.25, r),
    "50 ms before, 100 ms after": lambda x, r: (np.pad(x, (r // 20, r // 10)), r),
    "a tenth cut away": lambda x, r: (x[len(x) // 20 : -(len(x) // 20)], r),
}


def of(sound: np.ndarray, rate: int) -> Fingerprint:
    return fingerprint(resampled(sound.astype(np.float32), rate, SAMPLE_RATE))


def sounds_in(folder: Path, clips: int) -> list[tuple[np.ndarray, int]]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    random.Random(0).shuffle(paths)
    found: list[tuple[np.ndarray, int]] = []
    for path in paths:
        try:
            waveform = load_audio(path, duration=60.0, on_warning=lambda warning: None)
        except WavtextError:
            continue
        if waveform.duration >= 0.15:
            found.append((waveform.samples, waveform.sample_rate))
        if len(found) == clips:
            break
    return found


def recall(sounds: Path, clips: int) -> None:
    originals = sounds_in(sounds, clips)
    prints = [of(*each) for each in originals]
    print(f"{len(originals)} sounds of {sounds}, {sum(len(x) / r for x, r in originals):.0f} s")
    print("| copy | recognised | 95 % interval | median difference |\n|---|---:|---|---:|")
    for name, change in CHANGES.items():
        hits, apart = 0, []
        for (sound, rate), original in zip(originals, prints, strict=True):
            copy = of(*change(sound, rate))
            apart.append(difference(original.words, copy.words))
            similar = float(original.descriptor @ copy.descriptor) >= MIN_SIMILARITY
            hits += similar and apart[-1] <= MAX_DIFFERENCE
        low, high = wilson(hits, len(originals))
        print(
            f"| {name} | {hits / len(originals):.1%} | {low:.1%} to {high:.1%} |"
            f" {np.median(apart):.3f} |",
            flush=True,
        )
    found = list(near_duplicates([inspection(each, i) for i, each in enumerate(prints)]))
    pairs = len(prints) * (len(prints) - 1) // 2
    print(f"{len(found)} of {pairs} pairs of different files are taken for one recording.")


def wilson(hits: int, total: int) -> tuple[float, float]:
    z, share = 1.96, hits / total
    centre = share + z * z / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total)


def inspection(found: Fingerprint, number: int) -> Inspection:
    return Inspection(
        checksum=f"{number}", words=found.words, descriptor=found.descriptor.astype(np.float16)
    )


def scale(clips: int, duration: float) -> None:
    start = time.perf_counter()
    pairs = list(near_duplicates(unrelated(clips, duration)))
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{clips} fingerprints of {duration:g} s: {len(pairs)} pair in {took:.0f} s;"
        f" peak memory {peak:.0f} MiB"
    )


def unrelated(clips: int, duration: float) -> Iterator[Inspection]:
    """Random fingerprints, of which the last has the words of the first."""
    rng = np.random.default_rng(0)
    first = None
    for number in range(clips - 1):
        descriptor = rng.standard_normal(DESCRIPTOR_SIZE)
        words = rng.integers(0, 2**32, round(duration * SAMPLE_RATE / 128) + 1, dtype=np.uint32)
        made = Fingerprint(words, descriptor / np.linalg.norm(descriptor))
        first = first or made
        yield inspection(made, number)
    if first is not None:
        yield inspection(first, -1)


SPEEDS = (1.0, 0.63, 0.71, 0.8, 0.9, 1.13, 1.27, 1.43)
VARIED_RATE = 16_000  # Hz, before the change of speed


def memory(what: str, sounds: Path, work: Path, clips: int) -> None:
    manifest = work / "manifest.jsonl"
    if not manifest.exists():
        made, duration = vary(sounds, work, clips)
        print(f"{made} files, {duration / 3600:.1f} h, under {work}", flush=True)
    (work / CACHE_NAME).unlink(missing_ok=True)
    command = [sys.executable, "-m", "wavtext", "corpus", what, str(manifest)]
    if what == "check":
        command += ["--out", str(work / "exclude.jsonl")]
    else:
        command += ["--out", str(work / "pack"), "--log-mel"]
    start = time.perf_counter()
    running = subprocess.Popen(command)
    most, alone = 0.0, 0.0
    while running.poll() is None:
        held = tree_memory(running.pid)
        most, alone = max(most, sum(held)), max(alone, *held[:1], 0.0)
        time.sleep(0.2)
    took = time.perf_counter() - start
    print(
        f"exit status {running.returncode} after {took:.0f} s; peak memory {most:.0f} MiB,"
        f" of which the first process at most {alone:.0f} MiB"
    )


def vary(sounds: Path, work: Path, clips: int) -> tuple[int, float]:
    """Write `clips` files and their manifest; returns how many there are, and their seconds."""
    originals = sorted(p for p in sounds.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    made: list[Clip] = []
    total = 0.0
    for path in originals:
        try:
            samples = load_audio(path, VARIED_RATE, on_warning=lambda warning: None).samples
        except WavtextError:
            continue
        for speed in SPEEDS[: clips - len(made)]:
            rate = round(VARIED_RATE * speed)
            target = work / "audio" / f"{path.stem}-{rate}.flac"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, samples, rate, subtype="PCM_16")
            made.append(Clip(f"{path.stem}-{rate}", target, (f"sound {path.stem} at {rate}",)))
            total += len(samples) / rate
        if len(made) == clips:
            break
    write_manifest(work / "manifest.jsonl", made)
    return len(made), total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "fingerprint", "scale", "memory"])
    parser.add_argument("--clips", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--command", choices=["check", "pack"], default="check")
    parser.add_argument("--duration", type=float, default=10.0)
    arguments = parser.parse_args()
    print(machine())
    if arguments.what == "speed":
        speed(arguments.clips or 200, arguments.workers, arguments.runs)
    elif arguments.what == "fingerprint":
        recall(arguments.sounds, arguments.clips or 500)
    elif arguments.what == "scale":
        scale(arguments.clips or 50_000, arguments.duration)
    else:
        memory(arguments.command, arguments.sounds, arguments.work, arguments.clips or 50_000)


if __name__ == "__main__":
    main()
