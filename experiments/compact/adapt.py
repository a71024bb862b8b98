"""What `wavtext adapt` does to a library: held-out names, general queries, relevance, time.

    python experiments/compact/adapt.py --index ../shared/corpus/index.csv --out /tmp/adapt

Links 3,000 sounds that the compact model was not trained on (experiments/compact/split.py:
validation and test) under names made of their titles in one folder a source, and again under the
paths that they have in their packages; indexes both; and prints for each

* what `wavtext adapt --dry-run` measures on held-out names (nested, families apart), and the time;
* the same after the names were shuffled over the sounds, which must be refused;
* general queries: the class names of experiments/compact/everyday.py.  A correction learned from
  the names that name no such class is put before them; and one learned from one half of the
  families, measured on the sounds of the other half;
* relevance: of the first ten clips for names of the other half, the mean probability against the
  share that is right, and the expected calibration error, with the general captions left as they
  were and corrected as queries are.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from everyday import everyday_class
from split import split_of

import wavtext
from wavtext.library.adapt import learn as learning
from wavtext.library.adapt.learn import AdaptReport, learn
from wavtext.library.adapt.residual import Adaptation
from wavtext.library.adapt.vocabulary import read_vocabulary
from wavtext.library.notes import Notes
from wavtext.library.relevance import Relevance, background_captions

COUNT, LEAST = 3000, 8  # sounds; sounds of a source
ROUNDS = 1000


def link(index: Path, folder: Path, how: str) -> dict[str, str]:
    """Link held-out sounds under their titles, or under their own paths; path -> title."""
    rows = [row for row in csv.DictReader(index.open()) if split_of(row) in ("validation", "test")]
    sizes = Counter(row["source"] for row in rows)
    rows = [row for row in rows if sizes[row["source"]] >= LEAST]
    random.Random(0).shuffle(rows)
    used: Counter[str] = Counter()
    titles: dict[str, str] = {}
    for row in sorted(rows[:COUNT], key=lambda row: row["file"]):
        if how == "titles":
            source = re.sub(r"[^\w.-]+", "-", row["source"].split("/")[-1])
            name = source + "/" + re.sub(r"[^\w]+", "_", row["title"]).strip("_")
        else:
            name = re.sub(r"[^\w./ -]+", "-", str(Path(row["original"]).with_suffix("")))
        used[name.lower()] += 1
        if how == "titles" or used[name.lower()] > 1:
            name += f"_{used[name.lower()]:02d}"
        path = folder / (name + Path(row["file"]).suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            try:
                os.link(index.parent / row["file"], path)
            except OSError:
                path.symlink_to((index.parent / row["file"]).resolve())
        titles[path.relative_to(folder).as_posix()] = row["title"]
    for path in folder.rglob("*"):  # links of an earlier run
        if path.suffix in (".ogg", ".opus") and path.relative_to(folder).as_posix() not in titles:
            path.unlink()
    return titles


def no_notes(_: int) -> Notes:
    return Notes()


def forced(paths: Sequence[str], clips: np.ndarray, model: wavtext.Model) -> Adaptation | None:
    """A correction whether or not it is better: what a gate cannot judge is judged here."""
    gate, learning._why_not = learning._why_not, lambda *_: ""  # pyright: ignore
    try:
        return learn(paths, no_notes, clips, model)[0]
    finally:
        learning._why_not = gate  # pyright: ignore


def ranking(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes, 2): precision@10 and average precision of each class that has clips."""
    rows: list[tuple[float, float]] = []
    for c in range(len(scores)):
        hit = (labels == c)[np.argsort(-scores[c], kind="stable")]
        count = int(hit.sum())
        if count:
            average = (hit * np.cumsum(hit) / np.arange(1, len(hit) + 1)).sum() / count
            rows.append((float(hit[:10].sum()) / min(count, 10), float(average)))
    return np.array(rows)


def paired(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Means, and the 95 % interval of the difference over classes."""
    rng, out = np.random.default_rng(0), dict[str, Any](classes=len(before))
    for i, name in enumerate(("precision@10", "mAP")):
        difference = after[:, i] - before[:, i]
        draws = difference[rng.integers(0, len(before), (ROUNDS, len(before)))].mean(axis=1)
        low, high = np.percentile(draws, [2.5, 97.5])
        out[name] = [
            round(float(x), 4) for x in (before[:, i].mean(), after[:, i].mean(), low, high)
        ]
    return out


def general(
    adaptation: Adaptation | None, clips: np.ndarray, titles: Sequence[str], model: wavtext.Model
) -> dict[str, Any]:
    """Class names before and after a correction, among these clips."""
    names = [everyday_class(title) for title in titles]
    classes = sorted({name for name in names if name})
    labels = np.array([classes.index(name) if name else -1 for name in names])
    before = model.embed_text(classes)
    after = before if adaptation is None else adaptation(classes, before)
    found = [ranking(texts @ clips.T, labels) for texts in (before, after)]
    return paired(*found)


def calibration(
    adaptation: Adaptation,
    names: Sequence[str],
    wanted: np.ndarray,
    clips: np.ndarray,
    model: wavtext.Model,
) -> dict[str, Any]:
    """Probabilities of the first ten clips for each name, against whether they are right.

    `wanted` holds the number of each clip's name, as in `names`.
    """
    captions = list(background_captions())
    plain, texts = model.embed_text(captions), model.embed_text(names)
    moved = adaptation(names, texts)
    cases = {
        "before": (texts, plain),
        "adapted, captions as they were": (moved, plain),
        "adapted, captions too": (moved, adaptation(captions, plain)),
    }
    out: dict[str, Any] = {}
    for label, (queries, background) in cases.items():
        said, right = [], []
        for i, query in enumerate(queries):
            scores = clips @ query
            relevance = Relevance.of_query(query, background, clips)
            best = np.argsort(-scores, kind="stable")[:10]
            said += relevance(scores[best], clips[best], np.zeros(len(best), np.float32)).tolist()
            right += (wanted[best] == i).astype(float).tolist()
        p, y = np.array(said), np.array(right)
        place = np.minimum((p * 10).astype(int), 9)
        error = sum(
            abs(p[place == b].mean() - y[place == b].mean()) * (place == b).mean()
            for b in range(10)
            if (place == b).any()
        )
        out[label] = {
            "mean probability": round(float(p.mean()), 4),
            "share right": round(float(y.mean()), 4),
            "calibration error": round(float(error), 4),
            "Brier": round(float(np.mean((p - y) ** 2)), 4),
        }
    return out


def described(report: AdaptReport) -> dict[str, Any]:
    """The figures of a report."""

    def row(each: Any) -> list[float]:
        return [round(x, 4) for x in (each.before, each.after, each.low, each.high)]

    return {
        "names": report.names,
        "families": report.families,
        "dropped": report.dropped,
        "R@10": row(report.recall),
        "mAP@10": row(report.precision),
        "captions": [round(x, 3) for x in (*report.caption_cosine, report.caption_variety)],
        "kept": report.better,
        "reason": report.reason,
        "seconds": round(report.elapsed, 1),
        "multiplications": report.operations,
    }


def measure(folder: Path, titles: dict[str, str]) -> dict[str, Any]:
    """Everything about one library."""
    with wavtext.SoundLibrary.open(folder, model="compact") as library:
        library.index()
        begin = time.perf_counter()
        report = library.adapt(dry_run=True)
        took = time.perf_counter() - begin
        model: Any = library.model
        ids, clips = library.embeddings()
        by_id = {clip.clip_id: clip for clip in library.clips()}
    paths = [by_id[i].path.relative_to(folder).as_posix() for i in ids.tolist()]
    said = [titles[path] for path in paths]
    out: dict[str, Any] = {"held-out names": described(report), "command, s": round(took, 1)}
    print(json.dumps(out), flush=True)
    rng = np.random.default_rng(0)
    shuffled = [paths[i] for i in rng.permutation(len(paths))]
    out["shuffled names"] = described(learn(shuffled, no_notes, clips, model)[1])
    other = np.array([everyday_class(title) is None for title in said])
    private = forced([p for p, keep in zip(paths, other, strict=True) if keep], clips[other], model)
    out["general queries, learned from other names"] = general(private, clips, said, model)
    vocabulary = read_vocabulary(paths, no_notes, clips)
    family = np.where(vocabulary.text_of_clip >= 0, vocabulary.family[vocabulary.text_of_clip], -1)
    half = np.isin(family, rng.permutation(np.unique(vocabulary.family))[::2])
    learned = forced([p for p, keep in zip(paths, half, strict=True) if keep], clips[half], model)
    rest = [title for title, keep in zip(said, half, strict=True) if not keep]
    print(json.dumps(out), flush=True)
    out["general queries, other half"] = general(learned, clips[~half], rest, model)
    if learned is not None:
        called = vocabulary.text_of_clip[~half]
        numbers = np.unique(called[called >= 0])
        names = [vocabulary.texts[i] for i in numbers]
        wanted = np.searchsorted(numbers, called)
        wanted[called < 0] = -1
        out["relevance"] = calibration(learned, names, wanted, clips[~half], model)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="Folder for the two libraries.")
    parser.add_argument("--how", nargs="+", default=["titles", "paths"])
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    report: dict[str, Any] = {"commit": commit, "model": wavtext.load_model().identity}
    for how in arguments.how:
        folder = arguments.out.resolve() / how
        report[how] = measure(folder, link(arguments.index, folder, how))
        print(json.dumps({how: report[how]}, indent=1), flush=True)
    (arguments.out / "adapt.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
