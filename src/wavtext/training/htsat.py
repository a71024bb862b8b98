"""HTSAT, the audio transformer.  log-mel (batch, frames, mels) -> representation (batch, 768).

Chen et al. 2022, "HTS-AT"; the network is transformers' ClapAudioModel.  It takes 1024 frames:
fewer are stretched to that (bicubic), as its authors do.  More are more than 10 s at 32 kHz, as
10 s at the paper's 44.1 kHz is (1379 frames), which the paper leaves open.  Here, as in the code
its authors released: training sees one 1024-frame crop, evaluation the mean over 689-frame
windows half a window apart (0, 344 and 688 for 10 s), each stretched to 1024. At 32 kHz (10 s =
1001 frames) nothing is cropped: set [front_end] sample_rate for it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import ClapAudioConfig, ClapAudioModel

PUBLISHED_FRAMES = 1024  # that the published network takes
WINDOW_FRAMES = 689  # of its windows at evaluation; (1379 - 1) // 2 in the released code


@dataclass(frozen=True, slots=True, kw_only=True)
class HtsatConfig:
    """Widths of HTSAT; the defaults are the published "tiny" network's, 768 wide at its end."""

    embed_dim: int = 96  # of the first stage; doubles from stage to stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks of each stage
    num_heads: tuple[int, ...] = (4, 8, 16, 32)  # of each stage
    window_size: int = 8  # patches
    patch_size: int = 4  # cells
    spec_size: int = 256  # cells: the spectrogram is folded to spec_size × spec_size
    n_mels: int = 64  # bands
    mlp_ratio: float = 4.0  # hidden width of a block over its width
    drop_path: float = 0.1  # stochastic depth, rising to this
    fusion: bool = (
        False  # LAION's "fused" network; only its path for clips of up to 10 s is used here
    )

    def __post_init__(self) -> None:
        # transformers wants lists it can write as JSON; TOML gives lists too.
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "num_heads", tuple(self.num_heads))

    @property
    def dim(self) -> int:
        """Width of the representation."""
        return self.embed_dim * 2 ** (len(self.depths) - 1)

    def to_transformers(self) -> ClapAudioConfig:
        """The same network in transformers' words."""
        return ClapAudioConfig(
            window_size=self.window_size,
            num_mel_bins=self.n_mels,
            spec_size=self.spec_size,
            patch_size=self.patch_size,
            patch_stride=(self.patch_size, self.patch_size),
            hidden_size=self.dim,
            depths=list(self.depths),
            num_attention_heads=list(self.num_heads),
            patch_embeds_hidden_size=self.embed_dim,
            mlp_ratio=self.mlp_ratio,
            drop_path_rate=self.drop_path,
            hidden_dropout_prob=0.0,  # HTSAT's drop_rate; transformers' default is 0.1
            attention_probs_dropout_prob=0.0,
            num_hidden_layers=len(self.depths),
            enable_fusion=self.fusion,
            fusion_type="aff_2d" if self.fusion else None,
        )


class Htsat(nn.Module):
    """Swin transformer over a folded spectrogram; the representation is the mean of its last map.

    Args:
        model: transformers' ClapAudioModel, or the widths to make one with random weights.
    """

    def __init__(self, model: ClapAudioModel | HtsatConfig | None = None) -> None:
        super().__init__()
        if not isinstance(model, ClapAudioModel):
            model = ClapAudioModel((model or HtsatConfig()).to_transformers())
        self.model = model
        config = model.config
        self.dim = int(config.patch_embeds_hidden_size * 2 ** (len(config.depths) - 1))
        self.crop_frames: int = config.spec_size * (config.spec_size // config.num_mel_bins)
        self.fusion = bool(config.enable_fusion)

    def forward(
        self,
        log_mel: Float[Tensor, "batch frames mels"],
        crop_start: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """The representation of a batch.

        Args:
            log_mel: In dB.
            crop_start: The first frame of the crop that is heard; None hears all, in windows
                where it must.
        """
        frames = log_mel.shape[1]
        if frames <= self.crop_frames:
            return self._represent(log_mel)
        if crop_start is not None:
            return self._represent(crop(log_mel, crop_start, self.crop_frames))
        starts, length = evaluation_windows(frames, self.crop_frames)
        total = torch.zeros((), dtype=log_mel.dtype, device=log_mel.device)
        for start in starts:
            total = total + self._represent(log_mel[:, start : start + length])
        return total / len(starts)

    def _represent(self, log_mel: Tensor) -> Tensor:
        longer = None
        if self.fusion:  # no clip is longer than what the network takes: the global path alone
            longer = torch.zeros(len(log_mel), 1, dtype=torch.bool, device=log_mel.device)
        output = self.model(log_mel.unsqueeze(1), is_longer=longer)
        return output.pooler_output

    def checkpoint_gradients(self) -> None:
        """Recompute the stages' activations in the backward pass instead of keeping them."""
        function = partial(checkpoint, use_reentrant=False)
        for stage in self.model.audio_encoder.layers:
            cast(Any, stage).gradient_checkpointing = True
            cast(Any, stage)._gradient_checkpointing_func = function


def crop(
    log_mel: Float[Tensor, "batch frames mels"], start: Int[Tensor, " batch"], frames: int
) -> Float[Tensor, "batch crop mels"]:
    """`frames` frames of each clip from its own start."""
    index = start[:, None] + torch.arange(frames, device=log_mel.device)  # (batch, crop)
    return log_mel.gather(1, index[:, :, None].expand(-1, -1, log_mel.shape[2]))


def evaluation_windows(frames: int, crop_frames: int) -> tuple[list[int], int]:
    """First frames and length of the windows whose mean is an input's representation.

    For an input of more frames than the network takes.  Equals the released code's 0, 344, 688 of
    689 frames for 10 s at 44.1 kHz (1379 frames); for other lengths the windows are as dense and
    spread evenly, so that no part of the clip stays unheard, where the released code drops the
    rest.  A network that takes fewer than 1024 frames has windows as much shorter.

    Args:
        frames: Of the input, more than `crop_frames`.
        crop_frames: That the network takes.
    """
    length = crop_frames * WINDOW_FRAMES // PUBLISHED_FRAMES
    last = frames - length - (2 if crop_frames == PUBLISHED_FRAMES else 0)
    hops = max(1, -(-last // max(1, length // 2)))
    return [i * last // hops for i in range(hops + 1)], length
