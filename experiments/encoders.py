"""Does each of the paper's encoders learn?  Full-size networks, a few hundred real clips.

    python experiments/compact/ingredients.py --out runs/compact/ingredients
    python experiments/encoders.py --corpus ../shared/corpus --out runs/encoders

CNN14, HTSAT and both, each trained from random weights on clips with their titles, and once more
on the same clips with the titles of others, from the same weights in the same order.  Widths and
depths are the paper's; the data are scaled down: short crops, and for HTSAT a grid as small as
they are.  The text encoder is a pretrained MiniLM, frozen.

Then titles look for clips of held-out groups: R@10 for each title, any clip that bears it.  The
difference of the two runs has a 95 % interval from a paired bootstrap over titles; it must not hold
0.  Beside it stands the other direction, sounds that look for their title, clustered by title.  The
last epoch counts: nothing is selected on the held-out clips.  A run that was killed goes on with
its last epoch; a finished one is not repeated.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `wavtext train` does

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.evaluation.metrics import ranks_of
from wavtext.training.cache import LogMelCache
from wavtext.training.config import (
    AudioConfig,
    AugmentConfig,
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
DIRECTIONS = ("text_to_audio", "audio_to_text")
GROUPS = 12  # of a title, at most: the commonest has 84


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
        order = rng.permutation(sorted(groups))[:GROUPS]
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
    return TrainConfig(
        seed=arguments.seed,
        epochs=arguments.epochs,
        batch_size=arguments.batch,
        precision="bf16",
        workers=arguments.workers,
        shuffle_captions=shuffled,
        front_end=LogMelConfig(sample_rate=32_000, f_max=14_000.0),
        audio=AudioConfig(
            encoder=encoder,  # type: ignore[arg-type]
            duration=arguments.duration,
            htsat_duration=arguments.duration,
            cnn14_block_dropout=0.1,  # half of PANNs', and less at the head: so few steps
            cnn14_head_dropout=0.2,
            # a grid of 128 has a last stage of 4 x 4 patches, and so attends in windows of 4
            htsat=HtsatConfig(spec_size=arguments.grid, window_size=arguments.grid // 32),
        ),
        text=TextConfig(name=str(arguments.text), pooling="mean", frozen=True),
        projection=ProjectionConfig(dim=1024),
        loss=LossConfig(duplicates="positives"),
        augment=AugmentConfig(time_width=16),
        optimizer=OptimizerConfig(
            learning_rate=arguments.rate,
            schedule="cosine",
            warmup_steps=15,
            max_gradient_norm=1.0,
        ),
    )


def run_once(
    run: Path, config: TrainConfig, manifest: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """The run's losses, and whether each held-out query has its answer in the top ten."""
    result_file = run / "result.json"
    if result_file.exists():
        return json.loads(result_file.read_text())
    cache = arguments.out / "log-mels"
    trained = train(
        config,
        manifest,
        run,
        resume=(run / "config.toml").exists(),
        cache=cache,
        device=arguments.device,
        checkpoint_steps=12,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = np.array([line["loss"] for line in lines])
    held_out = [clip for clip in read_manifest(manifest) if clip.split == "test"]
    ready, _ = LogMelCache(cache, config.front_end).prepare([clip.path for clip in held_out])
    pairs = make_pairs(held_out, ready)
    titles = tuple(sorted(set(pairs.captions)))
    device = next(trained.model.parameters()).device
    model = trained.built.model
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        audio = embed_clips(model, pairs, frames=config.crop_frames, device=device)
        text = embed_captions(model, titles, trained.built.tokenizer, device=device)
    score = text @ audio.T  # (title, clip)
    relevant = np.array([[caption == title for caption in pairs.captions] for title in titles])
    # a clip has one title, so its hit is R@10 by every definition
    result = {
        "loss_by_epoch": [
            round(float(each.mean()), 4) for each in losses.reshape(config.epochs, -1)
        ],
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "text_to_audio": {
            "titles": titles,
            "hits": ranks_of(score, relevant).hits_at(10).astype(int).tolist(),
        },
        "audio_to_text": {
            "titles": pairs.captions,
            "hits": ranks_of(score.T, relevant.T).hits_at(10).astype(int).tolist(),
        },
    }
    result_file.write_text(json.dumps(result))
    for checkpoint in ("last.pt", "best.pt"):
        (run / checkpoint).unlink(missing_ok=True)  # 1.6 GB
    return result


def difference(own: dict[str, Any], control: dict[str, Any]) -> dict[str, Any]:
    """R@10 of both runs and their difference, with a paired bootstrap over titles."""
    by_title: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for title, mine, theirs in zip(own["titles"], own["hits"], control["hits"], strict=True):
        by_title[title].append((mine, theirs))
    sums = np.array([np.sum(hits, axis=0) for hits in by_title.values()])  # (title, run)
    counts = np.array([len(hits) for hits in by_title.values()])
    drawn = np.random.default_rng(0).integers(0, len(counts), (10_000, len(counts)))
    gap = (sums[:, 0] - sums[:, 1])[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(gap, [0.025, 0.975])
    return {
        "queries": int(counts.sum()),
        "own": round(float(sums[:, 0].sum() / counts.sum()), 4),
        "shuffled": round(float(sums[:, 1].sum() / counts.sum()), 4),
        "difference": round(float((sums[:, 0] - sums[:, 1]).sum() / counts.sum()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, default=Path("runs/compact/ingredients/minilm"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, default=400, help="to train on, at most")
    parser.add_argument("--duration", type=float, default=1.28, help="s, of a crop")
    parser.add_argument("--grid", type=int, default=128, help="HTSAT's spec_size")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--only", choices=ENCODERS)
    parser.add_argument("--half", choices=["own", "shuffled"], help="train this run, no more")
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    facts = environment()
    machine = facts["cuda"] or facts["system"]
    print(f"{machine}, torch {facts['torch']}, commit {facts['git_commit'][:8]}")
    manifest = write_titles(arguments.corpus, arguments.out / "manifest.jsonl", arguments.clips)
    clips = read_manifest(manifest)
    settings = {k: getattr(arguments, k) for k in ("clips", "duration", "grid", "epochs", "batch")}
    report: dict[str, Any] = {
        "command": "python experiments/encoders.py",
        "machine": machine,
        "torch": facts["torch"],
        "settings": settings | {"rate": arguments.rate, "seed": arguments.seed},
        "training_clips": sum(clip.split == "train" for clip in clips),
        "held_out_clips": sum(clip.split == "test" for clip in clips),
        "encoders": {},
    }
    if arguments.only and arguments.json and arguments.json.exists():  # the others' results stay
        before = json.loads(arguments.json.read_text())
        if before["settings"] == report["settings"]:
            report["encoders"] = before["encoders"]
    for encoder in [arguments.only] if arguments.only else ENCODERS:
        results: list[dict[str, Any]] = []
        commits: list[str] = []
        for shuffled in (False, True):
            if arguments.half and shuffled != (arguments.half == "shuffled"):
                continue
            config = make_config(encoder, arguments, shuffled=shuffled)
            run = arguments.out / f"{encoder}-{'shuffled' if shuffled else 'own'}-{arguments.seed}"
            results.append(run_once(run, config, manifest, arguments))
            commits.append(json.loads((run / "environment.json").read_text())["git_commit"])
            losses = results[-1]["loss_by_epoch"]
            print(
                f"{encoder}, {'titles of others' if shuffled else 'own titles'}: loss of the first "
                f"epoch {losses[0]:.3f}, of the last {losses[-1]:.3f}",
                flush=True,
            )
        if arguments.half:
            continue
        own, control = results
        entry: dict[str, Any] = {
            "commits": commits,
            "parameters": own["parameters"],
            "trained_parameters": own["trained_parameters"],
            "loss_by_epoch": own["loss_by_epoch"],
            "loss_by_epoch_shuffled": control["loss_by_epoch"],
        }
        for direction in DIRECTIONS:
            found = difference(own[direction], control[direction])
            entry[direction] = found
            print(
                f"{encoder}, {direction}: R@10 {found['own']:.3f}, shuffled "
                f"{found['shuffled']:.3f}, difference {found['difference']:.3f} "
                f"[{found['interval'][0]:.3f}, {found['interval'][1]:.3f}], "
                f"{found['queries']} queries",
                flush=True,
            )
        report["encoders"][encoder] = entry
        if arguments.json:
            arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
