"""What a compact model is worth on the sounds of validation: titles, everyday classes.

Used while training, and to choose among runs and their averages:

    python experiments/compact/validate.py --fit RUN [RUN ...] --packed runs/compact/packed \
        --ingredients runs/compact/ingredients [--centre 0.1] [--noise 25] [--environmental 1.25]

With --noise, each window is heard over steady noise, so many dB below its loudest cell.  With
--environmental, only clips count that are at least so long (s) and name an everyday class that is
no instrument: most of the others are short, or are notes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from augment import over_noise
from everyday import KEYS, everyday_values, is_environmental, labelled, standardised
from mels import decibels


def validation_of(packed: Path) -> tuple[list[dict], np.ndarray]:
    """The clips that choose among recipes, and (frames, 72) packed log-mels of all clips."""
    clips = json.loads((packed / "clips.json").read_text())
    held = [clip for clip in clips if clip["split"] == "validation"]
    return held, np.load(packed / "mel.npy", mmap_mode="r")


def jobs_of(clips, longest=216):
    """The windows of packed clips: {frames: [(clip's number, rows of mel)]}, as
    wavtext.audio.windows lays them, of `longest` frames at most (216: 5 s, or
    108).
    """
    jobs = {frames: [] for frames in (54, 108, 216) if frames <= longest}
    for j, clip in enumerate(clips):
        begin, length = clip["frames"]
        frames = next((n for n in jobs if length <= n), longest)
        if length <= frames:
            jobs[frames].append((j, begin + np.arange(frames) % length))
            continue
        starts = [*range(0, length - frames, frames), length - frames]
        jobs[frames] += [(j, begin + s + np.arange(frames)) for s in starts]
    return jobs


@torch.no_grad()
def embed(embed_mel, clips, mel, batch=32):
    """(clips, dim): the mean over each clip's windows, of length 1."""
    total = None
    for rows in jobs_of(clips).values():
        for k in range(0, len(rows), batch):
            some = rows[k : k + batch]
            out = embed_mel(decibels(np.stack([mel[r] for _, r in some])))
            total = torch.zeros(len(clips), out.shape[1]) if total is None else total
            total.index_add_(0, torch.tensor([j for j, _ in some]), out)
    return torch.nn.functional.normalize(total, dim=-1)


def scores_of(embed_mel, embed_texts, clips, mel, sounds=None):
    """R@1 and R@10 of distinct titles; accuracy, precision@10 and mAP of everyday classes.

    Args:
        embed_mel: (batch, frames, 72) dB -> (batch, dim).
        embed_texts: list of texts -> (texts, dim).
        clips: Rows of a packed clips.json.
        mel: (frames, 72) uint8.
        sounds: (clips, dim) embeddings, where they are known already.
    """
    sounds = embed(embed_mel, clips, mel) if sounds is None else sounds
    titles = [clip["title"].lower().strip() for clip in clips]
    distinct = sorted(set(titles))
    score = embed_texts(distinct) @ sounds.T
    relevant = torch.tensor(np.array(distinct)[:, None] == np.array(titles)[None])
    result = title_recall(score, relevant)
    have, classes, labels = labelled(clips)
    by_class = (embed_texts(classes) @ sounds[torch.from_numpy(have)].T).numpy()
    values = everyday_values(by_class, standardised(by_class), labels)
    result |= {key: float(value) for key, value in zip(KEYS, values, strict=True)}
    return result | {"classes": float(len(classes)), "clips": float(len(labels))}


def title_recall(score, relevant):
    best = torch.where(relevant, score, -9.0).amax(1, keepdim=True)
    rank = 1 + ((score >= best) & ~relevant).sum(1)
    return {f"R@{k}": (rank <= k).float().mean().item() for k in (1, 10)} | {
        "titles": float(len(score))
    }


@torch.no_grad()
def main() -> None:
    from assemble import common_part, load_run, run_arguments
    from text_bank import embed_plainly

    parser = argparse.ArgumentParser(description=__doc__)
    run_arguments(parser)
    parser.add_argument("--centre", type=float, nargs="+", default=[0.1])
    parser.add_argument("--noise", type=float, nargs="+", default=[], help="dB; see above")
    parser.add_argument("--environmental", type=float, help="s; see above")
    arguments = parser.parse_args()
    model, bert, tokenizer = load_run(arguments)
    model.audio.to(memory_format=torch.channels_last)
    held, mel = validation_of(arguments.packed)
    if arguments.environmental is not None:
        held = [clip for clip in held if is_environmental(clip, arguments.environmental)]

    common = common_part(model, bert, tokenizer)
    for below in (None, *arguments.noise):
        torch.manual_seed(0)

        def embed_mel(some: np.ndarray, below: float | None = below) -> torch.Tensor:
            heard = torch.from_numpy(some)
            if below is not None:
                heard = 10 * torch.log10(over_noise(10 ** (heard / 10), below))
            with torch.autocast("cpu", torch.bfloat16):
                return model.embed_audio(heard)

        sounds = embed(embed_mel, held, mel)
        for centre in arguments.centre:

            def embed_texts(texts: list[str], centre: float = centre) -> torch.Tensor:
                asked = embed_plainly(model, bert, tokenizer, texts) - centre * common
                return torch.nn.functional.normalize(asked, dim=-1)

            found = scores_of(None, embed_texts, held, mel, sounds=sounds)
            noise = "" if below is None else f"over noise at -{below:g} dB, "
            print(f"{noise}centre {centre}", {k: round(value, 4) for k, value in found.items()})


if __name__ == "__main__":
    main()
