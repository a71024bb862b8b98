"""3 × 3 convolutions whose gradient a CPU computes fast in bfloat16.

oneDNN's bfloat16 weight gradient is slow where channels are many and positions few: of CNN14's
last layer (2048 -> 2048, 43 × 2) it takes 5.0 s for eight clips, 33 times the forward pass.  As
nine matrix products, one for each tap of the kernel, it takes 0.15 s
(`benchmarks/training_step.py --convolution`).
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MIN_WEIGHTS = 2**17  # input times output channels, from where the products are faster


class Conv3x3(nn.Conv2d):
    """A 3 × 3 convolution without bias that keeps the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve: (batch, in, height, width) -> (batch, out, height, width)."""
        if not self._in_products(input):
            return super().forward(input)
        weight = self.weight.to(torch.bfloat16)
        return cast(Tensor, _Convolution.apply(input.to(torch.bfloat16), weight))

    def _in_products(self, input: Tensor) -> bool:
        return (
            self.in_channels * self.out_channels >= MIN_WEIGHTS
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and input.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
        )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, padding=1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (the decorator's doing)
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        input, weight = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        towards_input = None
        if ctx.needs_input_grad[0]:
            backward: Any = torch.ops.aten.convolution_backward
            towards_input = backward(
                gradients[0], input, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
                [True, False, False],
            )[0]  # fmt: skip
        return towards_input, weight_gradient(input, gradients[0])


def weight_gradient(
    input: Float[Tensor, "batch in height width"], gradient: Float[Tensor, "batch out height width"]
) -> Float[Tensor, "out in 3 3"]:
    """What a 3 × 3 convolution's weight gets, one matrix product for each of its nine taps."""
    height, width = input.shape[2:]
    # (batch, height + 2, width + 2, in); (out, positions)
    padded = F.pad(input.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    by_channel = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1]).t()
    taps = torch.empty(
        gradient.shape[1], 3, 3, input.shape[1], dtype=input.dtype, device=input.device
    )
    for row in range(3):
        for column in range(3):
            heard = padded[:, row : row + height, column : column + width]
            taps[:, row, column] = by_channel @ heard.reshape(-1, input.shape[1])
    return taps.permute(0, 3, 1, 2)
