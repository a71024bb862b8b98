"""What a compact model is worth on held-out sounds: titles, everyday classes, calm.  Used while training."""

import numpy as np
import torch

from everyday import everyday_class


@torch.no_grad()
def embed(model, data, clips, batch=256):
    """(clips, dim): the mean over a clip's 5 s windows, short clips repeated to 1.25, 2.5 or 5 s."""
    jobs = {54: [], 108: [], 216: []}
    for j, i in enumerate(clips):
        begin, length = data.clips[i]["frames"]
        frames = next((n for n in (54, 108, 216) if length <= n), 216)
        if length <= frames:
            jobs[frames].append((j, begin + np.arange(frames) % length))
        else:
            starts = list(range(0, length - frames + 1, frames))
            if starts[-1] != length - frames:
                starts.append(length - frames)
            jobs[frames] += [(j, begin + s + np.arange(frames)) for s in starts]
    device = data.mel.device
    total = None
    for rows in jobs.values():
        for k in range(0, len(rows), batch):
            some = rows[k : k + batch]
            mel = data.mel[torch.from_numpy(np.stack([r for _, r in some])).to(device)].float() * 0.55 - 100
            with torch.autocast(device.type, torch.bfloat16):
                out = model.embed_audio(mel).float()
            if total is None:
                total = torch.zeros(len(clips), out.shape[1], device=device)
            total.index_add_(0, torch.tensor([j for j, _ in some], device=device), out)
    return torch.nn.functional.normalize(total, dim=-1)


@torch.no_grad()
def embed_texts(model, texts, tokens):
    """(texts, dim)."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        return torch.cat([model.embed_text(*tokens(texts[i : i + 256])).float() for i in range(0, len(texts), 256)])


def scores_of(model, data, split, tokens):
    """R@1 and R@10 of distinct titles; accuracy, precision@10 and mAP of everyday classes."""
    clips = data.of[split]
    sounds = embed(model, data, clips)
    titles = [data.clips[i]["title"].lower().strip() for i in clips]
    distinct = sorted(set(titles))
    score = embed_texts(model, distinct, tokens) @ sounds.T
    relevant = torch.tensor(
        np.array(distinct)[:, None] == np.array(titles)[None], device=score.device
    )
    result = title_recall(score, relevant)
    names = [everyday_class(data.clips[i]["title"]) for i in clips]
    have = [j for j, name in enumerate(names) if name]
    classes = sorted({names[j] for j in have})
    labels = torch.tensor([classes.index(names[j]) for j in have], device=score.device)
    score = embed_texts(model, classes, tokens) @ sounds[have].T  # (class, clip)
    return result | classification(score, labels)


def title_recall(score, relevant):
    best = torch.where(relevant, score, -9.0).amax(1, keepdim=True)
    rank = 1 + ((score >= best) & ~relevant).sum(1)
    return {f"R@{k}": (rank <= k).float().mean().item() for k in (1, 10)} | {"titles": float(len(score))}


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
        average.append((hit * hit.cumsum(0) / torch.arange(1, len(hit) + 1, device=hit.device)).sum().item() / n)
    return {
        "accuracy": float(accuracy),
        "standardised": float(standard),
        "P@10": float(np.mean(precision)),
        "mAP": float(np.mean(average)),
        "classes": float(classes),
        "clips": float(len(labels)),
    }
