"""What a clip's title and description say of the teachers' labels: they mishear, and who named a
sound mostly knew.
"""

import numpy as np
import torch
import torch.nn.functional as F
from losses import loudness_of_second
from torch import Tensor

SHARPNESS = 0.07  # temperature of a text's likeness to labels
VAGUE, PLAIN = 0.4, 0.7  # likeness to the nearest label of a text that says nothing, and all
LEAST = 0.01  # that is told of a label: titles are wrong too


def told_labels(texts_of: list[list[int]], texts: Tensor, phrases: list[Tensor]) -> Tensor:
    """(clips, labels) from LEAST to 1: how well each label goes with the texts of a clip.

    The label that one of them is most like has 1; where all are like none, all labels have.

    Args:
        texts_of: The texts of each clip, by number.
        texts: (texts, dim), a sentence encoder's.
        phrases: Each label's, (phrases, dim).
    """
    plain = F.normalize(texts, dim=-1)
    alike = torch.stack([(plain @ F.normalize(some, dim=-1).T).amax(1) for some in phrases], dim=1)
    alike = torch.stack([alike[some].amax(0) for some in texts_of])
    most = alike.amax(1, keepdim=True)
    trust = ((most - VAGUE) / (PLAIN - VAGUE)).clamp(0, 1)
    return ((alike - most) / SHARPNESS).exp().clamp(min=LEAST) ** trust


def correct(scores: Tensor, told: Tensor, who: np.ndarray, below: Tensor, share: float) -> Tensor:
    """The teachers' scores (crops, labels) by what is told of the sounds in each crop.

    The highest score stays as high.  So a label gains at most 1 / LEAST, and one that the teachers
    do not hear at all stays at 0.

    Args:
        scores: Theirs.
        told: Of `told_labels`.
        who: (crops, 2), the clips that a crop mixes; -1: no second one.
        below: (crops,), how far the second lies below the first, in dB.
        share: Power of what is told; 0 changes nothing.
    """
    first, second = torch.from_numpy(who.astype(np.int64)).T
    much = torch.where(second >= 0, loudness_of_second(below), 0.0)
    of_crop = torch.maximum(told[first], told[second.clamp(min=0)] * much[:, None])
    found = scores * of_crop**share
    highest = found.amax(1, keepdim=True).clamp(min=1e-6)
    return found * (scores.amax(1, keepdim=True) / highest)
