"""Sounds -> thousands of spoilt and mixed crops, each with what the teacher hears in it.

    python experiments/compact/generate.py --packed runs/compact/packed --roots ../shared/corpus \
        runs/gathered --mobile-net mn04_as_mAP_432.pt --out runs/compact/crops --shards 20

Distillation works when teacher and student see the same crop, and when there are far more crops
than sounds (function matching).  A shard is one .npz: log-mels (packed, mels.py), the same of the
crop driven 3 to 18 dB into clipping, what both teachers make of the (unclipped) crop (teachers.py:
YAMNet's scores averaged and maximised over its patches and its representation averaged; MobileNet's
probabilities and representation), and which clips are in it at which level.
Shards are seeded by their number; a shard that exists is kept, so an interrupted run goes on.
Only training clips are used (split.py).
"""

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soxr
from crops import FRAMES, write_shard
from mels import packed_mel
from split import locate, split_of
from teachers import PATCH, YAMNET_RATE, MobileNet, Yamnet

SHARES = {
    "mixed": (0.3, "share of crops that hold a second sound"),
    "paced": (0.2, "share of sounds that are faster or slower"),
    "noisy": (0.0, "share of crops over hiss or rumble"),
}
LENGTHS = {54: 27_562, 108: 55_125, 216: 110_250}  # frames -> samples at 22,050 Hz
CROPS = 1000  # a shard
_sounds: list[np.ndarray] = []
_weight = np.zeros(0)
_teachers: tuple[Yamnet, MobileNet] | None = None


def load_sounds(paths: list[Path]) -> tuple[list[np.ndarray], np.ndarray]:
    """All training sounds as int16 at 22,050 Hz, and how often to draw each: by the root of its
    length.
    """
    from wavtext.audio.decode import load_audio

    sounds = []
    for path in paths:
        samples = load_audio(path, 22_050, duration=120.0).samples
        top = np.abs(samples).max()
        loud = np.flatnonzero(np.abs(samples) > 1e-3 * top)
        samples = samples[loud[0] : loud[-1] + 1] / top
        sounds.append(np.round(samples * 32_000).astype(np.int16))
    length = np.array([len(sound) for sound in sounds]) / 22_050
    return sounds, np.clip(np.sqrt(length), 0.7, 6.0)


def shares_of(clips: list[dict]) -> np.ndarray:
    """(clips,): what their weights are multiplied with, so that no source drowns the others and
    nothing is drawn that was screened since.
    """
    many = Counter(clip["source"] for clip in clips)
    even = [min(1.0, (120 / many[clip["source"]]) ** 0.5) for clip in clips]
    return np.array(even) * [split_of(clip) == "train" for clip in clips]


def crop_of(rng: np.random.Generator, sound: np.ndarray, samples: int, paced: float) -> np.ndarray:
    """A random stretch; a short sound repeats or stands in silence; a share of them is faster or
    slower.
    """
    if rng.random() < paced:
        rate = rng.uniform(0.85, 1.18)
        need = min(len(sound), int(samples * rate) + 2)
        start = rng.integers(0, len(sound) - need + 1)
        part = sound[start : start + need].astype(np.float32)
        at = np.arange(0, len(part) - 1, rate)
        sound = np.interp(at, np.arange(len(part)), part) if len(at) > 8 else part
    if len(sound) >= samples:
        start = rng.integers(0, len(sound) - samples + 1)
        return sound[start : start + samples].astype(np.float32) / 32_000
    if rng.random() < 0.35:
        out = np.zeros(samples, np.float32)
        start = rng.integers(0, samples - len(sound) + 1)
        out[start : start + len(sound)] = sound
        return out / 32_000
    return (
        np.resize(
            np.roll(sound, rng.integers(0, len(sound)) * (rng.random() < 0.3)), samples
        ).astype(np.float32)
        / 32_000
    )


def beside(mix: np.ndarray, other: np.ndarray, below: float) -> np.ndarray:
    """Both sounds, the second's power so many dB below the first's."""
    power = np.sqrt((mix**2).mean() / max((other**2).mean(), 1e-9))
    return mix + other * power * 10 ** (-below / 20)


def heard_in(mix: np.ndarray, yamnet: Yamnet, mobile_net: MobileNet) -> dict[str, np.ndarray]:
    """What both teachers make of a crop at 22,050 Hz."""
    low = soxr.resample(mix, 22_050, YAMNET_RATE)
    if len(low) < PATCH:
        low = np.resize(low, PATCH)
    patches = max(1, round((len(low) - PATCH) / 8_000) + 1)
    starts = np.linspace(0, len(low) - PATCH, patches).astype(int)
    views = [yamnet.hear(low[start : start + PATCH]) for start in starts]
    scores, middles = (np.stack(some) for some in zip(*views, strict=True))
    tagged, feature = mobile_net.hear(mix, 22_050)
    found = {"mean": scores.mean(0), "most": scores.max(0), "middle": middles.mean(0)}
    return found | {"tagged": tagged, "feature": feature}


def stacked(heard: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Crop by crop -> (crops, ...) float16."""
    return {name: np.stack([each[name] for each in heard]).astype(np.float16) for name in heard[0]}


def shard(job: tuple[int, str, str, str, str, dict[str, float]]) -> str:
    """Make one shard."""
    number, out, yamnet_path, mobile_net_path, paths_file, shares = job
    global _sounds, _weight, _teachers
    target = Path(out) / f"{number:04d}.npz"
    if target.exists():
        return target.name
    if not _sounds:
        _sounds = _read(paths_file)
    rng = np.random.default_rng(number)
    frames = FRAMES[number % len(FRAMES)]  # one shard after another
    count = CROPS if frames < 216 else CROPS // 2
    samples = LENGTHS[frames]
    _teachers = _teachers or (Yamnet(yamnet_path), MobileNet(mobile_net_path))
    yamnet, mobile_net = _teachers
    p = _weight / _weight.sum()
    mels, clipped = np.empty((2, count, frames, 72), np.uint8)
    heard: list[dict[str, np.ndarray]] = []
    who, level = np.full((count, 2), -1, np.int32), np.zeros(count, np.float32)
    for i in range(count):
        a = int(rng.choice(len(_sounds), p=p))
        mix = crop_of(rng, _sounds[a], samples, shares["paced"])
        who[i, 0] = a
        if rng.random() < shares["mixed"]:
            b = int(rng.choice(len(_sounds), p=p))
            other = crop_of(rng, _sounds[b], samples, shares["paced"])
            below = rng.uniform(-3, 20)  # dB
            mix = beside(mix, other, below)
            who[i, 1], level[i] = b, below
        if rng.random() < shares["noisy"]:  # hiss, rumble
            noise = rng.standard_normal(samples).astype(np.float32)
            if rng.random() < 0.6:
                noise = np.cumsum(noise) - np.convolve(np.cumsum(noise), np.ones(400) / 400, "same")
            noise /= noise.std() + 1e-6
            mix = mix + noise * np.sqrt((mix**2).mean()) * 10 ** (-rng.uniform(5, 45) / 20)
        top = np.abs(mix).max()
        mix = (mix / max(top, 1e-6) * 10 ** (-rng.uniform(0, 18) / 20)).astype(np.float32)
        mels[i] = packed_mel(mix)
        drive = 10 ** (rng.uniform(3, 18) / 20) / max(np.abs(mix).max(), 1e-6)
        loud = np.clip(mix * drive, -1, 1).astype(np.float32)
        clipped[i] = packed_mel(loud)
        heard.append(heard_in(mix, yamnet, mobile_net))
    crops = {"mel": mels, "clipped": clipped, "who": who, "below": level}
    write_shard(target, crops | stacked(heard))
    return target.name


def _read(path: str) -> list[np.ndarray]:
    global _weight
    flat, stops = np.load(path, mmap_mode="r"), np.load(path.replace("flat", "stops"))
    _weight = np.load(path.replace("flat", "weight"))
    return np.split(flat, stops[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packed", type=Path, required=True, help="whose clips.json names the training clips"
    )
    parser.add_argument("--roots", nargs="+", required=True, help="folders that hold the sounds")
    parser.add_argument("--teacher", type=Path, default=Path("../shared/teacher/yamnet.tflite"))
    parser.add_argument("--mobile-net", type=Path, required=True, help="see teachers.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--last", type=int, default=0, help="clips at the list's end that are new")
    parser.add_argument("--share", type=float, default=0.5, help="of draws, for the new ones")
    parser.add_argument("--workers", type=int, default=2)
    for name, (share, text) in SHARES.items():
        parser.add_argument(f"--{name}", type=float, default=share, help=text)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    clips = [
        c
        for c in json.loads((arguments.packed / "clips.json").read_text())
        if c["split"] == "train"
    ]
    flat = arguments.out / "flat.npy"
    if not flat.exists():
        roots = [Path(root) for root in arguments.roots]
        sounds, weight = load_sounds([locate(clip["file"], roots) for clip in clips])
        weight *= shares_of(clips)
        if arguments.last:  # as often as they missed in the shards that are there
            new = np.arange(len(clips)) >= len(clips) - arguments.last
            others = weight[~new].sum()
            weight[new] *= arguments.share / (1 - arguments.share) * others / weight[new].sum()
        np.save(arguments.out / "weight.npy", weight)
        np.save(arguments.out / "stops.npy", np.cumsum([len(s) for s in sounds]))
        (arguments.out / "clips.json").write_text(json.dumps(clips))
        np.save(flat, np.concatenate(sounds))
    shares = {name: getattr(arguments, name) for name in SHARES}
    jobs = [
        (n, *map(str, (arguments.out, arguments.teacher, arguments.mobile_net, flat)), shares)
        for n in range(arguments.first, arguments.first + arguments.shards)
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name in pool.map(shard, jobs):
            print(name, flush=True)


if __name__ == "__main__":
    main()
