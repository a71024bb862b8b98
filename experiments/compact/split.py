"""Who trains, who tunes, who tests: one rule for every script of the compact model.

test        every clip of the corpus whose group's hash falls in one fifth, whatever its licence:
            reported once
validation  one tenth of the groups, and every clip whose licence is not clear: chooses recipes
train       the rest: clear licences only (licences.py, debian_licences.csv), none of the demo's
            packages, no recording that a common benchmark uses too, none that the corpus's packages
            hold beside the corpus, no near-duplicate of a held-out sound
"""

import csv
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from licences import is_clear

DEMO = {"sonic-pi-samples", "sound-icons", "tuxpaint-stamps-default"}


def _rows(name: str) -> list[dict[str, str]]:
    with Path(__file__).with_name(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Freesound recordings that ESC-50, UrbanSound8K or FSDKaggle 2018/2019 use too, sounds that the
# corpus's own packages hold beside the corpus (withheld.py), and copies of the demo's sounds.
SCREENED = {row["file"] for row in _rows("screened.csv")}
# Debian's own statement on a file, where the corpus lists the licences of the whole package.
STATED = {row["file"]: row["license"] for row in _rows("debian_licences.csv")}
# Sounds gathered beside the corpus (gather.py): they train, and nothing else.
GATHERED = {row["file"] for row in _rows("gathered.csv")}


def licence_of(clip: Mapping[str, str]) -> str:
    """The licence of one row of an index, as exactly as it is known."""
    return STATED.get(clip["file"], clip["license"])


def split_of(clip: Mapping[str, str]) -> str:
    """'train', 'validation', 'test', 'demo' or 'screened' for one row of an index."""
    if clip["source"] in DEMO:
        return "demo"
    if clip["file"] in SCREENED:
        return "screened"
    if clip["file"] in GATHERED:
        return "train" if is_clear(clip["license"]) else "validation"
    fold = zlib.crc32(clip["group"].encode()) % 10
    if fold in (0, 5):
        return "test"
    return "train" if fold != 2 and is_clear(licence_of(clip)) else "validation"


def locate(file: str, roots: Sequence[Path]) -> Path:
    """Where the sound of a row of an index lies.

    Raises:
        SystemExit: In none of the roots.
    """
    places = [root / file for root in roots]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise SystemExit(f"{file}: in none of the roots.")
    return found


def gathered_titles() -> set[str]:
    """The titles of the gathered sounds that may train, whether they are at hand or not."""
    rows = (row for row in _rows("gathered.csv") if split_of(row) == "train")
    return {row["title"].lower().strip() for row in rows}


def training_counts(clips: Sequence[Mapping[str, Any]], earlier: Path | None) -> dict[str, Any]:
    """How many clips trained, how long they are, by licence and by source.

    Args:
        clips: Rows of a packed clips.json.
        earlier: A report (report.py) of a model that this one goes on from.  Its clips trained this
            one too; they must be all of these and more.

    Raises:
        SystemExit: Of some source there are more clips now than there were.
    """
    train = [clip for clip in clips if split_of(clip) == "train"]
    counts: dict[str, Any] = {
        "clips": len(train),
        "hours": round(sum(clip["duration"] for clip in train) / 3600, 2),
        "licences": Counter(clip["license"] for clip in train).most_common(),
        "sources": Counter(clip["source"] for clip in train).most_common(),
    }
    if not earlier:
        return counts
    whole = json.loads(earlier.read_text())["train"]
    more = Counter(dict(counts["sources"])) - Counter(dict(whole["sources"]))
    if more:
        raise SystemExit(f"{earlier}: that model had not heard all of {', '.join(more)}.")
    return whole


def signature(mel: np.ndarray) -> np.ndarray:
    """(frames, 72) uint8 -> (288,) float32 of length 1: 16 stretches of time by 18 of frequency,
    level removed.
    """
    edges = np.linspace(0, len(mel), 17).astype(int)
    rows = [mel[a : max(b, a + 1)].mean(0) for a, b in itertools.pairwise(edges)]
    grid = np.stack(rows).reshape(16, 18, 4).mean(2)
    grid = grid - grid.mean()
    return (grid / (np.linalg.norm(grid) + 1e-6)).reshape(-1).astype(np.float32)


def near_duplicates(
    train: np.ndarray, held_out: np.ndarray, train_duration: np.ndarray, held_duration: np.ndarray
) -> np.ndarray:
    """Which training clips look like a held-out one: cosine over 0.97 and durations within 3 %."""
    same = (train @ held_out.T) > 0.97
    ratio = train_duration[:, None] / np.maximum(held_duration[None], 1e-3)
    return np.any(same & (np.abs(ratio - 1) < 0.03), axis=1)
