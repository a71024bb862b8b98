"""Does each of the paper's encoders learn?  Full-size networks, a few hundred real clips.

    python experiments/encoders.py --corpus ../shared/corpus --out /tmp/encoders --device cuda
    python experiments/encoders.py --corpus ../shared/corpus --out /tmp/small --small --epochs 2

CNN14, HTSAT and both, each trained from random weights (with an untrained RoBERTa of the base size)
on clips with their titles, and once more on the same clips with the titles of others.  Then titles
look for clips of held-out groups: R@10 for each title, any clip that bears it.  The difference of
the two runs has a 95 % interval from a paired bootstrap over titles; it must not hold 0.  The last
epoch counts: nothing is selected on the held-out clips.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.evaluation.metrics import ranks_of
from wavtext.training.cache import LogMelCache
from wavtext.training.config import (
    AudioConfig,
    LossConfig,
    OptimizerConfig,
    ProjectionConfig,
    TextConfig,
    TrainConfig,
)
from wavtext.training.data import make_pairs
from wavtext.training.htsat import HtsatConfig
from wavtext.training.loop import train
from wavtext.training.run import environment
from wavtext.training.validate import embed_captions, embed_clips

ENCODERS = ("cnn14", "htsat", "cnn14+htsat")


def write_titles(corpus: Path, out: Path, limit: int) -> Path:
    """A manifest of clips whose title at least four groups share; a quarter of them held out."""
    by_title: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    with (corpus / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_title[row["title"].lower()][row["group"]].append(row)
    rng = np.random.default_rng(0)
    clips: list[Clip] = []
    for title, groups in sorted(by_title.items()):
        if len(groups) < 4:
            continue
        order = rng.permutation(sorted(groups))
        for i, group in enumerate(order):
            split = "test" if i < len(order) // 4 else "train"
            for row in groups[str(group)][:3]:
                path = (corpus / row["file"]).resolve()
                clips.append(Clip(row["file"], path, (title,), split=split, group=row["group"]))
    training = [clip for clip in clips if clip.split == "train"]
    kept = {training[i].clip_id for i in rng.permutation(len(training))[:limit]}
    write_manifest(out, [c for c in clips if c.split == "test" or c.clip_id in kept])
    return out


def make_config(encoder: str, arguments: argparse.Namespace, *, shuffled: bool) -> TrainConfig:
    small = arguments.small
    audio = AudioConfig(
        encoder=encoder,  # type: ignore[arg-type]
        duration=5.0,
        htsat_duration=5.0,
        cnn14_channels=(8, 8, 16, 16, 32, 64) if small else (64, 128, 256, 512, 1024, 2048),
        cnn14_dim=64 if small else 2048,
        htsat=HtsatConfig(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(2, 2, 4, 4))
        if small
        else HtsatConfig(),
    )
    return TrainConfig(
        epochs=arguments.epochs,
        batch_size=arguments.batch,
        precision="bf16" if arguments.device.startswith("cuda") else "fp32",
        workers=arguments.workers,
        shuffle_captions=shuffled,
        audio=audio,
        text=TextConfig(
            name="random",
            pooling="mean",
            layers=2 if small else 12,
            dim=64 if small else 768,
            heads=4 if small else 12,
        ),
        projection=ProjectionConfig(dim=128 if small else 1024),
        loss=LossConfig(duplicates="positives"),
        optimizer=OptimizerConfig(
            learning_rate=1e-3 if small else 1e-4, schedule="cosine", warmup_steps=20
        ),
    )


def hits_at_10(
    run: Path, config: TrainConfig, manifest: Path, arguments: argparse.Namespace
) -> dict[str, float]:
    """R@10 of each held-out title; trains first."""
    cache = arguments.out / "log-mels"
    trained = train(config, manifest, run, cache=cache, device=arguments.device)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    per_epoch = np.array_split(losses, config.epochs)
    first, last = per_epoch[0].mean(), per_epoch[-1].mean()
    print(f"  loss of the first epoch {first:.3f}, of the last {last:.3f}")
    held_out = [clip for clip in read_manifest(manifest) if clip.split == "test"]
    ready, _ = LogMelCache(cache, config.front_end).prepare([clip.path for clip in held_out])
    pairs = make_pairs(held_out, ready)
    titles = tuple(sorted(set(pairs.captions)))
    device = next(trained.model.parameters()).device
    model = trained.built.model
    with torch.no_grad():
        audio = embed_clips(model, pairs, frames=config.crop_frames, device=device)
        text = embed_captions(model, titles, trained.built.tokenizer, device=device)
    relevant = np.array([[caption == title for caption in pairs.captions] for title in titles])
    found = ranks_of(text @ audio.T, relevant).hits_at(10)
    print(
        f"  R@10 {found.mean():.3f} over {len(titles)} titles and {len(pairs.clips)} clips",
        flush=True,
    )
    return dict(zip(titles, found.astype(float), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--only", choices=ENCODERS)
    parser.add_argument("--small", action="store_true", help="networks of a CPU's size")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    facts = environment()
    machine = facts["cuda"] or facts["system"]
    print(f"{machine}, torch {facts['torch']}, commit {facts['git_commit'][:8]}")
    manifest = write_titles(arguments.corpus, arguments.out / "manifest.jsonl", arguments.clips)
    for encoder in [arguments.only] if arguments.only else ENCODERS:
        hits: list[dict[str, float]] = []
        for shuffled in (False, True):
            print(f"{encoder}, {'titles of others' if shuffled else 'own titles'}", flush=True)
            config = make_config(encoder, arguments, shuffled=shuffled)
            run = arguments.out / f"{encoder}-{'shuffled' if shuffled else 'own'}"
            hits.append(hits_at_10(run, config, manifest, arguments))
        difference = np.array([hits[0][title] - hits[1][title] for title in hits[0]])
        rng = np.random.default_rng(0)
        means = difference[rng.integers(0, len(difference), (10_000, len(difference)))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        print(
            f"{encoder}: R@10 higher by {difference.mean():.3f} [{low:.3f}, {high:.3f}]", flush=True
        )


if __name__ == "__main__":
    main()
