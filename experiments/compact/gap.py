"""Does the student follow its teachers less well on sounds that it has not heard?

    python experiments/compact/gap.py --fit RUN [RUN ...] --crops runs/compact/crops \
        --packed runs/compact/packed --ingredients runs/compact/ingredients

Clips that the runs' crops were made of, and validation clips; the first 2.5 s of each, which repeat
where a clip is shorter.  Prints the divergence of the softmax over the labels' first phrases from
YAMNet's scores, weighed by how sure it is; how often the first label is its; and training less
validation, with a 95 % interval over families of recordings.  The two hold different kinds of
sounds, so a difference may be that; that there is none says that what was heard is not what limits
the student.  The student learned from two teachers, so that no divergence from one can be nothing;
nothing is centred, and nothing is in 8 bits.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from assemble import model_from
from mels import decibels
from split import split_of
from text_bank import PHRASES, embed_plainly, load_minilm, load_phrases
from torch import Tensor

FRAMES, SHORTEST, PATCHES, SCALE, BATCH, ROUNDS = 108, 54, 4, 16.0, 60, 1000


Sounds = tuple[Tensor, Tensor, list[str]]


def heard(packed: Path, clips: list[dict], number: int) -> Sounds:
    """Log-mels (clips, frames, 72) in dB of some clips, the teacher's scores (clips, 521), groups."""
    mel, scores = (np.load(packed / f"{name}.npy", mmap_mode="r") for name in ("mel", "scores"))
    rows, views, groups = [], [], []
    for i in np.random.default_rng(0).permutation(len(clips))[:number]:
        (a, frames), (b, patches) = clips[i]["frames"], clips[i]["patches"]
        rows.append(np.resize(mel[a : a + min(frames, FRAMES)], (FRAMES, mel.shape[1])))
        view = (scores[b : b + min(patches, PATCHES)] / 255.0) ** 2  # as pack.py left them
        views.append(0.5 * (view.mean(0) + view.max(0)))
        groups.append(clips[i]["group"])
    return (
        torch.from_numpy(decibels(np.stack(rows))),
        torch.from_numpy(np.stack(views)).float(),
        groups,
    )


def follows(embedding: Tensor, named: Tensor, scores: Tensor) -> np.ndarray:
    """(clips, 3): how sure the teacher is; divergence in nats; whether the first label is its."""
    cosines = embedding @ named.T
    sure = (1.5 * scores.amax(1)).clamp(max=1)
    likely = scores / scores.sum(1, keepdim=True).clamp(min=1e-3)
    apart = F.kl_div(F.log_softmax(SCALE * cosines, 1), likely, reduction="none").sum(1)
    same = (cosines.argmax(1) == scores.argmax(1)).float()
    return torch.stack([sure, apart, same], 1).numpy()


def weighed(found: np.ndarray) -> np.ndarray:
    """(2,): the means of divergence and of first labels."""
    return (found[:, :1] * found[:, 1:]).sum(0) / found[:, 0].sum()


def redrawn(found: np.ndarray, groups: list[str], rng: np.random.Generator) -> np.ndarray:
    """Families drawn with replacement -> means, (2,)."""
    names, places = np.unique(groups, return_inverse=True)
    drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
    return weighed(np.repeat(found, drawn[places], axis=0))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    for name in ("crops", "packed", "ingredients"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1200, help="of each kind")
    arguments = parser.parse_args()
    tokenizer, bert = load_minilm(arguments.ingredients)
    phrases = [some[0] for some in load_phrases(PHRASES)]
    crops = json.loads((arguments.crops / "clips.json").read_text())
    taught = {clip["file"] for clip in crops if split_of(clip) == "train"}
    packed = json.loads((arguments.packed / "clips.json").read_text())
    packed = [clip for clip in packed if clip["frames"][1] >= SHORTEST]
    kinds = {
        "training": [clip for clip in packed if clip["file"] in taught],
        "validation": [clip for clip in packed if clip["split"] == "validation"],
    }
    sounds = {
        name: heard(arguments.packed, clips, arguments.clips) for name, clips in kinds.items()
    }
    for run in arguments.fit:
        model = model_from(bert, [run])
        model.eval().audio.to(memory_format=torch.channels_last)
        named = embed_plainly(model, bert, tokenizer, phrases)
        found = {}
        for kind, (log_mel, scores, _) in sounds.items():
            with torch.autocast("cpu", torch.bfloat16):
                parts = [model.embed_audio(some).float() for some in log_mel.split(BATCH)]
            found[kind] = follows(torch.cat(parts), named, scores)
            apart, same = weighed(found[kind])
            print(f"{run.name} {kind}: divergence {apart:.3f}, first label {same:.3f}")
        rng = np.random.default_rng(0)
        draws = [
            np.subtract(*(redrawn(found[kind], sounds[kind][2], rng) for kind in sounds))
            for _ in range(ROUNDS)
        ]
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        for what, a, b in zip(("divergence", "first label"), low, high, strict=True):
            print(f"{run.name} training less validation, {what}: [{a:+.3f}, {b:+.3f}]", flush=True)


if __name__ == "__main__":
    main()
