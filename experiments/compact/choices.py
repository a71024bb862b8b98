"""Which choices of the compact model matter?  Some seeds of each, one change at a time.

    python experiments/compact/choices.py --crops runs/compact/crops --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --out experiments/results/compact-choices.json

fit.py at a small scale: a part of its crops of 2.5 s, each clean and spoilt once, what aiSFX's
published convolutions make of them kept, the same losses, and validation as everywhere.  The first
choice is the recipe of the first models, up to docs/decisions/0100-titles-correct-the-teachers.md;
differences from it are paired by seed; their intervals are Student's over the seeds, and speak for
nothing else.  A study that is stopped goes on with the choices that its report lacks.
"""

import argparse
import copy
import json
import math
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import spoil
from crops import load_shards, shard_paths
from learner import Learner
from losses import bank_loss, calm_loss, caption_loss, heard_texts, relate_loss
from mels import decibels
from quantise import CALIBRATION, training_windows
from scipy import stats
from stem import Stem
from text_bank import NEAR, PHRASES, captions_of, load_minilm, load_phrases, plain_features
from told import correct, told_labels
from torch import Tensor, nn
from validate import jobs_of, scores_of, validation_of

from wavtext.training.compact import CompactAudioEncoder, pool
from wavtext.training.projection import ProjectionKind, make_projection

FRAMES, BATCH, CALM, RATE = 108, 128, 19, 1e-3
MEASURES = ("R@1", "R@10", "accuracy", "standardised", "P@10", "mAP")


@dataclass(frozen=True)
class Choice:
    """One way to make and train what follows the convolutions; the default is the first one's."""

    learns: bool = False  # the fourth block too
    eight_bits: bool = True  # of the convolutions while training; validation is always in 8
    attention: bool = True
    pooling: str = "maximum and mean"
    longest_window: int = 216  # frames, of what validation hears
    dim: int = 384
    projection: ProjectionKind = "normed"
    dropout: float = 0.3
    max_scale: float = 15.0
    duplicates: str = "positives"
    spoilt: float = 0.6  # share of crops
    mixtures: bool = True  # crops of two sounds as well, half of all
    weights: tuple[float, ...] = (1.0, 1.5, 1.0, 0.5, 1.0)  # captions, bank, distil, calm, relate
    told: float = 0.0  # power of what titles say of the teachers' labels
    told_alone: float = 0.0  # share of the labels' likelihoods that titles say alone
    averaged: bool = True  # over the last hundred steps or so


RECIPE = "the recipe, convolutions as published"
CORRECTED = "no crop is spoilt, titles correct the teachers"
UNSPOILT = (1.0, 1.5, 1.0, 0.0, 1.0)  # no loss of calm
CHOICES = {
    RECIPE: Choice(),
    "no attention layer": Choice(attention=False),
    "maximum alone": Choice(pooling="maximum"),
    "mean alone": Choice(pooling="mean"),
    "windows of 2.5 s at most": Choice(longest_window=108),
    "128 dimensions": Choice(dim=128),
    "768 dimensions": Choice(dim=768),
    "equal and similar texts are negatives": Choice(duplicates="negatives"),
    "no captions": Choice(weights=(0.0, 1.5, 1.0, 0.5, 1.0)),
    "no phrases of labels": Choice(weights=(1.0, 0.0, 1.0, 0.5, 1.0)),
    "no teachers' representations": Choice(weights=(1.0, 1.5, 0.0, 0.5, 1.0)),
    "no neighbourhoods": Choice(weights=(1.0, 1.5, 1.0, 0.5, 0.0)),
    "no teachers": Choice(weights=(1.0, 0.0, 0.0, 0.5, 0.0)),
    "last weights, not averaged": Choice(averaged=False),
    "convolutions in float while training": Choice(eight_bits=False),
    "logit scale up to 100": Choice(max_scale=100.0),
    "no crop is spoilt": Choice(spoilt=0.0, weights=UNSPOILT),
    "0.2 of the crops are spoilt": Choice(spoilt=0.2),
    "no crop is a mixture": Choice(mixtures=False),
    "no crop is spoilt or a mixture": Choice(spoilt=0.0, mixtures=False, weights=UNSPOILT),
    "no crop is spoilt, titles correct the teachers a little": Choice(
        spoilt=0.0, told=0.5, weights=UNSPOILT
    ),
    CORRECTED: Choice(spoilt=0.0, told=1.0, weights=UNSPOILT),
    f"{CORRECTED} more": Choice(spoilt=0.0, told=2.0, weights=UNSPOILT),
    f"{CORRECTED} and are a teacher": Choice(
        spoilt=0.0, told=1.0, told_alone=0.3, weights=UNSPOILT
    ),
    f"{CORRECTED}, phrases of labels count twice": Choice(
        spoilt=0.0, told=1.0, weights=(1.0, 3.0, 1.0, 0.0, 1.0)
    ),
    f"{CORRECTED}, no representations or neighbourhoods": Choice(
        spoilt=0.0, told=1.0, weights=(1.0, 1.5, 0.0, 0.0, 0.0)
    ),
    "a linear projection": Choice(projection="linear"),
    "the released code's projection": Choice(projection="residual"),
    "dropout 0.1": Choice(dropout=0.1),
    "the fourth block learns": Choice(learns=True),
}


@dataclass(frozen=True)
class Sounds:
    """What the published convolutions make of each crop: three blocks of them, and all four."""

    stem: Tensor  # (crops, 256, 13, 9)
    steps: Tensor  # (crops, 13, 512)


@dataclass(frozen=True)
class Lessons:
    """All that a student hears, and what it is told of it."""

    clean: dict[bool, Sounds]  # by whether convolutions had 8 bits
    spoilt: dict[bool, Sounds]  # where some choice hears them
    scores: Tensor
    representation: Tensor
    who: np.ndarray
    below: Tensor
    texts_of: list[list[int]]
    texts: Tensor  # (texts, 384), MiniLM's
    phrases: list[Tensor]  # of each label


class Student(nn.Module):
    """What the convolutions kept -> embedding; MiniLM's features -> embedding."""

    def __init__(self, choice: Choice, encoder: CompactAudioEncoder) -> None:
        super().__init__()
        self.choice = choice
        self.encoder = CompactAudioEncoder(attention=choice.attention)
        published = {k: v for k, v in encoder.state_dict().items() if k.startswith("conv_block")}
        self.encoder.load_state_dict(published, strict=False)
        for block in self.encoder.blocks[: 3 if choice.learns else 4]:
            block.requires_grad_(False)
        self.encoder.frequency.requires_grad_(choice.learns)
        dropout = None if choice.projection == "linear" else choice.dropout
        wide = 1024 if choice.pooling == "maximum and mean" else 512
        self.audio = make_projection(choice.projection, wide, choice.dim, dropout=dropout)
        self.text = make_projection(choice.projection, 384, choice.dim, dropout=dropout)
        self.guess = nn.Linear(wide, 512)
        nn.init.zeros_(self.guess.weight)
        self.caption_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.bank_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def represent(self, sounds: Sounds, rows) -> Tensor:
        if self.choice.learns:
            found = self.encoder.rest(sounds.stem[rows].float())
        else:
            found = pool(self.encoder.attention(sounds.steps[rows].float()))
        half = found.shape[1] // 2
        parts = {"maximum": found[:, :half], "mean": found[:, half:]}
        return parts.get(self.choice.pooling, found)

    def embed_texts(self, features: Tensor) -> Tensor:
        return F.normalize(self.text(features), dim=-1)


def taught(scores: Tensor, told: Tensor, all_: Lessons, choice: Choice) -> Tensor:
    """The teachers' scores (crops, labels) as titles correct them."""
    found = correct(scores, told, all_.who, all_.below, choice.told)
    if not choice.told_alone:
        return found
    alone = correct(torch.ones_like(scores), told, all_.who, all_.below, 1.0)
    both = found / found.sum(1, keepdim=True).clamp(min=1e-6) * (1 - choice.told_alone)
    both = both + alone / alone.sum(1, keepdim=True) * choice.told_alone
    return both * (scores.amax(1, keepdim=True) / both.amax(1, keepdim=True))


def train(choice: Choice, seed: int, encoder: CompactAudioEncoder, all_: Lessons, steps: int):
    """A student after some steps; its weights are the running mean that fit.py keeps too."""
    torch.manual_seed(seed), random.seed(seed)
    rng = np.random.default_rng(seed)
    student = Student(choice, encoder)
    clean, spoilt = all_.clean[choice.eight_bits], all_.spoilt.get(choice.eight_bits)
    blocks = [p for p in student.encoder.conv_block4.parameters() if p.requires_grad]
    others = [
        parameter
        for name, parameter in student.named_parameters()
        if parameter.requires_grad and "conv_block" not in name
    ]
    learner = Learner(
        [(RATE, others), (0.3 * RATE, blocks)], steps=steps, warm_up=30, averaged=choice.averaged
    )
    scores = all_.scores
    if choice.told:
        told = told_labels(all_.texts_of, all_.texts, all_.phrases)
        scores = taught(scores, told, all_, choice)
    drawn = torch.arange(len(scores))
    if not choice.mixtures:
        drawn = torch.from_numpy(np.flatnonzero(all_.who[:, 1] < 0))
    for _ in range(steps):
        rows = drawn[torch.from_numpy(rng.integers(0, len(drawn), BATCH))]
        student.train()
        for block in student.encoder.blocks:
            block.eval()
        with torch.autocast("cpu", torch.bfloat16):
            worse = torch.from_numpy(rng.random(BATCH) < choice.spoilt)
            worse[:CALM] = choice.spoilt > 0
            order = torch.cat([torch.nonzero(worse)[:, 0], torch.nonzero(~worse)[:, 0]])
            parts = [
                student.represent(sounds, rows[mask])
                for sounds, mask in ((spoilt, worse), (clean, ~worse))
                if mask.any()
            ]
            representation = torch.cat(parts)[order.argsort()]
            still = student.represent(clean, rows[:CALM])
            heard = F.normalize(student.audio(representation).float(), dim=-1)
            same = F.normalize(student.audio(still).float(), dim=-1)
            guess = student.guess(representation).float()
        numbers = rows.numpy()
        texts, target = heard_texts(
            all_.who[numbers],
            all_.below[rows],
            all_.texts_of,
            distinct=choice.duplicates == "positives",
        )
        plain = F.normalize(all_.texts[texts], dim=-1)
        near = plain @ plain.T > (NEAR if choice.duplicates == "positives" else 2.0)
        named = student.embed_texts(torch.stack([random.choice(some) for some in all_.phrases]))
        scale = student.caption_scale.exp().clamp(max=choice.max_scale)
        losses = (
            caption_loss(heard, student.embed_texts(all_.texts[texts]), target, near, scale),
            bank_loss(heard, named, scores[rows], student.bank_scale.exp().clamp(max=100)),
            F.mse_loss(guess, all_.representation[rows]),
            calm_loss(heard[:CALM], same),
            relate_loss(heard, all_.representation[rows]),
        )
        learner.step(sum(w * part for w, part in zip(choice.weights, losses, strict=True)))
    with learner.averaged():
        return copy.deepcopy(student).eval()


@torch.no_grad()
def keep(
    encoder: CompactAudioEncoder, convolve: Callable[[np.ndarray], Tensor], mel: np.ndarray
) -> Sounds:
    """What four blocks make of log-mels (sounds, frames, 72) in dB."""
    stems, steps = [], []
    for begin in range(0, len(mel), 64):
        with torch.autocast("cpu", torch.bfloat16):
            stem = convolve(mel[begin : begin + 64])
            steps.append(encoder.steps(stem).bfloat16())
        stems.append(stem.bfloat16())
    return Sounds(torch.cat(stems), torch.cat(steps))


@torch.no_grad()
def measure(student: Student, held: list[dict], windows: list, embed: Callable) -> dict:
    total = torch.zeros(len(held), student.choice.dim)
    for owners, sounds in windows:
        for some in torch.arange(len(owners)).split(64):
            with torch.autocast("cpu", torch.bfloat16):
                found = student.audio(student.represent(sounds, some)).float()
            total.index_add_(0, owners[some], F.normalize(found, dim=-1))
    found = scores_of(
        None,
        lambda texts: student.embed_texts(embed(texts)),
        held,
        None,
        sounds=F.normalize(total, dim=-1),
    )
    return {name: found[name] for name in MEASURES}


def kept(path: Path, scale: dict[str, int]) -> tuple[dict[str, list[dict]], dict[str, str]]:
    """The runs that a report holds already, so that a study that was stopped goes on, and the
    commit of each choice.
    """
    report = json.loads(path.read_text()) if path.exists() else {}
    if report and report["scale"] != scale:
        raise SystemExit(f"{path}: was measured at another scale; name another --out.")
    return report.get("runs", {}), report.get("commits", {})


def against(some: list[dict], base: list[dict]) -> dict[str, list[float]]:
    """Mean difference, and half the width of its 95 % interval, of each measure."""
    found = {}
    for key in MEASURES:
        apart = np.array([a[key] - b[key] for a, b in zip(some, base, strict=True)])
        half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
        found[key] = [round(float(apart.mean()), 4), round(float(half), 4)]
    return found


def table(runs: dict[str, list[dict]]) -> str:
    lines = ["| | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    means = [np.mean([run[key] for run in runs[RECIPE]]) for key in MEASURES]
    lines.append(f"| {RECIPE} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    for name in list(runs)[1:]:
        row = against(runs[name], runs[RECIPE])
        cells = " | ".join(f"{row[key][0]:+.3f} ± {row[key][1]:.3f}" for key in MEASURES)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("crops", "packed", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    tokenizer, bert = load_minilm(arguments.ingredients)
    encoder = CompactAudioEncoder()
    aisfx = torch.load(arguments.ingredients / "aisfx.pt", weights_only=True)
    encoder.load_aisfx({k: v.float() for k, v in aisfx.items()})
    encoder.eval()
    stem = Stem(encoder, 3, training_windows(arguments.packed, CALIBRATION))
    encoder.to(memory_format=torch.channels_last)
    convolve = {True: stem, False: lambda mel: encoder.stem(torch.from_numpy(mel))}

    clips = json.loads((arguments.crops / "clips.json").read_text())
    paths = shard_paths(arguments.crops)
    paths = [path for path in paths if np.load(path)["mel"].shape[1] == FRAMES]
    shards = load_shards(paths[:: len(paths) // arguments.shards], clips, 0.5)
    join = lambda name: np.concatenate([shard[name] for shard in shards])
    clean, loud = decibels(join("mel")), decibels(join("clipped"))
    loud = np.where(np.random.default_rng(0).random((len(loud), 1, 1)) < 0.25, loud, clean)
    spoilt = spoil(torch.from_numpy(loud)).numpy()
    begin = time.process_time()
    who = join("who")
    every = sorted({text for i in set(who.ravel()) - {-1} for text in captions_of(clips[i])})
    place = {text: i for i, text in enumerate(every)}
    texts_of = [  # [0]: a clip that is in no crop
        [place[t] for t in captions_of(clip) if t in place] or [0] for clip in clips
    ]
    known: dict[tuple[str, ...], Tensor] = {}

    def embed(texts: list[str]) -> Tensor:
        key = tuple(texts)
        if key not in known:
            known[key] = plain_features(bert, tokenizer, texts)
        return known[key]

    scale = {"crops": len(who), "steps": arguments.steps, "seeds": arguments.seeds}
    runs, commits = kept(arguments.out, scale)
    left = [choice for name, choice in CHOICES.items() if name not in runs]
    lessons = Lessons(
        clean={
            bits: keep(encoder, convolve[bits], clean)
            for bits in {choice.eight_bits for choice in left}
        },
        spoilt={
            bits: keep(encoder, convolve[bits], spoilt)
            for bits in {choice.eight_bits for choice in left if choice.spoilt}
        },
        scores=torch.from_numpy(join("scores")),
        representation=torch.from_numpy(join("representation")),
        who=who,
        below=torch.from_numpy(join("below")),
        texts_of=texts_of,
        texts=embed(every),
        phrases=[plain_features(bert, tokenizer, some) for some in load_phrases(PHRASES)],
    )
    held, mel = validation_of(arguments.packed)
    windows = {
        longest: [
            (
                torch.tensor([clip for clip, _ in jobs]),
                keep(encoder, stem, decibels(np.stack([mel[row] for _, row in jobs]))),
            )
            for jobs in jobs_of(held, longest).values()
        ]
        for longest in {choice.longest_window for choice in left}
    }
    print(f"{len(who)} crops kept, {time.process_time() - begin:.0f} s of CPU", flush=True)

    git = ["git", "describe", "--always", "--dirty"]  # before the report is written
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    for name, choice in CHOICES.items():
        if name in runs:
            continue
        begin, runs[name] = time.process_time(), []
        for seed in range(1, arguments.seeds + 1):
            student = train(choice, seed, encoder, lessons, arguments.steps)
            runs[name].append(measure(student, held, windows[choice.longest_window], embed))
        mean = {key: round(float(np.mean([run[key] for run in runs[name]])), 4) for key in MEASURES}
        print(name, mean, f"{time.process_time() - begin:.0f} s of CPU", flush=True)
        commits[name] = commit
        report = {
            "commits": commits,
            "scale": scale,
            "clips": len(set(who.ravel()) - {-1}),
            "validation clips": len(held),
            "choices": {name: asdict(CHOICES[name]) for name in runs},
            "runs": runs,
            "less the first": {n: against(runs[n], runs[RECIPE]) for n in runs if n != RECIPE},
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
