"""The folder in which the documentation's examples run: every file that they name, synthesised.

sounds/            an indexed library of eight short sounds
manifest.jsonl     the same sounds with captions, in three splits
configs/           the repository's, with small.toml cut down to one epoch of seconds
bark.wav ...       single sounds that the pages name
"""

import shutil
from pathlib import Path

import numpy as np
import soundfile
from doc_blocks import ROOT

RATE = 22_050  # Hz
CAPTIONS = {
    "dog_barking": "a dog barking",
    "rain": "heavy rain on a roof",
    "door_slam": "a door slams",
    "crow": "a single crow at night",
    "drum": "a drum is hit",
    "car_horn": "a car horn in the city",
    "church_bell": "a church bell rings",
    "explosion": "an explosion far away",
}
SINGLE = {
    "bark.wav": 3.0,
    "door.wav": 2.0,
    "crow.wav": 1.5,
    "sound.wav": 2.0,
    "owl.flac": 6.0,
    "night-of-ten-hours.wav": 12.0,
}
SPLITS = ("train", "train", "train", "train", "validation", "validation", "test", "test")
TINY = (
    ("epochs = 10", "epochs = 1"),
    ("batch_size = 64", "batch_size = 4"),
    ("duration = 5.0", "duration = 1.0"),
    ("[16, 32, 64, 128, 128, 128]", "[4, 4, 8, 8, 8, 8]"),
    ("cnn14_dim = 128", "cnn14_dim = 8"),
    ("\ndim = 128", "\ndim = 16"),
)


def make_world(folder: Path) -> None:
    """Write all files but the index and the run."""
    from wavtext.corpora.manifest import Clip, write_manifest

    clips: list[Clip] = []
    for number, (name, caption) in enumerate(CAPTIONS.items()):
        path = folder / "sounds" / f"{name}.{'flac' if name == 'rain' else 'wav'}"
        write_sound(path, 11.0 if name == "rain" else 1.5, seed=number)
        clips.append(Clip(name, path, (caption,), split=SPLITS[number]))
    for number, (name, duration) in enumerate(SINGLE.items(), len(CAPTIONS)):
        write_sound(folder / name, duration, seed=number)
    write_manifest(folder / "manifest.jsonl", clips)
    (folder / "captions.txt").write_text("a dog barking\nheavy rain\n", encoding="utf-8")
    shutil.copytree(ROOT / "configs", folder / "configs")
    small = (folder / "configs" / "small.toml").read_text(encoding="utf-8")
    for before, after in TINY:
        assert before in small, f"configs/small.toml no longer says {before!r}"
        small = small.replace(before, after)
    (folder / "configs" / "small.toml").write_text(small, encoding="utf-8")


def write_sound(path: Path, duration: float, seed: int) -> None:
    """A tone in noise that comes and goes, as no other of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    time = np.arange(round(duration * RATE)) / RATE
    tone = np.sin(2 * np.pi * 150 * 1.4**seed * time) * (0.6 + 0.4 * np.sin(6 * time))
    soundfile.write(path, 0.4 * tone + 0.05 * random.standard_normal(time.size), RATE)
