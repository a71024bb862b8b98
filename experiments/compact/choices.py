"""Which choices of the compact model's head matter?  Three seeds of each, on kept features.

    python experiments/compact/choices.py --fit runs/compact/distilled --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --out experiments/results/compact-choices.json

The convolutions of a trained run stay as they are; their output over the first 2.5 s of each clip
is kept.  Attention, both projections and the logit scale learn from nothing by the paper's loss,
400 steps of 256 pairs of a training clip and one of its captions, one change at a time.  Measured
on validation clips (split.py): R@10 of titles, and everyday classes.  Differences are paired by
seed; their intervals are Student's over the seeds, which is all that they speak for.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from assemble import average, weights_of
from text_bank import captions_of, load_minilm, make_model, plain_features
from torch import Tensor, nn
from validate import scores_of

from wavtext.training.compact import TimeAttention
from wavtext.training.loss import (
    Duplicates,
    clamp_log_scale,
    contrastive_loss,
    find_positives,
    initial_log_scale,
)
from wavtext.training.projection import make_projection

FRAMES, STEPS, BATCH = 108, 400, 256
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 95 % quantiles by seeds


@dataclass(frozen=True)
class Choice:
    """One way to make and train a head."""

    attention: bool = True
    pooling: str = "maximum and mean"
    dim: int = 384
    projection: str = "normed"
    temperature: float = 0.07
    learnt_temperature: bool = True
    duplicates: Duplicates = "positives"
    dropout: float = 0.3


CHOICES = {
    "as it ships": Choice(),
    "no attention layer": Choice(attention=False),
    "maximum alone": Choice(pooling="maximum"),
    "mean alone": Choice(pooling="mean"),
    "128 dimensions": Choice(dim=128),
    "768 dimensions": Choice(dim=768),
    "the released code's projection": Choice(projection="residual"),
    "a linear projection": Choice(projection="linear"),
    "temperature 0.07, fixed": Choice(learnt_temperature=False),
    "temperature 0.007 at first": Choice(temperature=0.007),
    "duplicates are negatives": Choice(duplicates="negatives"),
    "duplicates are ignored": Choice(duplicates="ignored"),
    "dropout 0.1": Choice(dropout=0.1),
}


class Head(nn.Module):
    """Steps (batch, time, 512) and text features (batch, 384) -> one space."""

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.attention = TimeAttention(512) if choice.attention else nn.Identity()
        self.pooling = choice.pooling
        wide = 1024 if choice.pooling == "maximum and mean" else 512
        make = lambda source: make_projection(
            choice.projection,
            source,
            choice.dim,
            dropout=None if choice.projection == "linear" else choice.dropout,
        )
        self.audio, self.text = make(wide), make(384)
        self.log_scale = nn.Parameter(
            torch.tensor(initial_log_scale(choice.temperature)),
            requires_grad=choice.learnt_temperature,
        )

    def embed_audio(self, steps: Tensor) -> Tensor:
        steps = self.attention(steps.float())
        parts = {"maximum": [steps.amax(1)], "mean": [steps.mean(1)]}
        pooled = parts.get(self.pooling, [steps.amax(1), steps.mean(1)])
        return F.normalize(self.audio(torch.cat(pooled, dim=1)), dim=-1)

    def embed_text(self, features: Tensor) -> Tensor:
        return F.normalize(self.text(features), dim=-1)


def train(
    choice: Choice, seed: int, steps: Tensor, texts_of: list[list[int]], features: Tensor
) -> Head:
    torch.manual_seed(seed), random.seed(seed)
    head = Head(choice).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, STEPS, pct_start=0.1)
    order = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        clips = torch.randperm(len(steps), generator=order)[:BATCH]
        texts = torch.tensor([random.choice(texts_of[i]) for i in clips.tolist()])
        loss = contrastive_loss(
            head.embed_audio(steps[clips]),
            head.embed_text(features[texts]),
            head.log_scale.exp(),
            positives=find_positives(clips, texts),
            duplicates=choice.duplicates,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step(), schedule.step()
        clamp_log_scale(head.log_scale, choice.temperature)
    return head.eval()


@torch.no_grad()
def keep_steps(model, clips: list[dict], mel: np.ndarray) -> Tensor:
    """(clips, time, 512) bfloat16: the convolutions' output over each clip's first window."""
    found = []
    for begin in range(0, len(clips), 64):
        spans = [clip["frames"] for clip in clips[begin : begin + 64]]
        windows = np.stack([mel[a + np.arange(FRAMES) % n] for a, n in spans])
        with torch.autocast("cpu", torch.bfloat16):
            stem = model.audio.stem(torch.from_numpy(windows.astype(np.float32) * 0.55 - 100))
            found.append(model.audio.steps(stem).bfloat16())
    return torch.cat(found)


@torch.no_grad()
def measure(head: Head, held: list[dict], steps: Tensor, embed: Callable) -> dict[str, float]:
    sounds = head.embed_audio(steps)
    found = scores_of(None, lambda texts: head.embed_text(embed(texts)), held, None, sounds=sounds)
    return {name: found[name] for name in ("R@10", "accuracy", "standardised", "P@10", "mAP")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--share", type=float, nargs="+")
    for name in ("packed", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    tokenizer, bert = load_minilm(arguments.ingredients)
    model = make_model(bert)
    model.load_state_dict(average([weights_of(run) for run in arguments.fit], arguments.share))
    model.eval().audio.to(memory_format=torch.channels_last)
    clips = json.loads((arguments.packed / "clips.json").read_text())
    mel = np.load(arguments.packed / "mel.npy", mmap_mode="r")
    known, held = ([c for c in clips if c["split"] == name] for name in ("train", "validation"))
    every = sorted({text for clip in known for text in captions_of(clip)})
    place = {text: i for i, text in enumerate(every)}
    texts_of = [[place[text] for text in captions_of(clip)] for clip in known]
    embed = lambda texts: plain_features(bert, tokenizer, texts)
    features, begin = embed(every), time.process_time()
    steps, held_steps = keep_steps(model, known, mel), keep_steps(model, held, mel)
    print(f"{len(known)} clips, {time.process_time() - begin:.0f} s of CPU", flush=True)
    runs: dict[str, list[dict[str, float]]] = {}
    soups: list[dict[str, float]] = []
    for name, choice in CHOICES.items():
        begin = time.process_time()
        heads = [train(choice, s, steps, texts_of, features) for s in range(arguments.seeds)]
        runs[name] = [measure(head, held, held_steps, embed) for head in heads]
        if name == "as it ships":
            soup = Head(choice).eval()
            soup.load_state_dict(average([head.state_dict() for head in heads]))
            soups.append(measure(soup, held, held_steps, embed))
        mean = {key: round(np.mean([run[key] for run in runs[name]]), 4) for key in runs[name][0]}
        print(name, mean, f"{time.process_time() - begin:.0f} s of CPU", flush=True)
    report = {
        "fit": [run.name for run in arguments.fit],
        "training clips": len(known),
        "validation clips": len(held),
        "choices": {name: asdict(choice) for name, choice in CHOICES.items()},
        "seeds": runs,
        "weights of the seeds averaged": soups,
        "differences": {name: against(runs[name], runs["as it ships"]) for name in runs},
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


def against(some: list[dict[str, float]], base: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean difference, and half the width of its interval, of each measure."""
    found = {}
    for key in base[0]:
        apart = np.array([a[key] - b[key] for a, b in zip(some, base, strict=True)])
        half = STUDENT[len(apart)] * apart.std(ddof=1) / math.sqrt(len(apart))
        found[key] = [round(float(apart.mean()), 4), round(float(half), 4)]
    return found


def table(report: dict) -> str:
    keys = list(report["seeds"]["as it ships"][0])
    lines = ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    base = report["seeds"]["as it ships"]
    values = " | ".join(f"{np.mean([run[key] for run in base]):.3f}" for key in keys)
    lines.append(f"| as it ships | {values} |")
    for name, row in report["differences"].items():
        if name != "as it ships":
            cells = " | ".join(f"{row[key][0]:+.3f} ± {row[key][1]:.3f}" for key in keys)
            lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
