"""Model + held-out clips, whole and in deterministic windows -> retrieval metrics, both ways."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wavtext.evaluation.metrics import average_precision_at, recall_at
from wavtext.training.cache import read_log_mel
from wavtext.training.clap import TwoTowers
from wavtext.training.data import Pairs, windows
from wavtext.training.text import CaptionTokenizer

BATCH = 16  # windows or captions embedded at once


@torch.no_grad()
def validate(
    model: TwoTowers,
    pairs: Pairs,
    tokenizer: CaptionTokenizer,
    *,
    frames: int,
    device: torch.device,
    bf16: bool = False,
) -> dict[str, float]:
    """Metrics of the split by name; all captions are queries, all its clips are the pool.

    A clip is the mean of its windows' embeddings, of length 1 again.  Captions with the same
    words share their relevant clips, so that a title that many clips bear is not held against the
    model.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        audio = embed_clips(model, pairs, frames=frames, device=device)
        text = embed_captions(model, pairs.captions, tokenizer, device=device)
    score = text @ audio.T  # (caption, clip)
    words = np.unique(
        [" ".join(t.casefold().split()) for t in pairs.captions], return_inverse=True
    )[1]
    relevant = np.zeros(score.shape, dtype=bool)
    for word in range(int(words.max()) + 1):
        same = words == word
        relevant[np.ix_(same, np.unique(np.asarray(pairs.clip_of)[same]))] = True
    metrics = {"pool": float(len(pairs.clips)), "captions": float(len(pairs.captions))}
    metrics["text_to_audio mAP@10"] = average_precision_at(score, relevant, 10)
    metrics["audio_to_text mAP@10"] = average_precision_at(score.T, relevant.T, 10)
    for k in (1, 5, 10):
        metrics[f"text_to_audio R@{k}"] = recall_at(score, relevant, k)
        metrics[f"audio_to_text R@{k}"] = recall_at(score.T, relevant.T, k)
    return metrics


def embed_clips(
    model: TwoTowers, pairs: Pairs, *, frames: int, device: torch.device
) -> Float[np.ndarray, "clips dim"]:
    """Mean of each clip's windows' embeddings, of length 1."""
    waiting: list[tuple[int, np.ndarray]] = []
    total: list[Tensor | float] = [0.0] * len(pairs.clips)

    def flush() -> None:
        if not waiting:
            return
        log_mel = torch.from_numpy(np.stack([window for _, window in waiting])).to(device)
        for (clip, _), embedding in zip(waiting, model.embed_audio(log_mel).float(), strict=True):
            total[clip] = total[clip] + embedding
        waiting.clear()

    for clip, file in enumerate(pairs.files):
        for window in windows(read_log_mel(file), frames):
            waiting.append((clip, window))
            if len(waiting) == BATCH:
                flush()
    flush()
    stacked = torch.stack([torch.as_tensor(each) for each in total])
    return torch.nn.functional.normalize(stacked, dim=-1).cpu().numpy()


def embed_captions(
    model: TwoTowers,
    captions: tuple[str, ...],
    tokenizer: CaptionTokenizer,
    *,
    device: torch.device,
) -> Float[np.ndarray, "captions dim"]:
    """Each caption's embedding."""
    parts: list[Tensor] = []
    for start in range(0, len(captions), BATCH):
        tokens = tokenizer(captions[start : start + BATCH])
        parts.append(
            model.embed_text(tokens.input_ids.to(device), tokens.attention_mask.to(device)).float()
        )
    return torch.cat(parts).cpu().numpy()
