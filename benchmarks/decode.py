"""How fast is decoding, and which reader should come first?  Seconds of sound a second of CPU.

    python benchmarks/decode.py [--rounds 5] [--corpus FOLDER_OF_OGG_FILES]

Half a minute of synthesised stereo in each format, decoded, averaged and resampled to 22,050 Hz, by
each reader that can; both alternate within a round. With --corpus also the first 150 short Vorbis
files of that folder, where opening counts. Medians of the rounds' CPU time, one thread.
"""

# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from machine import machine

from wavtext.audio.pyav_reader import PyavReader
from wavtext.audio.readers import CannotReadError, SoundFileReader

READERS = {"libsndfile": SoundFileReader, "ffmpeg": PyavReader}
DURATION = 30.0  # s
RATE = 48_000  # Hz
FORMATS = ("wav", "flac", "ogg", "mp3", "opus", "m4a")


def write(folder: Path) -> dict[str, Path]:
    """Band-limited noise that swells and fades, in each format."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((round(DURATION * RATE), 2)).cumsum(axis=0)
    noise -= soxr.resample(soxr.resample(noise, RATE, 200), 200, RATE)[: len(noise)]
    swell = np.sin(np.arange(len(noise)) / RATE) ** 2
    samples = (0.5 * noise / np.abs(noise).max() * swell[:, None]).astype(np.float32)
    paths = {name: folder / f"sound.{name}" for name in FORMATS}
    for name in ("wav", "flac", "ogg", "mp3"):
        with soundfile.SoundFile(paths[name], "w", RATE, 2) as file:
            for block in np.array_split(samples, 60):  # libsndfile's Vorbis needs small ones
                file.write(block)
    for name, codec in (("opus", "libopus"), ("m4a", "aac")):
        with av.open(paths[name], "w") as container:
            stream = container.add_stream(codec, rate=RATE, layout="stereo")
            wanted = stream.codec_context.codec.audio_formats[0].name
            resampler = av.AudioResampler(format=wanted, layout="stereo", rate=RATE)
            planes = np.ascontiguousarray(samples.T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, 0
            for converted in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(stream.encode(converted))
            container.mux(stream.encode(None))
    return paths


def decode(reader: type, path: Path) -> float:
    """Seconds of sound in the file, decoded and resampled."""
    with closing(reader(path)) as opened:
        blocks = list(opened.blocks(0))
        rate = opened.info.sample_rate
    samples = np.concatenate(blocks)
    soxr.resample(samples, rate, 22_050, quality="HQ")
    return len(samples) / rate


def speeds(paths: list[Path], rounds: int) -> dict[str, str]:
    """Times real time of each reader over the files; why not, where it cannot."""
    times: dict[str, list[float]] = {name: [] for name in READERS}
    refused: dict[str, str] = {}
    for _ in range(rounds):
        for name, reader in READERS.items():
            begin = time.process_time()
            try:
                duration = sum(decode(reader, path) for path in paths)
            except CannotReadError:
                refused[name] = "cannot"
                continue
            times[name].append(duration / (time.process_time() - begin))
    return {
        name: refused.get(name) or f"{np.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]"
        for name, values in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpus", type=Path, help="a folder of Ogg Vorbis files")
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"Times real time a core: median [least, most] of {arguments.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        jobs = {name: [path] for name, path in write(Path(folder)).items()}
        if arguments.corpus:
            jobs["short Vorbis files"] = sorted(arguments.corpus.glob("*.ogg"))[:150]
        for name, paths in jobs.items():
            found = ", ".join(
                f"{reader} {speed}" for reader, speed in speeds(paths, arguments.rounds).items()
            )
            print(f"{name:20} {found}")


if __name__ == "__main__":
    main()
