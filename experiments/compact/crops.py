"""The crops that generate.py left, as a student is to hear them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from split import split_of

# The teachers' geometric mean is lower than YAMNet's scores, for which the losses (losses.py) were set:
# the highest of a crop's is 0.25 in place of 0.58 (medians).
LOUDER = 2.3
# Of a crop, each as often as it is made and drawn; a sound is cut into windows of 5 s at most.
FRAMES = (54, 108, 216, 216)
HEARD = ("mean", "most", "tagged")  # what a shard holds of the teachers' labels: `label_scores`


class Crops:
    """All crops, drawn at random, one length at a time."""

    def __init__(self, shards: list[dict[str, np.ndarray]], rng: np.random.Generator) -> None:
        self.shards, self.rng = shards, rng
        self.by_length: dict[int, list[int]] = {}
        for i, shard in enumerate(shards):
            self.by_length.setdefault(shard["mel"].shape[1], []).append(i)

    def __len__(self) -> int:
        return sum(len(shard["mel"]) for shard in self.shards)

    def draw(self, batch: int) -> dict[str, np.ndarray]:
        """What the shards hold of some crops; half as many where they are long."""
        frames = int(self.rng.choice(FRAMES))
        frames = frames if frames in self.by_length else next(iter(self.by_length))
        shards = self.rng.choice(self.by_length[frames], batch if frames < 216 else batch // 2)
        rows = self.rng.integers(0, [len(self.shards[i]["mel"]) for i in shards])
        return {
            name: np.stack([self.shards[i][name][j] for i, j in zip(shards, rows, strict=True)])
            for name in self.shards[0]
        }


def shard_paths(folder: Path) -> list[Path]:
    """The shards that generate.py left in a folder, in order."""
    return sorted(folder.glob("[0-9]*[0-9].npz"))


def write_shard(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write it whole or not at all."""
    partial = target.with_suffix(".part.npz")
    np.savez(partial, **arrays)
    partial.rename(target)


def load_shards(
    paths: Iterable[Path], clips: list, whiten: float, tutor: Path | None = None
) -> list[dict[str, np.ndarray]]:
    """The crops, without those of clips that were screened out after they were made.

    What teachers.py left of each crop becomes "scores" (521) and "representation" (512); with a
    tutor (tutor.py), "followed" (384) is its embedding.
    """
    allowed = allowed_clips(clips)
    shards = []
    for path in paths:
        shard = dict(np.load(path))
        if tutor:
            shard["followed"] = np.load(tutor / f"{path.stem}.npy")
        keep = allowed[shard["who"]].all(1)
        shards.append({name: value[keep] for name, value in shard.items()})
    bases = [whitening(shards, name, whiten) for name in ("middle", "feature")]
    for s in shards:
        parts = [
            (s.pop(name).astype(np.float32) - mean) @ basis
            for name, (mean, basis) in zip(("middle", "feature"), bases, strict=True)
        ]
        s["representation"] = np.concatenate(parts, 1)
        s["scores"] = label_scores(*(s.pop(name) for name in HEARD))
    return shards


def allowed_clips(clips: list) -> np.ndarray:
    """Which clips may train, by number; -1, no clip, may."""
    return np.array([split_of(clip) == "train" for clip in clips] + [True])


def label_scores(mean: np.ndarray, most: np.ndarray, tagged: np.ndarray) -> np.ndarray:
    """(crops, 521) float32: what the teachers hear together."""
    yamnet = yamnet_scores(mean, most)
    return (LOUDER * np.cbrt(yamnet * tagged.astype(np.float32) ** 2)).clip(max=1.0)


def yamnet_scores(mean: np.ndarray, most: np.ndarray) -> np.ndarray:
    """(crops, 521) float32: what YAMNet hears over its patches, on average and at most, halfway."""
    return 0.5 * (mean.astype(np.float32) + most.astype(np.float32))


def whitening(
    shards: list[dict[str, np.ndarray]], name: str, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and basis (dim, 256) of a teacher's representations over the crops.

    Each principal component is divided by a power of its deviation: 1 makes all equal, 0 leaves
    them; the mean square is 1.
    """
    pool = np.concatenate([shard[name] for shard in shards])[:40_000].astype(np.float32)
    value, vector = np.linalg.eigh(np.cov((pool - pool.mean(0)).T))
    value, vector = value[::-1][:256].clip(min=0), vector[:, ::-1][:, :256]
    basis = vector / (value + 1e-4) ** (power / 2)
    basis /= np.sqrt((value / (value + 1e-4) ** power).mean())
    return pool.mean(0), basis.astype(np.float32)
