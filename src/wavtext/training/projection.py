"""Representation -> the space that sounds and captions share.  (batch, in_dim) -> (batch, out_dim).

Equation 2 of Deshmukh et al. 2022 says "independent linear projection layers"; the code its
authors released projects with a residual MLP (msclap 1.3, models/clap.py), and LAION's CLAP with
a plain one.  All three are here, with the parameter names of their origin.
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ProjectionKind = Literal["residual", "linear"]


class LinearProjection(nn.Module):
    """W x, as the paper's text has it."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim, bias=False)

    def forward(self, x: Float[Tensor, "batch in_dim"]) -> Float[Tensor, "batch out_dim"]:
        """Project."""
        return self.linear(x)


class ResidualProjection(nn.Module):
    """LayerNorm(e + dropout(W2 · gelu(e))), e = W1 · x, no biases: the released code's."""

    def __init__(self, in_dim: int, out_dim: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, out_dim, bias=False)
        self.linear2 = nn.Linear(out_dim, out_dim, bias=False)
        self.layer_norm = nn.LayerNorm(out_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch in_dim"]) -> Float[Tensor, "batch out_dim"]:
        """Project."""
        e = self.linear1(x)  # (batch, out_dim)
        return self.layer_norm(e + self.dropout(self.linear2(F.gelu(e))))


class MlpProjection(nn.Module):
    """W2 · relu(W1 · x + b1) + b2: of LAION's CLAP and of transformers' ClapModel."""

    def __init__(self, in_dim: int, out_dim: int, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, out_dim)
        self.activation = activation or nn.ReLU()
        self.linear2 = nn.Linear(out_dim, out_dim)

    def forward(self, x: Float[Tensor, "batch in_dim"]) -> Float[Tensor, "batch out_dim"]:
        """Project."""
        return self.linear2(self.activation(self.linear1(x)))


def make_projection(kind: ProjectionKind, in_dim: int, out_dim: int) -> nn.Module:
    """The projection that a run's settings name."""
    if kind == "linear":
        return LinearProjection(in_dim, out_dim)
    return ResidualProjection(in_dim, out_dim)
