"""What a compact model is worth on held-out sounds: titles, everyday classes, calm.  Used while
training.
"""

import numpy as np
import torch
from everyday import everyday_class


def jobs_of(clips):
    """The windows of packed clips: {frames: [(clip's number, rows of mel)]}, as
    wavtext.audio.windows lays them.
    """
    jobs = {54: [], 108: [], 216: []}
    for j, clip in enumerate(clips):
        begin, length = clip["frames"]
        frames = next((n for n in jobs if length <= n), 216)
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
            out = embed_mel(np.stack([mel[r] for _, r in some]).astype(np.float32) * 0.55 - 100)
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
    names = [everyday_class(clip["title"]) for clip in clips]
    have = [j for j, name in enumerate(names) if name]
    classes = sorted({names[j] for j in have})
    labels = torch.tensor([classes.index(names[j]) for j in have])
    return result | classification(embed_texts(classes) @ sounds[have].T, labels)


def title_recall(score, relevant):
    best = torch.where(relevant, score, -9.0).amax(1, keepdim=True)
    rank = 1 + ((score >= best) & ~relevant).sum(1)
    return {f"R@{k}": (rank <= k).float().mean().item() for k in (1, 10)} | {
        "titles": float(len(score))
    }


def classification(score, labels):
    """Score (class, clip), labels (clip,): balanced over classes."""
    classes = len(score)
    right = (score.argmax(0) == labels).float()
    accuracy = np.mean([right[labels == c].mean().item() for c in range(classes)])
    z = (score - score.mean(1, keepdim=True)) / score.std(1, keepdim=True)
    right = (z.argmax(0) == labels).float()
    standard = np.mean([right[labels == c].mean().item() for c in range(classes)])
    precision, average = [], []
    for c in range(classes):
        order = score[c].argsort(descending=True)
        hit = (labels[order] == c).float()
        n = int(hit.sum())
        precision.append(hit[: min(10, n)].mean().item())
        average.append(
            (hit * hit.cumsum(0) / torch.arange(1, len(hit) + 1, device=hit.device)).sum().item()
            / n
        )
    return {
        "accuracy": float(accuracy),
        "standardised": float(standard),
        "P@10": float(np.mean(precision)),
        "mAP": float(np.mean(average)),
        "classes": float(classes),
        "clips": float(len(labels)),
    }
