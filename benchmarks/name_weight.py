"""How much a file's name says about its sound, by labels that do not come from names.

    python benchmarks/name_weight.py ../shared/corpus/index.csv --teacher runs/compact/corpus
        --classes ../shared/teacher/yamnet_class_map.csv [--work DIR]

The labels are YAMNet's: a clip is relevant to the class whose score reaches 0.3 anywhere in it
(the folder of scores is made by experiments/compact/prepare.py). The queries are the names of the
classes with three such clips, where some title holds all words of the query; the clips are the
test split of the compact model, their titles are the names of files. The 20 best by cosine plus
names of each query fit a logistic function of the shipped log odds by sound and of the share of
the query's words in the name. The compact model learned from YAMNet, which favours the sound: the
weight errs on the low side.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from relevance import logistic, stem

from wavtext.library.candidates import NAME_WEIGHT, content_words
from wavtext.library.exact import ExactIndex, clip_scores
from wavtext.library.library import SoundLibrary
from wavtext.library.relevance import FITTED, Relevance, background_captions

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "compact"))

LEAST = 0.3  # score from which a class counts as heard
TOO_GENERAL = {
    "Silence",
    "Sound effect",
    "Music",
    "Inside, small room",
    "Outside, rural or natural",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keep the library here")
    arguments = parser.parse_args()
    rows, heard = labelled(arguments.index, arguments.teacher)
    classes = [each["display_name"] for each in csv.DictReader(arguments.classes.open())]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(rows):
            link = folder / f"{number:06d}{Path(row['file']).suffix}"
            if not link.is_symlink():
                link.symlink_to(os.path.abspath(arguments.index.parent / row["file"]))
        with SoundLibrary.open(folder, model="compact") as library:
            print(library.index().summary())
            numbers = {clip.clip_id: int(clip.path.stem) for clip in library.clips()}
            matrix = library._reader.matrix()
            order = [numbers[clip_id] for clip_id in matrix.clip_ids.tolist()]
            rows, heard = [rows[i] for i in order], heard[order]
            asked = queries(classes, heard)
            embed = library.model.embed_text
            vectors, background = embed([each for each, _ in asked]), embed(background_captions())
    titles = [{stem(word) for word in content_words(row["title"])} for row in rows]
    found = [
        examples(matrix, background, titles, query, vector, heard[:, number] >= LEAST)
        for (query, number), vector in zip(asked, vectors, strict=True)
    ]
    found = [each for each in found if each is not None]
    print(f"commit {machine()['commit']}, {len(rows)} clips, {len(found)} queries")
    report(found)
    ranking(found)


def labelled(index: Path, teacher: Path) -> tuple[list[dict[str, str]], np.ndarray]:
    """Test clips, and the highest score of each class in each."""
    from split import split_of

    patches = {
        each["file"]: each["patches"] for each in json.loads((teacher / "clips.json").read_text())
    }
    scores = np.load(teacher / "scores.npy", mmap_mode="r")
    with index.open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"] in patches]
    rows = [row for row in rows if split_of(row) == "test"]
    heard = [
        scores[begin : begin + count].max(axis=0)
        for begin, count in (patches[row["file"]] for row in rows)
    ]
    return rows, np.array(heard, np.float32)


def queries(classes: list[str], heard: np.ndarray) -> list[tuple[str, int]]:
    """(query, number of the class) of classes that are heard often enough."""
    often = (heard >= LEAST).sum(axis=0) >= 3
    names = [name.split(",")[0].split("(")[0].strip() for name in classes]
    return [
        (names[number], number)
        for number in np.flatnonzero(often).tolist()
        if classes[number] not in TOO_GENERAL and content_words(names[number])
    ]


def examples(matrix, background, titles, query, vector, relevant):
    """(log odds by sound, share of words, rank by cosine and name, relevant) of all clips."""
    words = [stem(word) for word in content_words(query)]
    holders = np.array([[word in title for title in titles] for word in words])
    weights = np.log(1 + len(titles) / np.maximum(holders.sum(axis=1), 1))
    shares = weights @ holders / weights.sum()
    if not (shares > 0.99).any():
        return None
    scores = matrix.vectors @ vector
    best = clip_scores(scores, matrix.offsets)
    spans = zip(matrix.offsets[:-1], matrix.offsets[1:], strict=True)
    windows = matrix.vectors[[a + int(np.argmax(scores[a:b])) for a, b in spans]]
    typical = ExactIndex(matrix).typical()
    by = Relevance.of_query(vector, background, typical).standardised(best, windows)
    odds = FITTED.bias + by @ [FITTED.caption, FITTED.library]
    return odds, shares, best + NAME_WEIGHT * typical.cosine(vector)[1] * shares, relevant


def report(found: list) -> None:
    parts = []
    for odds, shares, rank, relevant in found:
        top = np.argsort(-rank)[:20]
        parts.append((np.stack([odds[top], shares[top]], axis=1), relevant[top].astype(float)))

    def weight(chosen) -> float:
        features = np.concatenate([parts[i][0] for i in chosen])
        fitted = logistic(features, np.concatenate([parts[i][1] for i in chosen]))
        return float(fitted[2] / fitted[1])

    generator = np.random.default_rng(0)
    drawn = [weight(generator.integers(0, len(parts), len(parts))) for _ in range(500)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    print(f"a whole name is worth {weight(range(len(parts))):.2f} [{low:.2f}, {high:.2f}] of the "
          f"shipped log odds (shipped: {FITTED.name})")  # fmt: skip
    features, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    for name, chosen in (("named", features[:, 1] > 0.99), ("not", features[:, 1] < 0.01)):
        print(f"  {name}: {labels[chosen].mean():.2f} of {chosen.sum()} are heard")


def ranking(found: list) -> None:
    """mAP@10 of orders, against cosine plus names alone."""

    def average(order, relevant) -> float:
        hits = relevant[order[:10]]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        return float((precision * hits).sum() / min(10, relevant.sum()))

    def by_odds(weight: float, odds, shares, rank):
        look = np.argsort(-rank)[:30]
        return look[np.argsort(-(odds + weight * shares)[look])]

    orders = {
        "cosine and names": lambda odds, shares, rank: np.argsort(-rank),
        "most probable of 30, as shipped": lambda *each: by_odds(FITTED.name, *each),
        "most probable of 30, names left out": lambda *each: by_odds(0.0, *each),
    }
    generator = np.random.default_rng(0)
    base = None
    for name, order in orders.items():
        values = np.array([average(order(*each[:3]), each[3]) for each in found])
        base = values if base is None else base
        drawn = generator.integers(0, len(values), (2000, len(values)))
        low, high = np.quantile((values - base)[drawn].mean(axis=1), [0.025, 0.975])
        print(f"  {name}: mAP@10 {values.mean():.3f}, {(values - base).mean():+.3f} "
              f"[{low:+.3f}, {high:+.3f}]")  # fmt: skip


if __name__ == "__main__":
    main()
