"""Embeddings of a batch's sounds and captions -> the contrastive loss.  (batch, dim) twice -> ().

Deshmukh et al. 2022, equations 3 and 4.  Two readings are settled here: equation 3's τ
multiplies, so it is the inverse of a temperature, `logit_scale` = exp(t) with t learnt; equation
4 has lost its minus sign.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from wavtext.errors import TrainingError

Duplicates = Literal["negatives", "positives", "ignored"]
MAX_LOGIT_SCALE = 100.0  # as in CLIP (Radford et al. 2021, section 2.5)


def initial_log_scale(temperature: float) -> float:
    """The t whose exp(t) is 1 / temperature: 0.07 in the released code, 0.007 in the paper."""
    return -math.log(temperature)


def clamp_log_scale(log_scale: nn.Parameter, temperature: float) -> None:
    """Keep exp(log_scale) at or below 100, in place, after an optimiser's step.

    A run that starts above 100, as the paper's literal 1/0.007 = 142.9 does, has lifted the clamp.
    Clamped in place, not in the forward pass, where the gradient beyond the clamp would be zero
    for ever.
    """
    if 1.0 / temperature <= MAX_LOGIT_SCALE:
        with torch.no_grad():
            log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))


def contrastive_loss(
    audio: Float[Tensor, "batch dim"],
    text: Float[Tensor, "batch dim"],
    logit_scale: Float[Tensor, ""] | float,
    *,
    positives: Bool[Tensor, "batch batch"] | None = None,
    duplicates: Duplicates = "negatives",
) -> Float[Tensor, ""]:
    """Symmetric cross-entropy over a batch of pairs, row i of `audio` with row i of `text`.

    With C = logit_scale · audio · textᵀ, half the mean cross-entropy of C's rows plus half that
    of its columns.

    Args:
        audio: Embeddings of length 1.
        text: Embeddings of length 1.
        logit_scale: exp(t), the inverse of the temperature.
        positives: Which (sound, caption) belong together; its diagonal is true. Only needed to
            treat duplicates.
        duplicates: What a caption is that fits a sound of another row (a sibling, or the same
            words): "negatives" is the paper's loss as printed; "positives" spreads the target
            evenly over all that fit (Khosla et al. 2020, L_out); "ignored" leaves them out of the
            denominator.

    Raises:
        TrainingError: The batch has fewer than two pairs, and so no negatives.
    """
    if len(audio) < 2:
        raise TrainingError(
            "A contrastive batch needs at least two pairs; this one has one, whose loss is 0.",
            help="Raise batch_size, or train on more clips.",
        )
    logits = logit_scale * audio.float() @ text.float().T  # (sound, caption), eq. 3
    if duplicates == "negatives" or positives is None:
        diagonal = torch.arange(len(logits), device=logits.device)
        return 0.5 * (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal))
    if duplicates == "ignored":
        off_diagonal = positives & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(off_diagonal, -math.inf)
        diagonal = torch.arange(len(logits), device=logits.device)
        return 0.5 * (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal))
    target = positives.to(logits.dtype)
    by_audio = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    by_text = F.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return 0.5 * (by_audio + by_text)  # eq. 4, with its minus sign


def find_positives(
    clip_index: Int[Tensor, " batch"], text_index: Int[Tensor, " batch"]
) -> Bool[Tensor, "batch batch"]:
    """Which sound and caption belong together: captions of one clip, and identical texts.

    Args:
        clip_index: Equal where two pairs show the same clip.
        text_index: Equal where two pairs have the same words.
    """
    same_clip = clip_index[:, None] == clip_index[None, :]
    same_text = text_index[:, None] == text_index[None, :]
    return same_clip | same_text
