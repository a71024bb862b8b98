"""Measure the model folder in the package on held-out sounds, beside the teacher, and write its
card.

    python experiments/compact/report.py --packed runs/compact/packed --roots ../shared/corpus
    runs/extra \
        --ingredients runs/compact/ingredients --prepared runs/compact/corpus runs/compact/extra
        --out docs/compact.json

Everything goes through wavtext.load_model and sound files, as a user's sounds do.  Intervals are
95 % bootstraps over groups (families of recordings), since clips of one group are not independent.
Everyday classes are scored twice: all clips, of which most are short or are notes of instruments,
and what is nearest to collections of environmental sounds (`environmental`); of these once more those whose
titles a teacher bears out (`borne_out`), since many titles are wrong names for what is heard.  The
teachers have no such row: they chose its clips.
"""

import argparse
import json
import platform
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from everyday import (
    KEYS,
    asked_of,
    borne_out,
    environmental,
    everyday_values,
    labelled,
    standardised,
)
from licences import is_clear
from split import STATED, gathered_titles, locate, split_of, training_counts
from teachers import MOBILE_NET_LENGTH, MOBILE_NET_RATE, MobileNet
from text_bank import PHRASES, load_labels, load_minilm, load_phrases, plain_features

import wavtext
from wavtext.audio.decode import load_audio

ROUNDS = 1000


def title_values(score, distinct, titles):
    """Per query: rank of the best clip with the title; ties count against the model."""
    relevant = np.array(distinct)[:, None] == np.array(titles)[None]
    best = np.where(relevant, score, -9).max(1, keepdims=True)
    return 1 + ((score >= best) & ~relevant).sum(1)


def interval(values, clusters, statistic, rng):
    """(estimate, low, high): clusters drawn with replacement."""
    draws = [statistic(values[some]) for some in draws_of(clusters, rng, ROUNDS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return [round(float(x), 4) for x in (statistic(values), low, high)]


def draws_of(groups, rng, count):
    """Clips drawn by whole groups, with replacement: (clips drawn,) each."""
    names, index = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(len(names))]
    for _ in range(count):
        yield np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])


def everyday(score, labels, groups, rng):
    """`everyday_values` with intervals, from 200 draws of groups."""
    z = standardised(score)
    whole = everyday_values(score, z, labels)
    draws = [
        everyday_values(score[:, some], z[:, some], labels[some])
        for some in draws_of(groups, rng, 200)
    ]
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return {
        k: [round(float(x), 4) for x in row]
        for k, row in zip(KEYS, zip(whole, low, high, strict=True), strict=True)
    }


def suffixed(suffix, by_class, labels, groups, some, rng):
    """`everyday` of some of the clips, asked for the classes that these name."""
    found = everyday(*asked_of(by_class, labels, some), groups[some], rng)
    return {f"{key}{suffix}": value for key, value in found.items()}


def weakest(score, labels, classes, count=8):
    """The classes whose first ten clips are most often others, and what those others are.

    Args:
        score: (classes, clips).
        labels: (clips,), the class of each.
        classes: Their names.
        count: How many classes, of those with at least ten clips.
    """
    rows = []
    for c, name in enumerate(classes):
        if (labels == c).sum() < 10:
            continue
        first = labels[np.argsort(-score[c], kind="stable")[:10]]
        others = Counter(classes[k] for k in first if k != c)
        rows.append({"class": name, "right": int((first == c).sum()), "others": others})
    rows.sort(key=lambda row: row["right"])
    return [row | {"others": dict(row["others"].most_common(3))} for row in rows[:count]]


def bridge(scores, query_features, phrase_features):
    """The teacher's label scores, asked by the softmax of text similarities to the labels (tau =
    0.05).
    """
    similarity = F.normalize(query_features, dim=-1) @ F.normalize(phrase_features, dim=-1).T
    return (torch.softmax(similarity / 0.05, 1) @ scores.T).numpy()


def embedded(model: wavtext.Model, paths: list[Path], pool: ThreadPoolExecutor) -> np.ndarray:
    """(files, dim): each file by itself, as a user's."""
    return np.concatenate(list(pool.map(lambda path: model.embed_audio([path]), paths)))


def tags_of(teacher: MobileNet, path: Path) -> np.ndarray:
    """(521,) float32: the mean over stretches of 10 s of a sound's first 20 s."""
    sound = load_audio(path, MOBILE_NET_RATE, duration=20.0).samples
    starts = range(0, max(1, len(sound) - MOBILE_NET_LENGTH // 2), MOBILE_NET_LENGTH)
    parts = [sound[start : start + MOBILE_NET_LENGTH] for start in starts]
    heard = [teacher.hear(part, MOBILE_NET_RATE)[0] for part in parts]
    return np.mean(heard, axis=0).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--prepared", type=Path, nargs="+", required=True)
    parser.add_argument("--ingredients", type=Path, required=True)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--mobile-net", type=Path, help="the second teacher: teachers.py")
    parser.add_argument(
        "--earlier",
        type=Path,
        help="the report of a model that this one goes on from with fewer clips: all count",
    )
    parser.add_argument("--before", type=Path, help="an earlier model folder, to compare with")
    parser.add_argument("--splits", nargs="+", default=["validation", "test"])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = wavtext.load_model(arguments.model)
    models = {"student": model}
    if arguments.before:
        models["before"] = wavtext.load_model(arguments.before)
    clips = json.loads((arguments.packed / "clips.json").read_text())
    clips = [
        clip for clip in clips if clip["split"] == split_of(clip)
    ]  # none that was screened out since
    tokenizer, bert = load_minilm(arguments.ingredients)
    labels = plain_features(bert, tokenizer, [some[0] for some in load_phrases(PHRASES)])
    teacher = {}
    for folder in arguments.prepared:
        found = np.load(folder / "scores.npy", mmap_mode="r")
        for clip in json.loads((folder / "clips.json").read_text()):
            begin, count = clip["patches"]
            teacher[clip["file"]] = found[begin : begin + count].astype(np.float32).mean(0)

    second = MobileNet(arguments.mobile_net) if arguments.mobile_net else None

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    report = {
        "commit": commit,
        "model": model.identity,
        "machine": platform.processor() or platform.machine(),
        "before": models["before"].identity if arguments.before else None,
        "rounds": ROUNDS,
    }
    known = {clip["title"].lower().strip() for clip in clips if clip["split"] == "train"}
    known |= gathered_titles()  # of an earlier model's training too, where they are not here
    for split in arguments.splits:
        rng = np.random.default_rng(0)
        held = [clip for clip in clips if clip["split"] == split]
        paths = [locate(clip["file"], arguments.roots) for clip in held]
        begin = time.time()
        with ThreadPoolExecutor(2) as pool:
            heard = {name: embedded(each, paths, pool) for name, each in models.items()}
        print(split, len(held), f"{time.time() - begin:.0f} s", flush=True)
        titles = [clip["title"].lower().strip() for clip in held]
        groups = np.array([clip["group"] for clip in held])
        distinct = sorted(set(titles))
        asked = plain_features(bert, tokenizer, distinct)
        said = torch.from_numpy(np.stack([teacher[clip["file"]] for clip in held]))
        have, classes, right = labelled(held)
        chosen, asked_for = environmental(right, classes, [held[j] for j in have])
        group_of = np.array([groups[titles.index(title)] for title in distinct])
        new = np.array([title not in known for title in distinct])
        clear = np.array([is_clear(clip["license"]) for clip in held])
        corpus = np.array([(arguments.roots[0] / clip["file"]).is_file() for clip in held])
        pools = {
            "clear licence": clear,
            "corpus": corpus,
            "corpus, licence clear as listed": corpus
            & np.array([is_clear(clip["license"]) and clip["file"] not in STATED for clip in held]),
        }
        rows = {
            name: (
                each.embed_text(distinct) @ heard[name].T,
                each.embed_text(classes) @ heard[name][have].T,
            )
            for name, each in models.items()
        }
        teachers = {"teacher bridge": said}
        if second:
            tags = torch.from_numpy(np.stack([tags_of(second, path) for path in paths]))
            teachers["teachers bridge"] = (said * tags**2) ** (1 / 3)
        taught = [each[have[chosen]].numpy() for each in ([said, tags] if second else [said])]
        borne = borne_out([classes[i] for i in right[chosen]], taught, load_labels(PHRASES))
        asked_classes = plain_features(bert, tokenizer, classes)
        for name, scores in teachers.items():
            rows[name] = (
                bridge(scores, asked, labels),
                bridge(scores[have], asked_classes, labels),
            )
        report[split] = {
            "clips": len(held),
            "titles": len(distinct),
            "new titles": int(new.sum()),
            "classes": len(classes),
            "class clips": len(have),
            "environmental": [len(chosen), len(asked_for)],
            "borne out": [int(borne.sum()), len(set(right[chosen][borne]))],
            "pools": {
                name: [int(some.sum()), len({titles[i] for i in np.flatnonzero(some)})]
                for name, some in pools.items()
            },
        }
        report[split]["weakest"] = weakest(rows["student"][1], right, classes)
        for name, (by_title, by_class) in rows.items():
            rank = title_values(by_title, distinct, titles)
            values = {
                f"R@{k}": interval((rank <= k).astype(float), group_of, np.mean, rng)
                for k in (1, 5, 10, 50)
            }
            values["R@10, titles no training clip bears"] = interval(
                (rank[new] <= 10).astype(float), group_of[new], np.mean, rng
            )
            for pool, some in pools.items():
                there = [titles[i] for i in np.flatnonzero(some)]
                wanted = sorted(set(there))
                places = np.searchsorted(distinct, wanted)
                alone = title_values(by_title[places][:, some], wanted, there)
                values[f"R@10, {pool}"] = interval(
                    (alone <= 10).astype(float), group_of[places], np.mean, rng
                )
            values["mAP@10"] = interval(np.where(rank <= 10, 1 / rank, 0), group_of, np.mean, rng)
            values |= everyday(by_class, right, groups[have], rng)
            values |= suffixed(", environmental", by_class, right, groups[have], chosen, rng)
            if name in models:
                some = chosen[borne]
                values |= suffixed(", borne out", by_class, right, groups[have], some, rng)
            report[split][name] = values
            print(split, name, json.dumps(report[split][name]), flush=True)
    report["train"] = training_counts(clips, arguments.earlier)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
