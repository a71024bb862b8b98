"""Does the compact model hear attributes, or only nouns?  200 committed queries, rendered.

    python experiments/compact/attributes.py --roots ../shared/corpus \
        --out docs/compact-attributes.json --page docs/compact-attributes.md

For each query of attribute_queries.tsv, attribute_tests.tsv names the sounds (held-out clips whose
titles say the noun: attribute_nouns.tsv) and how known signal processing makes the attribute: far
(low-pass, reverberation, quieter), a closed door (low-pass), a hall, slow and fast repetitions,
one and many, pitch, glides, passing by, mixtures, sequences; for a few, other titles say it.  The
pool of a query: its clips rendered as asked (relevant), the same clips rendered otherwise, and 30
clips of other nouns rendered both ways.  Three askers rank it:

    model, whole query      the model's text embedding of the query
    model, noun only        the same of the noun's labels
    label lookup, bridge    YAMNet's scores of the pool, asked by the softmax (tau = 0.05) of the
                            query's MiniLM similarity to the 521 labels
    label lookup, labels    YAMNet's scores of the labels that the query was committed with

No clip of the pool trained the model (split.py: validation, test, demo).  Intervals: 95 % bootstrap
over queries, differences paired.  YAMNet's scores of the renderings are kept in --teacher-cache.
"""

import argparse
import csv
import hashlib
import itertools
import json
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import soxr
from attributes_page import page
from split import locate, split_of
from teachers import YAMNET_RATE, Yamnet, hear_in_patches

import wavtext
from wavtext.audio.decode import load_audio
from wavtext.audio.waveform import Waveform

HERE = Path(__file__).parent
RATE = 22_050  # Hz
DURATION = 4.0  # s of a rendering
BASES, DISTRACTORS, ROUNDS = 6, 30, 2000
CONTRARY = {
    "far": "near", "near": "far", "muffled": "plain", "hall": "plain", "room": "plain",
    "slow": "fast", "fast": "slow", "one": "many", "many": "one", "two": "one", "twice": "one",
    "repeat": "one", "high": "low", "low": "high", "rising": "falling", "falling": "rising",
    "coming": "leaving", "leaving": "coming", "passing": "plain", "steady": "broken",
    "broken": "steady", "short": "long", "long": "short", "distorted": "plain",
}  # fmt: skip


# Signal processing: (samples,) float32 at RATE -> the same


def loudness(samples, target=0.06):
    """At a fixed RMS over what is not silent, peaks below 1."""
    level = np.abs(samples)
    active = samples[level > 0.05 * max(level.max(), 1e-9)]
    samples = samples * (target / max(float(np.sqrt(np.mean(active**2))), 1e-6))
    return (samples / max(1.0, np.abs(samples).max() / 0.98)).astype(np.float32)


def fitted(samples):
    """DURATION long: cut with a short fade, or silence after it."""
    n = int(DURATION * RATE)
    if len(samples) > n:
        samples = samples[:n].copy()
        samples[-2205:] *= np.linspace(1, 0, 2205)
    return np.pad(samples, (0, n - len(samples))).astype(np.float32)


def looped(samples):
    return np.resize(samples, int(DURATION * RATE)).astype(np.float32)


def low_pass(samples, cutoff, order=4):
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt(1 + (frequency / cutoff) ** (2 * order)), len(samples))


def reverb(samples, seconds, wet, rng):
    """Convolved with noise that decays by 60 dB in `seconds`; `wet` is the echo's share."""
    n = int(seconds * RATE)
    echo = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    echo = low_pass(echo, 5000, 1)
    size = len(samples) + n
    wide = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    wide *= np.sqrt(np.mean(samples**2) / max(np.mean(wide[: len(samples)] ** 2), 1e-12))
    return (1 - wet) * np.pad(samples, (0, n)) + wet * wide


def pitched(samples, semitones):
    """Faster and higher, or slower and lower, as a tape is."""
    factor = 2 ** (semitones / 12)
    return soxr.resample(samples, RATE * factor, RATE).astype(np.float32)


def glide(samples, semitones):
    """The speed changes steadily from the plain one to `semitones` above it."""
    speed = 2 ** (np.linspace(0, semitones, len(samples)) / 12)
    return np.interp(np.cumsum(speed) - speed[0], np.arange(2 * len(samples)), np.tile(samples, 2))


def event(samples, longest):
    """The loudest onset, until it has died away or `longest` seconds are over."""
    hop = RATE // 100
    frames = np.sqrt(np.mean(samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2, axis=1))
    if not len(frames):
        return samples
    peak = int(np.argmax(frames))
    before = np.flatnonzero(frames[: peak + 1] < 0.1 * frames[peak])
    begin = int(before[-1]) if len(before) else max(0, peak - 5)
    after = np.flatnonzero(frames[peak:] < 0.05 * frames[peak])
    end = peak + int(after[0]) if len(after) else len(frames)
    cut = samples[begin * hop : min(end * hop + hop, begin * hop + int(longest * RATE))].copy()
    fade = min(len(cut), RATE // 50)
    cut[-fade:] *= np.linspace(1, 0, fade)
    return cut


def placed(parts, starts):
    out = np.zeros(int(DURATION * RATE) + RATE, np.float32)
    for part, start in zip(parts, starts, strict=True):
        begin = int(start * RATE)
        part = part[: max(0, len(out) - begin)]
        out[begin : begin + len(part)] += part
    return out[: int(DURATION * RATE)]


def render(word, samples, others, rng):
    """One rendering of a clip; `others` are clips of the same noun."""
    if word in ("near", "plain"):
        return fitted(samples)
    if word == "far":
        return 0.25 * reverb(low_pass(fitted(samples), 2500, 1), 1.8, 0.75, rng)
    if word == "muffled":
        return low_pass(fitted(samples), 600)
    if word in ("hall", "room"):
        return reverb(fitted(samples), *((2.5, 0.6) if word == "hall" else (0.5, 0.5)), rng)
    if word in ("slow", "fast", "repeat"):
        gap, longest = {"slow": (0.95, 0.8), "fast": (0.2, 0.2), "repeat": (0.55, 0.5)}[word]
        starts = np.arange(0.05, DURATION - longest, gap)
        starts = starts + rng.uniform(0, 0.1 * gap, len(starts))
        hit = event(samples, longest)
        return placed([hit * rng.uniform(0.7, 1) for _ in starts], starts)
    if word == "one":
        return fitted(event(samples, 1.5))
    if word == "many":
        takes = [
            pitched(each, rng.uniform(-1, 1)) for each in [samples, *others][:8] for _ in (0, 1)
        ]
        return placed([rng.uniform(0.4, 1) * each for each in takes],
                      rng.uniform(0, DURATION - 1, len(takes)))  # fmt: skip
    if word in ("two", "twice"):
        other = others[0] if word == "two" and others else samples
        return placed([event(samples, 1.2), event(other, 1.2)], [0.1, 1.8])
    if word in ("high", "low"):
        return pitched(fitted(samples), 7 if word == "high" else -7)
    if word in ("rising", "falling"):
        return glide(looped(samples), 12 if word == "rising" else -12)
    if word in ("coming", "leaving", "passing"):
        whole = looped(samples)
        near = np.linspace(0, 1, len(whole))
        near = {"coming": near, "leaving": 1 - near, "passing": 1 - np.abs(2 * near - 1)}[word]
        gain = 10 ** (-1.5 * (1 - near))
        return gain * (near * whole + (1 - near) * low_pass(whole, 1500, 1))
    if word in ("steady", "long"):
        return looped(samples)
    if word == "broken":
        return looped(samples) * ((np.arange(int(DURATION * RATE)) % RATE) < 0.4 * RATE)
    if word == "short":
        return fitted(event(samples, 0.3))
    if word == "distorted":
        return np.clip(12 * fitted(samples), -0.4, 0.4)
    raise ValueError(word)


def chained(words, samples, others, rng):
    """Several renderings, what repeats and pitches before what the room does."""
    last = ("far", "muffled", "hall", "room", "near", "plain")
    for word in sorted(words or ["plain"], key=lambda word: word in last):
        samples = loudness(np.asarray(render(word, samples, others, rng), np.float32))
    quiet = "far" in words
    return fitted(samples) * (0.25 if quiet else 1.0)


# The tests


def held_out(indexes):
    rows = [row for index in indexes for row in csv.DictReader(index.open())]
    return [row for row in rows if split_of(row) in ("validation", "test", "demo")]


def table(name):
    return list(csv.DictReader((HERE / name).open(), delimiter="\t", quoting=csv.QUOTE_NONE))


class Sounds:
    """Held-out clips by noun, and their renderings, each made once."""

    def __init__(self, rows, roots):
        self.roots, self.nouns = roots, {}
        for noun in table("attribute_nouns.tsv"):
            yes = re.compile(rf"\b({noun['titles']})\b")
            no = re.compile(rf"\b({noun['not']})\b") if noun["not"] else None
            self.nouns[noun["noun"]] = [
                row
                for row in rows
                if yes.search(row["title"].lower()) and not (no and no.search(row["title"].lower()))
            ]
        self.loaded, self.made = {}, {}

    def some(self, rows, count=BASES):
        """At most `count` clips, of different families as far as they go, in a fixed order."""
        rows = sorted(rows, key=lambda row: hashlib.sha1(row["file"].encode()).digest())
        seen, first, rest = set(), [], []
        for row in rows:
            (rest if row["group"] in seen else first).append(row)
            seen.add(row["group"])
        return (first + rest)[:count]

    def samples(self, row):
        if row["file"] not in self.loaded:
            found = load_audio(locate(row["file"], self.roots), RATE, duration=12.0).samples
            loud = np.flatnonzero(np.abs(found) > 0.02 * np.abs(found).max())
            begin = int(loud[0]) if len(loud) else 0  # leave a lead-in of silence out
            self.loaded[row["file"]] = loudness(found[begin : begin + int(8 * RATE)])
        return self.loaded[row["file"]]

    def get(self, words, parts, join=""):
        """The key of a rendering of one clip, of a mixture ('+') or of a sequence ('>')."""
        key = f"{' '.join(words)}|{join}|" + ",".join(row["file"] for row, _ in parts)
        if key not in self.made:
            rng = np.random.default_rng(int(hashlib.sha1(key.encode()).hexdigest()[:8], 16))
            voices = []
            for row, noun in parts:
                others = [] if noun is None else self.some(
                    [each for each in self.nouns[noun] if each["file"] != row["file"]], 7)  # fmt: skip
                others = [self.samples(each) for each in others]
                voices.append(chained(words, self.samples(row), others, rng))
            if join == ">":
                cuts = [voice[: int(DURATION / 2 * RATE)] for voice in voices]
                voices = [np.concatenate(cuts)]
            elif join == "+":
                voices = [np.sum([loudness(looped(event_or_all(v))) for v in voices], axis=0)]
            self.made[key] = fitted(loudness(voices[0]) * (0.25 if "far" in words else 1.0))
        return key


def event_or_all(samples):
    """Without the silence that follows a short sound, so that both voices of a mixture are heard."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[: max(int(loud[-1]) + RATE // 4, RATE // 2)] if len(loud) else samples


def pool_of(test, sounds, distractors):
    """(relevant, of the same noun but not as asked, pairs of both, others): keys of renderings."""
    join = "+" if "+" in test["sounds"] else ">" if ">" in test["sounds"] else ""
    nouns = re.split(r"[+>]", test["sounds"])
    words = test["rendering"].split()
    real = next((w.removeprefix("real=") for w in words if w.startswith("real=")), None)
    words = [w for w in words if not w.startswith("real=")]
    flips = [[CONTRARY[w] if j == i else w for j, w in enumerate(words)] for i in range(len(words))]
    if len(words) > 1:
        flips.append([CONTRARY[w] for w in words])
    own = {row["file"] for noun in nouns for row in sounds.nouns[noun]}
    rows = [sounds.some(sounds.nouns[noun]) for noun in nouns]
    same, pairs = [], []
    if real is not None:
        says = re.compile(real)
        everything = sounds.nouns[nouns[0]]
        good = sounds.some([row for row in everything if says.search(row["title"].lower())])
        bad = sounds.some([row for row in everything if not says.search(row["title"].lower())])
        right = [sounds.get(words, [(row, nouns[0])]) for row in good]
        same = [sounds.get(words, [(row, nouns[0])]) for row in bad]
        same += [sounds.get(flip, [(row, nouns[0])]) for flip in flips for row in good]
        pairs = [(r, s) for r in right for s in same[: len(bad)]]
    elif join:
        count = min(BASES, max(len(each) for each in rows))
        parts = [
            [(each[i % len(each)], noun) for each, noun in zip(rows, nouns, strict=True)]
            for i in range(count)
        ]
        right = [sounds.get(words, part, join) for part in parts]
        for key, part in zip(right, parts, strict=True):
            wrong = [sounds.get(words, [one]) for one in part]
            if join == ">":
                wrong.append(sounds.get(words, part[::-1], join))
            wrong += [sounds.get(flip, part, join) for flip in flips]
            same += wrong
            pairs += [(key, each) for each in wrong]
        same = list(dict.fromkeys(same))
    else:
        right = [sounds.get(words, [(row, nouns[0])]) for row in rows[0]]
        for key, row in zip(right, rows[0], strict=True):
            wrong = [sounds.get(flip, [(row, nouns[0])]) for flip in flips]
            same += wrong
            pairs += [(key, each) for each in wrong]
    far_off = [each for each in distractors if each[0]["file"] not in own]
    others = [sounds.get(words, [each]) for each in far_off]
    if join:
        others += [sounds.get([], [a, b], join) for a, b in itertools.pairwise(far_off)]
    else:
        others += [sounds.get(flips[-1] if flips else [], [each]) for each in far_off]
    return right, same, pairs, list(dict.fromkeys(others))


def average_precision(scores, relevant):
    """(AP, 1 when the first is relevant, share of relevant among the first as many as there are)."""
    order = np.lexsort((relevant, -scores))  # of equal scores the irrelevant first
    hits = relevant[order]
    count = int(hits.sum())
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return [
        float((precision * hits).sum() / count),
        float((precision * hits)[:10].sum() / min(count, 10)),
        float(hits[:10].sum() / min(count, 10)),
        float(hits[0]),
    ]


# Askers


def teacher_scores(keys, made, teacher, cache):
    """{key: (521,)}: YAMNet's mean scores, from the cache where they are there."""
    known = {}
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            known = dict(zip(kept["keys"].tolist(), kept["scores"], strict=True))
    missing = [key for key in keys if digest(key) not in known]
    if missing:
        yamnet = Yamnet(str(teacher))
        for n, key in enumerate(missing):
            samples = soxr.resample(made[key], RATE, YAMNET_RATE).astype(np.float32)
            scores, _ = hear_in_patches(yamnet, samples)
            known[digest(key)] = scores.mean(axis=0).astype(np.float16)
            if n % 500 == 499:
                print(f"teacher: {n + 1} of {len(missing)}", flush=True)
        if cache is not None:
            np.savez(cache, keys=np.array(list(known)), scores=np.array(list(known.values())))
    return {key: known[digest(key)].astype(np.float32) for key in keys}


def digest(key):
    return hashlib.sha1(key.encode()).hexdigest()


def labels_in(text, names):
    """The labels of a list in which labels hold commas themselves."""
    parts, found = text.split(", "), []
    while parts:
        size = next(n for n in range(len(parts), 0, -1) if n == 1 or ", ".join(parts[:n]) in names)
        found.append(", ".join(parts[:size]))
        parts = parts[size:]
    return [each for each in found if each in names]


def interval(values, rng):
    """[estimate, low, high] of a mean over queries."""
    values = np.asarray(values)
    draws = values[rng.integers(0, len(values), (ROUNDS, len(values)))].mean(axis=1)
    return [round(float(each), 4) for each in (values.mean(), *np.percentile(draws, [2.5, 97.5]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--index", type=Path, nargs="+", help="index.csv of each root")
    parser.add_argument("--ingredients", type=Path, default=Path("runs/compact/ingredients"))
    parser.add_argument("--teacher", type=Path, default=Path("../shared/teacher/yamnet.tflite"))
    parser.add_argument("--teacher-cache", type=Path)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Write docs/compact-attributes.md here.")
    arguments = parser.parse_args()
    import torch
    import torch.nn.functional as F
    from text_bank import PHRASES, load_minilm, load_phrases, plain_features

    indexes = arguments.index or [root / "index.csv" for root in arguments.roots]
    sounds = Sounds(held_out([index for index in indexes if index.exists()]), arguments.roots)
    tests = table("attribute_tests.tsv")
    committed = {
        line.split("\t")[0]: line.rstrip("\n").split("\t")[1]
        for line in (HERE / "attribute_queries.tsv").read_text().splitlines()
    }
    assert [test["query"] for test in tests] == list(committed), "the tests are not the queries"
    order = sorted(sounds.nouns, key=lambda noun: hashlib.sha1(noun.encode()).digest())
    distractors = [(sounds.some(sounds.nouns[n], 1)[0], n) for n in order if sounds.nouns[n]]
    distractors = distractors[:DISTRACTORS]
    scored, skipped = [], {}
    for test in tests:
        if not test["sounds"]:
            skipped[test["query"]] = test["not scored"]
            continue
        nouns = re.split(r"[+>]", test["sounds"])
        if min(len(sounds.nouns[noun]) for noun in nouns) < 2:
            skipped[test["query"]] = "fewer than two held-out sounds of the noun"
            continue
        right, same, pairs, others = pool_of(test, sounds, distractors)
        if len(right) < 2 or not same:
            skipped[test["query"]] = "fewer than two held-out sounds of the noun"
            continue
        scored.append((test, right, same, pairs, others))
    keys = list(sounds.made)
    print(len(scored), "queries scored of", len(tests), "-", len(keys), "renderings", flush=True)
    said = teacher_scores(keys, sounds.made, arguments.teacher, arguments.teacher_cache)
    model = wavtext.load_model(arguments.model)
    heard = {key: model.embed_audio([Waveform(sounds.made[key], RATE)])[0] for key in keys}
    tokenizer, bert = load_minilm(arguments.ingredients)
    phrases = PHRASES
    wide = [some[0] for some in load_phrases(phrases)]  # as report.py asks the bridge
    wide = F.normalize(plain_features(bert, tokenizer, wide), dim=-1)
    names = [line.split("\t")[1] for line in phrases.read_text().splitlines()]
    askers = [
        "model, whole query",
        "model, noun only",
        "label lookup, bridge",
        "label lookup, labels",
    ]
    measured = {asker: [] for asker in askers}
    kinds = []
    for test, right, same, pairs, others in scored:
        pool = [*right, *same, *others]
        relevant = np.arange(len(pool)) < len(right)
        place = {key: i for i, key in enumerate(pool)}
        labels = labels_in(committed[test["query"]], names)
        assert labels, test["query"]
        audio = np.stack([heard[key] for key in pool])
        teacher = np.stack([said[key] for key in pool])
        asked = F.normalize(plain_features(bert, tokenizer, [test["query"]]), dim=-1)
        bridge = torch.softmax(asked @ wide.T / 0.05, 1)[0].numpy()
        chosen = np.isin(names, labels).astype(np.float32)
        whole, noun = model.embed_text([test["query"], ", ".join(labels).lower()])
        found = dict(
            zip(
                askers,
                (audio @ whole, audio @ noun, teacher @ bridge, teacher @ chosen),
                strict=True,
            )
        )
        for asker, scores in found.items():
            a = np.array([scores[place[x]] for x, _ in pairs])
            b = np.array([scores[place[y]] for _, y in pairs])
            pair = float(np.mean((a > b) + 0.5 * (a == b)))
            noun_right = np.arange(len(pool)) < len(right) + len(same)
            measured[asker].append(
                [
                    *average_precision(scores, relevant),
                    pair,
                    average_precision(scores, noun_right)[0],
                ]
            )
        mixed = "+" in test["sounds"] or ">" in test["sounds"]
        kinds.append("composition" if mixed else "attribute")
    columns = ["mAP", "mAP@10", "R@10", "first is right", "attribute pairs", "mAP of the noun"]
    rng = np.random.default_rng(0)
    values = {asker: np.array(rows) for asker, rows in measured.items()}
    report = {
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "model": model.identity,
        "machine": platform.processor() or platform.machine(),
        "queries": len(tests),
        "scored": len(scored),
        "renderings": len(keys),
        "not scored": {why: sum(v == why for v in skipped.values()) for why in sorted(set(skipped.values()))},
        "results": {},
    }  # fmt: skip
    for kind in ("all", "attribute", "composition"):
        use = np.array([kind in ("all", each) for each in kinds])
        part = {"queries": int(use.sum())}
        for asker in askers:
            part[asker] = {c: interval(values[asker][use, i], rng) for i, c in enumerate(columns)}
        for other in askers[1:]:
            part[f"whole query less {other}"] = {
                c: interval((values[askers[0]] - values[other])[use, i], rng)
                for i, c in enumerate(columns)
            }
        report["results"][kind] = part
    by_word = {}
    for word in sorted(
        {w for test, *_ in scored for w in test["rendering"].split() if "=" not in w}
    ):
        use = np.array([word in test["rendering"].split() for test, *_ in scored])
        by_word[word] = {"queries": int(use.sum())} | {
            asker: round(float(values[asker][use, 4].mean()), 3) for asker in askers
        }
    report["attribute pairs by rendering"] = by_word
    report["by query"] = {
        test["query"]: {asker: round(float(values[asker][i, 0]), 3) for asker in askers}
        for i, (test, *_) in enumerate(scored)
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.page is not None:
        arguments.page.write_text(page(report, __doc__.split("\n\n")[1].strip()))
    for kind, part in report["results"].items():
        print(f"\n{kind}: {part['queries']} queries")
        for name, row in part.items():
            if isinstance(row, dict):
                shown = "  ".join(
                    f"{c} {v[0]:+.3f} [{v[1]:+.3f}, {v[2]:+.3f}]" for c, v in row.items()
                )
                print(f"  {name:<44}{shown}")


if __name__ == "__main__":
    main()
