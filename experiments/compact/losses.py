"""What the compact model's audio tower learns from: the losses of fit.py over a batch of crops.

Embeddings have length 1.
"""

import random
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRONG = 0.1  # a teacher's score from which a label counts as heard
NEIGHBOURS = 0.07  # temperature of `relate_loss`
UNLIKELY = -1e4


def loudness_of_second(below: Tensor) -> Tensor:
    """How much a sound is heard that lies so far (dB) below another, from 0 to 1."""
    return torch.sigmoid((6.0 - below) / 3)


def heard_texts(
    who: np.ndarray, below: Tensor, texts_of: Sequence[Sequence[int]], *, distinct: bool = True
) -> tuple[list[int], Tensor]:
    """One text of each sound that a crop holds, and how much it is heard there.

    Args:
        who: (crops, 2), the clips that a crop mixes; -1: no second one.
        below: (crops,), how far the second lies below the first, in dB.
        texts_of: The texts of each clip, by number.
        distinct: Whether crops of one text share a column.

    Returns:
        The texts' numbers, and (crops, texts), 1 for a crop's first sound.
    """
    texts: list[int] = []
    column_of: dict[int, int] = {}
    cells = []

    def heard(row: int, clip: int, much: float) -> None:
        text = random.choice(texts_of[clip])
        if not distinct or text not in column_of:
            column_of[text] = len(texts)
            texts.append(text)
        cells.append((row, column_of[text], much))

    for row, (first, second) in enumerate(who):
        heard(row, first, 1.0)
        if second >= 0 and below[row] < 10:
            heard(row, second, float(loudness_of_second(below[row])))
    target = torch.zeros(len(who), len(texts))
    for row, column, much in cells:
        target[row, column] = max(float(target[row, column]), much)
    return texts, target


def caption_loss(
    heard: Tensor, asked: Tensor, target: Tensor, near: Tensor, scale: Tensor
) -> Tensor:
    """Symmetric cross-entropy of crops (crops, dim) and texts (texts, dim): Deshmukh et al. 2022,
    eq. 3-4.

    Args:
        heard: (crops, dim).
        asked: (texts, dim).
        target: (crops, texts), of `heard_texts`.
        near: (texts, texts), which mean nearly the same: no negatives of each other's crops.
        scale: What multiplies cosines.
    """
    ignored = ((target > 0).float() @ near.float() > 0) & (target == 0)
    logits = (scale * heard @ asked.T).masked_fill(ignored, UNLIKELY)
    rows = target / target.sum(1, keepdim=True)
    columns = target / target.sum(0, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, columns.T))


def bank_loss(heard: Tensor, named: Tensor, scores: Tensor, scale: Tensor) -> Tensor:
    """Each crop's labels, and each strongly heard label's crops, as the teachers have them.

    Args:
        heard: (crops, dim).
        named: (labels, dim), one phrase of each of the teachers' labels.
        scores: (crops, labels), theirs.
        scale: What multiplies cosines.
    """
    logits = scale * heard @ named.T
    sure = (scores.amax(1) * 2).clamp(max=1.0)
    labels = scores / scores.sum(1, keepdim=True).clamp(min=1e-3)
    by_crop = (-(labels * F.log_softmax(logits, 1)).sum(1) * sure).mean()
    strong = scores * (scores > STRONG)
    found = strong.sum(0) > 3 * STRONG
    crops = strong / strong.sum(0, keepdim=True).clamp(min=1e-3)
    by_label = -(crops * F.log_softmax(logits, 0)).sum(0)[found].mean()
    return by_crop + 0.5 * by_label


def relate_loss(heard: Tensor, representation: Tensor) -> Tensor:
    """Each crop's neighbours in the batch, as the teachers' representations have them."""
    itself = torch.eye(len(heard), dtype=torch.bool)

    def cosines(some: Tensor) -> Tensor:
        return (some @ some.T / NEIGHBOURS).masked_fill(itself, UNLIKELY)

    likely = cosines(F.normalize(representation, dim=-1)).softmax(1)
    return -(likely * cosines(heard).log_softmax(1)).sum(1).mean()


def calm_loss(spoilt: Tensor, clean: Tensor) -> Tensor:
    """A spoilt crop and its clean self, row by row, have one embedding."""
    apart = (1 - (spoilt * clean).sum(1)).mean()
    return 4 * apart + 0.2 * F.cross_entropy(20 * spoilt @ clean.T, torch.arange(len(clean)))


def follow_loss(heard: Tensor, followed: Tensor) -> Tensor:
    """How far crops are from a tutor's embeddings of them, row by row: the mean of 1 - cosine."""
    return 1 - (heard * followed.float()).sum(1).mean()
