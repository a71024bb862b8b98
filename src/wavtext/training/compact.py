"""The compact model's audio tower, in torch.  log-mel -> representation.

The convolutional network of aiSFX (Ma and Lerch, ISMIR 2022; CC BY 4.0), changed for speed and
calm, and one small transformer layer over its time steps, so that the paper's complement of
convolution and attention (Deshmukh et al. 2022, eq. 5) holds at this size too.  Beside it, and
concatenated with it as the paper's two networks are, a small residual network of our own.  Its text
tower is a `TextEncoder` (MiniLM, mean-pooled), its projections are `NormedProjection`s.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wavtext.audio.log_mel import LogMelConfig
from wavtext.training.compact_layers import (
    ConvBlock,
    NormedConvolution,
    ResidualBlock,
    TimeAttention,
)

# aiSFX hears 96 HTK bands up to 22,050 Hz in frames of 46 ms.  The lowest 72 of them end at 8.9
# kHz, so half its sample rate, window and hop give the same bands and the same frames at three
# quarters of the cost.
FRONT_END = LogMelConfig(
    sample_rate=22_050,
    win_length=1024,
    hop_length=512,
    n_mels=72,
    f_min=0.0,
    f_max=8_914.2,
    mel_scale="htk",
)
DECIBELS_PER_UNIT = 94.6  # aiSFX maps log10(1 + 1e4 x) from [0, 9.46] to [0, 1]: 94.6 dB
PEAK_LEVEL = 0.8  # where the loudest cell of a window is put on that scale
DYNAMIC_RANGE = PEAK_LEVEL * DECIBELS_PER_UNIT  # dB kept below the loudest cell: down to zero


# of the residual network's five stages, each of which halves frequencies and all but the first
# halve time: channels, blocks at that width, and what lies between their means and their gates
_STAGES = ((24, 0, 0), (48, 1, 0), (96, 1, 0), (192, 2, 48), (320, 1, 80))


class ResNetEncoder(nn.Module):
    """Log-mel (batch, frames, 72) in dB -> representation (batch, 1024).

    It began untrained and learnt what a larger network hears (experiments/compact/follow.py).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, bands = 1, FRONT_END.n_mels
        for number, (width, blocks, gate) in enumerate(_STAGES):
            stride = (1, 2) if number == 0 else (2, 2)
            layers += [NormedConvolution(channels, width, stride), nn.ReLU()]
            layers += [ResidualBlock(width, gate) for _ in range(blocks)]
            channels, bands = width, -(-bands // 2)
        self.convolutions = nn.Sequential(*layers)
        self.width = 512  # of a time step
        self.flat, self.norm = nn.Linear(channels * bands, self.width), nn.LayerNorm(self.width)
        self.attention = TimeAttention(self.width)
        self.dim = 2 * self.width

    def forward(self, log_mel: Tensor) -> Tensor:
        """Convolve, attend over time, pool."""
        return pool(self.moments(log_mel))

    def moments(self, log_mel: Tensor) -> Tensor:
        """What is heard at each time step: (batch, frames / 16, 512)."""
        x = 4.0 * (level(log_mel).unsqueeze(1) - PEAK_LEVEL / 2)
        x = self.convolutions(x).permute(0, 2, 3, 1).flatten(2)
        return self.attention(self.norm(F.relu(self.flat(x))))


class CompactAudioEncoder(nn.Module):
    """Log-mel (batch, frames, 72) in dB -> representation (batch, 1024), or 2048 of two networks.

    Differs from aiSFX: 72 of its 96 bands; blocks may be narrower inside; the level is taken from
    the window's loudest cell, so that gain cancels out; a learnt weighting of frequencies begins as
    their mean; mean over time beside the maximum; a transformer layer before the pooling.

    Args:
        widths: Channels of the four blocks.
        inner: Channels between each block's two convolutions; None: as many as leave it.
        attention: Whether the transformer layer is there.
        resnet: Whether the residual network is there too.  What both hear is then normed, each by
            itself, and concatenated.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        *,
        inner: tuple[int, ...] | None = None,
        attention: bool = True,
        resnet: bool = False,
    ) -> None:
        super().__init__()
        inner = inner or widths
        self.conv_block1 = ConvBlock(1, widths[0], inner[0])
        self.conv_block2 = ConvBlock(widths[0], widths[1], inner[1])
        self.conv_block3 = ConvBlock(widths[1], widths[2], inner[2])
        self.conv_block4 = ConvBlock(widths[2], widths[3], inner[3])
        bands = FRONT_END.n_mels // 8
        self.frequency = nn.Parameter(torch.full((widths[3], bands), 1.0 / bands))
        self.attention = TimeAttention(widths[3]) if attention else nn.Identity()
        self.width = widths[3]  # of a time step
        self.dim = 2 * self.width
        self.resnet = ResNetEncoder() if resnet else None
        if self.resnet is not None:
            self.dim += self.resnet.dim
        self.crop_frames: int | None = None  # it hears all of its input

    @property
    def blocks(self) -> tuple[ConvBlock, ...]:
        """The four convolutional blocks, in order."""
        return self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4

    def forward(self, log_mel: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch dim"]:
        """Convolve, weigh frequencies, attend over time, pool; the residual network's beside it."""
        return self.beside(self.rest(self.stem(log_mel)), log_mel)

    def stem(self, log_mel: Tensor, blocks: int = 3) -> Tensor:
        """The first blocks: (batch, frames, mels) in dB -> (batch, 256, frames / 8, mels / 8)."""
        return self._convolve(level(log_mel).unsqueeze(1), 0, blocks)

    def rest(self, x: Tensor, blocks: int = 3) -> Tensor:
        """What follows so many blocks: what `stem` gives -> (batch, 1024)."""
        return pool(self.attention(self.steps(self._convolve(x, blocks, 3))))

    def beside(self, representation: Tensor, log_mel: Tensor) -> Tensor:
        """What `rest` gives, and what the residual network hears, if there is one: (batch, dim)."""
        if self.resnet is None:
            return representation
        both = representation, self.resnet(log_mel)
        return torch.cat([F.layer_norm(each, each.shape[1:]) for each in both], dim=1)

    def moments(self, log_mel: Tensor) -> Tensor:
        """What the first network hears at each time step: (batch, frames / 8, 512)."""
        return self.attention(self.steps(self.stem(log_mel)))

    def _convolve(self, x: Tensor, begin: int, end: int) -> Tensor:
        """Some of the first three blocks: (batch, channels, frames, bands), both halved by each."""
        for block in self.blocks[begin:end]:
            x = block.pooled(x)
        return x

    def steps(self, x: Tensor) -> Tensor:
        """The fourth block, frequencies weighed: what `stem` gives -> (batch, time, 512)."""
        return torch.einsum("bctf,cf->btc", self.conv_block4(x), self.frequency)

    def load_aisfx(self, weights: Mapping[str, Tensor]) -> None:
        """Begin from aiSFX's convolutions (`embedding_net.*` of its checkpoint)."""
        prefix = "embedding_net."
        convolutions = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        missing, unexpected = self.load_state_dict(convolutions, strict=False)
        strange = [name for name in missing if name.startswith("conv_block")] + list(unexpected)
        if strange:
            raise ValueError(f"not aiSFX's network: {', '.join(strange)}")


def pool(steps: Tensor) -> Tensor:
    """Maximum and mean over time: (batch, time, width) -> (batch, 2 width)."""
    return torch.cat([steps.amax(1), steps.mean(1)], dim=1)


def level(log_mel: Tensor) -> Tensor:
    """Put the loudest cell of each window at PEAK_LEVEL and cut DYNAMIC_RANGE below it.

    (batch, frames, mels) in dB -> the same in units of 94.6 dB: adding a gain to the sound changes
    nothing.
    """
    peak = log_mel.amax(dim=(1, 2), keepdim=True)
    return PEAK_LEVEL + torch.clamp(log_mel - peak, min=-DYNAMIC_RANGE, max=0.0) / DECIBELS_PER_UNIT
