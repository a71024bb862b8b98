"""What the compact model's networks are made of: convolutions with batch norm, attention over time.

Where weights learn and batch norms keep their statistics, norm and convolution are one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    return F.conv2d(
        x,
        weight,
        norm.bias - norm.running_mean * scale,
        stride=convolution.stride,
        padding=convolution.padding,
    )


class NormedConvolution(nn.Module):
    """A 3 x 3 convolution with batch norm: (batch, in, t, f) -> (batch, out, t', f').

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Over time and frequency; 2 halves.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise."""
        return _normed(self.conv, self.bn, x)


class ResidualBlock(nn.Module):
    """ReLU(x + gate * convolutions(x)), (batch, channels, t, f) -> the same; begins as ReLU(x).

    He et al. 2016, with squeeze and excitation (Hu et al. 2018): each channel's gate comes from the
    means of all channels.

    Args:
        channels: Of input and output.
        gate: Numbers between those means and the gates; 0: no gates.
    """

    def __init__(self, channels: int, gate: int = 0) -> None:
        super().__init__()
        self.conv1 = NormedConvolution(channels, channels, (1, 1))
        self.conv2 = NormedConvolution(channels, channels, (1, 1))
        nn.init.zeros_(self.conv2.bn.weight)
        self.gate: nn.Module | None = None
        if gate:
            squeeze, excite = nn.Linear(channels, gate), nn.Linear(gate, channels)
            self.gate = nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions make of it."""
        y = self.conv2(F.relu(self.conv1(x)))
        if self.gate is not None:
            y = y * self.gate(x.mean((2, 3)))[:, :, None, None]
        return F.relu(x + y)


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
