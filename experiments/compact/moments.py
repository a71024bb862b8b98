"""Sounds -> crops, each with what MobileNet hears in it moment by moment.

    python experiments/compact/moments.py --crops runs/compact/crops --packed runs/compact/packed \
        --roots ../shared/corpus runs/gathered --mobile-net mn04_as_mAP_432.pt \
        --out runs/compact/moments --shards 193 --strange 60

A crop's 384 numbers say little of how a network comes by them; 384 every third of a second say
more (follow.py).  The teacher hears what the student does: mixtures, other speeds, other colours,
noise; but what is clipped for the student the teacher hears as it was.  The last --strange shards
hold sounds that are like none of the collection's (strange.py).  The sounds are those that
generate.py left in --crops; a shard is one .npz of log-mels (packed, mels.py) and moments, seeded by
its number; one that exists is kept.  Beside them held-*.npz: the same of validation's windows
(heard.py).
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from crops import FRAMES, write_shard
from generate import CROPS, LENGTHS, beside, crop_of, shares_of
from heard import at_level, by_length
from mels import packed_mel
from split import locate, split_of
from strange import RATE, Draw, coloured, noise, paced, strange
from teachers import MobileNetMoments

from wavtext.audio.clipping import restore
from wavtext.audio.waveform import Waveform

SEED = 10_000  # of the first shard: not one of generate.py's
PACED, MIXED, COLOURED, NOISY = 0.2, 0.3, 0.3, 0.25  # shares of the crops
CLIPPED = 0.15  # share of what is clipped besides, for the student


def crop(
    rng: np.random.Generator, draw: Draw, samples: int, *, is_strange: bool = False
) -> np.ndarray:
    """One crop: `draw()` gives a sound (samples,) int16."""

    def other() -> np.ndarray:
        if is_strange:
            return paced(rng, draw(), samples)
        return crop_of(rng, draw(), samples, PACED)

    mix = strange(rng, draw, samples) if is_strange else other().astype(np.float32)
    if rng.random() < MIXED:
        mix = beside(mix, other(), rng.uniform(-3, 20))
    if rng.random() < COLOURED:
        mix = coloured(rng, mix)
    if rng.random() < NOISY:
        level = np.sqrt((mix**2).mean())
        mix = mix + noise(rng, samples) * level * 10 ** (-rng.uniform(5, 40) / 20)
    mix = mix / max(np.abs(mix).max(), 1e-4) * 10 ** (-rng.uniform(1, 18) / 20)
    return mix.astype(np.float32)


def clipped(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Some of the crops driven into clipping, their peaks rebuilt, as the package would hear them."""
    if rng.random() >= CLIPPED:
        return sound
    drive = 10 ** (rng.uniform(3, 18) / 20) / max(np.abs(sound).max(), 1e-4)
    return restore(Waveform(np.clip(sound * drive, -1, 1).astype(np.float32), RATE)).samples


@cache
def teacher_of(path: str) -> MobileNetMoments:
    return MobileNetMoments(path)


@cache
def sounds_of(folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """generate.py's sounds, and how often to draw each: no source drowns the others."""
    stops = np.load(folder / "stops.npy")
    sounds = np.split(np.load(folder / "flat.npy", mmap_mode="r"), stops[:-1])
    clips = json.loads((folder / "clips.json").read_text())
    weight = np.clip(np.sqrt(np.diff(stops, prepend=0) / RATE), 0.7, 6.0)
    weight *= shares_of(clips)
    return sounds, weight / weight.sum()


def heard_moments(
    crops: list[np.ndarray], student_hears: list[np.ndarray], mobile_net: str
) -> dict[str, np.ndarray]:
    teacher = teacher_of(mobile_net)
    moments = np.stack([teacher.hear(each, RATE) for each in crops]).astype(np.float16)
    return {"mel": np.stack([packed_mel(each) for each in student_hears]), "moments": moments}


def shard(job: tuple[int, bool, Path, Path, str]) -> str:
    """Make one shard."""
    number, is_strange, crops, out, mobile_net = job
    target = out / f"{number:04d}.npz"
    if not target.exists():
        sounds, weight = sounds_of(crops)
        rng = np.random.default_rng(SEED + number)
        frames = FRAMES[number % len(FRAMES)]
        draw = lambda: sounds[rng.choice(len(sounds), p=weight)]
        count = CROPS if frames < 216 else CROPS // 2
        made = [crop(rng, draw, LENGTHS[frames], is_strange=is_strange) for _ in range(count)]
        write_shard(target, heard_moments(made, [clipped(rng, each) for each in made], mobile_net))
    return target.name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=Path, required=True, help="what generate.py left")
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--mobile-net", required=True, help="see teachers.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=193)
    parser.add_argument("--strange", type=int, default=60, help="shards after these")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (n, n >= arguments.shards, arguments.crops, arguments.out, arguments.mobile_net)
        for n in range(arguments.shards + arguments.strange)
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name in pool.map(shard, jobs):
            print(name, flush=True)
    clips = json.loads((arguments.packed / "clips.json").read_text())
    paths = [
        locate(clip["file"], arguments.roots) for clip in clips if split_of(clip) == "validation"
    ]
    for samples, found in by_length(paths).items():
        windows = [at_level(window) for _, window in found]
        target = arguments.out / f"held-{samples}.npz"
        write_shard(target, heard_moments(windows, windows, arguments.mobile_net))
        print(target.name, len(windows), flush=True)


if __name__ == "__main__":
    main()
