"""Is one model folder better than another?  Both on validation's sound files, paired.

    python experiments/compact/compare.py src/wavtext/model/compact NEW --packed \
        runs/compact/packed --roots ../shared/corpus runs/gathered --held runs/compact/held

Prints, for titles and for everyday classes (report.py), what each finds and the second less the
first with a 95 % bootstrap over families of recordings.  With --held (heard.py) the environmental
clips whose titles a teacher bears out are scored once more.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from crops import shard_paths, yamnet_scores
from everyday import (
    KEYS,
    asked_of,
    borne_out,
    environmental,
    everyday_values,
    labelled,
    standardised,
)
from report import draws_of, embedded, title_values
from split import locate, split_of
from text_bank import PHRASES, load_labels

import wavtext

DRAWS = 300
Scores = np.ndarray  # (queries, clips)


def everyday_of(score: Scores, labels: np.ndarray, some: np.ndarray) -> np.ndarray:
    """(4,): `everyday_values` of some of the clips, asked for the classes that these name."""
    heard, right = asked_of(score, labels, some)
    return np.array(everyday_values(heard, standardised(heard), right), float)


def paired(
    statistic: Callable[[int, np.ndarray], np.ndarray], rows: np.ndarray, groups: np.ndarray
) -> list[np.ndarray]:
    """What each finds, the difference, and the ends of its interval.

    Args:
        statistic: Of the first or second model (0, 1) on some rows.
        rows: Which rows there are.
        groups: The family of each.
    """
    first, second = (statistic(model, rows) for model in (0, 1))
    draws = [
        statistic(1, rows[some]) - statistic(0, rows[some])
        for some in draws_of(groups, np.random.default_rng(0), DRAWS)
    ]
    return [first, second, second - first, *np.percentile(draws, [2.5, 97.5], axis=0)]


def teachers_hear(folder: Path) -> dict[str, np.ndarray]:
    """What heard.py left: file -> (2, labels), the mean over its windows, YAMNet's and MobileNet's."""
    clips = json.loads((folder / "clips.json").read_text())
    parts: dict[str, list[np.ndarray]] = {}
    for path in shard_paths(folder):
        with np.load(path) as shard:
            yamnet = yamnet_scores(shard["mean"], shard["most"])
            both = np.stack([yamnet, shard["tagged"].astype(np.float32)], 1)
            for (clip, _), heard in zip(shard["who"], both, strict=True):
                parts.setdefault(clips[clip]["file"], []).append(heard)
    return {file: np.mean(some, axis=0) for file, some in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("models", nargs=2, help="model folders")
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--held", type=Path, help="what heard.py left")
    arguments = parser.parse_args()
    clips = json.loads((arguments.packed / "clips.json").read_text())
    clips = [clip for clip in clips if clip["split"] == split_of(clip) == "validation"]
    paths = [locate(clip["file"], arguments.roots) for clip in clips]
    titles = [clip["title"].lower().strip() for clip in clips]
    distinct = sorted(set(titles))
    families = np.array([clip["group"] for clip in clips])
    have, classes, labels = labelled(clips)
    found, by_class = [], []
    for folder in arguments.models:
        model = wavtext.load_model(folder)
        with ThreadPoolExecutor(2) as pool:
            sounds = embedded(model, paths, pool)
        rank = title_values(model.embed_text(distinct) @ sounds.T, distinct, titles)
        found.append(np.stack([rank <= 1, rank <= 10], 1).astype(float))
        by_class.append(model.embed_text(classes) @ sounds[have].T)
        print(folder, model.identity, flush=True)
    chosen, _ = environmental(labels, classes, [clips[i] for i in have])
    pools = {"everyday": np.arange(len(have)), "environmental": chosen}
    if arguments.held:
        heard = teachers_hear(arguments.held)
        taught = np.stack([heard[clips[have[i]]["file"]] for i in chosen], 1)
        names = [classes[labels[i]] for i in chosen]
        pools["borne out"] = chosen[borne_out(names, list(taught), load_labels(PHRASES))]

    def show(name: str, keys: tuple[str, ...], values: list[np.ndarray]) -> None:
        for key, first, second, apart, low, high in zip(keys, *values, strict=True):
            print(f"{name} {key}: {first:.3f} {second:.3f} {apart:+.3f} [{low:+.3f}, {high:+.3f}]")

    group_of = np.array([families[titles.index(title)] for title in distinct])
    asked = np.arange(len(distinct))
    show("titles", ("R@1", "R@10"), paired(lambda m, q: found[m][q].mean(0), asked, group_of))
    for name, rows in pools.items():
        values = paired(
            lambda m, some: everyday_of(by_class[m], labels, some), rows, families[have[rows]]
        )
        show(f"{name} ({len(rows)})", KEYS, values)


if __name__ == "__main__":
    main()
