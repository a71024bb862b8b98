"""The two-tower model.  log-mel and token ids -> embeddings in one space.

Deshmukh et al. 2022, figure 2: f(a) and g(t) give representations (eq. 1; its x_t = {f(a_i)} is a
slip for g(t_i)), projections bring them to a common space of d dimensions (eq. 2), and embeddings
have length 1, as in the released code, which the paper does not state.
"""

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from wavtext.training.loss import initial_log_scale


class TwoTowers(Protocol):
    """What the loop trains: `Clap`, or a model of yours with these three names."""

    logit_scale: nn.Parameter  # t, the logarithm

    def embed_audio(self, log_mel: Tensor) -> Tensor:
        """(batch, frames, mels) -> (batch, dim) of length 1."""
        ...

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) -> (batch, dim) of length 1."""
        ...


class Clap(nn.Module):
    """Audio and text tower, each with its projection, and the learnt logit scale.

    Args:
        audio: log-mel (batch, frames, mels) -> (batch, audio.dim).
        text: input_ids, attention_mask (batch, tokens) -> (batch, text.dim).
        audio_projection: (batch, audio.dim) -> (batch, d).
        text_projection: (batch, text.dim) -> (batch, d).
        temperature: The logit scale begins at 1 / temperature.
    """

    def __init__(
        self,
        audio: nn.Module,
        text: nn.Module,
        audio_projection: nn.Module,
        text_projection: nn.Module,
        *,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.audio, self.text = audio, text
        self.audio_projection, self.text_projection = audio_projection, text_projection
        self.logit_scale = nn.Parameter(torch.tensor(initial_log_scale(temperature)))

    def embed_audio(
        self,
        log_mel: Float[Tensor, "batch frames mels"],
        crop_start: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embeddings of sounds, of length 1.

        Args:
            log_mel: In dB.
            crop_start: For towers that hear a crop of their input in training (HTSAT); None at
                evaluation.
        """
        heard = (log_mel,) if crop_start is None else (log_mel, crop_start)
        representation = self.audio(*heard)  # (batch, audio.dim), eq. 1
        return F.normalize(self.audio_projection(representation).float(), dim=-1)  # eq. 2

    def embed_text(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embeddings of captions, of length 1."""
        representation = self.text(input_ids, attention_mask)  # (batch, text.dim)
        return F.normalize(self.text_projection(representation).float(), dim=-1)


class ConcatEncoder(nn.Module):
    """CNN14 and HTSAT side by side: f(a) = concat(CNN14(a), HTSAT(a)), 2816 wide.

    Deshmukh et al. 2022, eq. 5.  CNN14 hears the whole input (20 s in the paper), HTSAT its crop
    inside it.
    """

    def __init__(self, cnn14: nn.Module, htsat: nn.Module) -> None:
        super().__init__()
        self.cnn14, self.htsat = cnn14, htsat
        self.dim = cast(int, cnn14.dim) + cast(int, htsat.dim)
        self.crop_frames = cast(int, htsat.crop_frames)

    def forward(
        self,
        log_mel: Float[Tensor, "batch frames mels"],
        crop_start: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Both representations, one after the other."""
        return torch.cat([self.cnn14(log_mel), self.htsat(log_mel, crop_start)], dim=1)
