"""CNN14 of PANNs.  log-mel (batch, frames, mels) -> representation (batch, 2048).

Kong et al. 2020, "PANNs", table III.  Parameter names are the published checkpoint's, so its
weights load as they are.  The representation is what PANNs calls the embedding: relu(fc1(max over
time + mean over time)).
"""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wavtext.training.convolution import Conv3x3
from wavtext.training.memory import recomputed

CHANNELS = (64, 128, 256, 512, 1024, 2048)  # of the published network
MIN_FRAMES = 32  # five halvings in time must leave one step


class ConvBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm and ReLU, then an average pool."""

    def __init__(self, in_channels: int, out_channels: int, *, pool: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Convolve twice, pool once."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, self.pool) if self.pool > 1 else x


class Cnn14(nn.Module):
    """Six convolution blocks, pooled over frequency, then over time.

    Args:
        channels: Output channels of the blocks.
        dim: Width of the representation.
        n_mels: Bands of the log-mel.
        block_dropout: After each block; PANNs trains with 0.2.
        head_dropout: Before and after fc1; PANNs trains with 0.5.
    """

    crop_frames: int | None = None  # takes any length

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        dim: int = 2048,
        *,
        n_mels: int = 64,
        block_dropout: float = 0.2,
        head_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(n_mels)
        for i, (before, after) in enumerate(zip((1, *channels), channels, strict=False), start=1):
            block = ConvBlock(before, after, pool=1 if i == len(channels) else 2)
            self.add_module(f"conv_block{i}", block)
        self.num_blocks = len(channels)
        self.fc1 = nn.Linear(channels[-1], dim)
        self.dim = dim
        self.block_dropout, self.head_dropout = block_dropout, head_dropout
        self.gradient_checkpointing = False

    def forward(self, log_mel: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch dim"]:
        """The representation of a batch; clips shorter than 32 frames repeat."""
        if log_mel.shape[1] < MIN_FRAMES:
            repeats = -(-MIN_FRAMES // log_mel.shape[1])
            log_mel = log_mel.repeat(1, repeats, 1)[:, :MIN_FRAMES]
        x = log_mel.unsqueeze(1)  # (batch, 1, frames, mels)
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)  # bn0 normalises bands
        for i in range(1, self.num_blocks + 1):
            block = cast(ConvBlock, self.get_submodule(f"conv_block{i}"))
            x = recomputed(block, x) if self.gradient_checkpointing and self.training else block(x)
            x = F.dropout(x, self.block_dropout, self.training)
        x = x.mean(3)  # (batch, channels, frames / 32)
        x = x.amax(2) + x.mean(2)  # (batch, channels)
        x = F.dropout(x, self.head_dropout, self.training)
        x = F.relu(self.fc1(x))
        return F.dropout(x, self.head_dropout, self.training)
