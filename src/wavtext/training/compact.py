"""The compact model's audio tower, in torch.  log-mel -> representation.

The convolutional network of aiSFX (Ma and Lerch, ISMIR 2022; CC BY 4.0), changed for speed and
calm, and one small transformer layer over its time steps, so that the paper's complement of
convolution and attention (Deshmukh et al. 2022, eq. 5) holds at this size too.  Its text tower is
a `TextEncoder` (MiniLM, mean-pooled), its projections are `NormedProjection`s.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wavtext.audio.log_mel import LogMelConfig

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


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and ReLU: (batch, in, t, f) -> (batch, out, t, f).

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        inner_channels: Between the convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, inner_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(inner_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve twice."""
        return F.relu(self._convolve(x))

    def pooled(self, x: Tensor) -> Tensor:
        """Convolve twice, then the largest of each 2 x 2: t and f are halved."""
        if _learns():  # ReLU after the pooling gives the same, and is a quarter of it
            return F.relu(F.max_pool2d(self._convolve(x), 2))
        return F.max_pool2d(self(x), 2)

    def _convolve(self, x: Tensor) -> Tensor:
        """All but the last ReLU."""
        x = F.relu(_normed(self.conv1, self.bn1, x))
        return _normed(self.conv2, self.bn2, x)


def _learns() -> bool:
    """Whether a step may follow.  What is exported keeps its layers as engines fuse them."""
    return torch.is_grad_enabled() and not torch.compiler.is_exporting()


def _normed(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Convolution and batch norm; where weights learn and statistics stay, in one convolution."""
    if norm.training or not _learns():
        return norm(convolution(x))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, norm.bias - norm.running_mean * scale, padding=convolution.padding)


class TimeAttention(nn.Module):
    """One pre-norm transformer layer over time steps.  (batch, time, dim) -> the same.

    Its last weights begin at zero, so that a network with the layer begins as the network without
    it.
    """

    def __init__(self, dim: int, inner: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * inner)
        self.out = nn.Linear(inner, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * inner), nn.Linear(2 * inner, dim)
        for layer in (self.out, self.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then transform each step."""
        batch, time, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, -1).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (batch, heads, time, dim)
        weight = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
        x = x + self.out((weight @ v).transpose(1, 2).reshape(batch, time, -1))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class CompactAudioEncoder(nn.Module):
    """Log-mel (batch, frames, 72) in dB -> representation (batch, 1024).

    Differs from aiSFX: 72 of its 96 bands; blocks may be narrower inside; the level is taken from
    the window's loudest cell, so that gain cancels out; a learnt weighting of frequencies begins as
    their mean; mean over time beside the maximum; a transformer layer before the pooling.

    Args:
        widths: Channels of the four blocks.
        inner: Channels between each block's two convolutions; None: as many as leave it.
        attention: Whether the transformer layer is there.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        *,
        inner: tuple[int, ...] | None = None,
        attention: bool = True,
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
        self.dim = 2 * widths[3]
        self.crop_frames: int | None = None  # it hears all of its input

    @property
    def blocks(self) -> tuple[ConvBlock, ...]:
        """The four convolutional blocks, in order."""
        return self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4

    def forward(self, log_mel: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch dim"]:
        """Convolve, weigh frequencies, attend over time, pool."""
        return self.rest(self.stem(log_mel))

    def stem(self, log_mel: Tensor, blocks: int = 3) -> Tensor:
        """The first blocks: (batch, frames, mels) in dB -> (batch, 256, frames / 8, mels / 8)."""
        return self._convolve(level(log_mel).unsqueeze(1), 0, blocks)

    def rest(self, x: Tensor, blocks: int = 3) -> Tensor:
        """What follows so many blocks: what `stem` gives -> (batch, dim)."""
        return self.pool(self.steps(self._convolve(x, blocks, 3)))

    def _convolve(self, x: Tensor, begin: int, end: int) -> Tensor:
        """Some of the first three blocks: (batch, channels, frames, bands), both halved by each."""
        for block in self.blocks[begin:end]:
            x = block.pooled(x)
        return x

    def steps(self, x: Tensor) -> Tensor:
        """The fourth block, frequencies weighed: what `stem` gives -> (batch, time, 512)."""
        return torch.einsum("bctf,cf->btc", self.conv_block4(x), self.frequency)

    def pool(self, steps: Tensor) -> Tensor:
        """Attention over time, then maximum and mean: (batch, time, 512) -> (batch, dim)."""
        steps = self.attention(steps)
        return torch.cat([steps.amax(1), steps.mean(1)], dim=1)

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


def level(log_mel: Tensor) -> Tensor:
    """Put the loudest cell of each window at PEAK_LEVEL and cut DYNAMIC_RANGE below it.

    (batch, frames, mels) in dB -> the same in units of 94.6 dB: adding a gain to the sound changes
    nothing.
    """
    peak = log_mel.amax(dim=(1, 2), keepdim=True)
    return PEAK_LEVEL + torch.clamp(log_mel - peak, min=-DYNAMIC_RANGE, max=0.0) / DECIBELS_PER_UNIT
