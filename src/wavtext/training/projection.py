"""Representation -> the space that sounds and captions share.  (batch, in_dim) -> (batch, out_dim).

Equation 2 of Deshmukh et al. 2022 says "independent linear projection layers"; the code its
authors released projects with a residual MLP (msclap 1.3, models/clap.py), and LAION's CLAP with
a plain one.  All three are here, with the parameter names of their origin, and the one of wavtext's
compact model.
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ProjectionKind = Literal["residual", "linear", "normed"]


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


class NormedProjection(nn.Module):
    """W x + MLP(x) of the normed representation, the MLP beginning at zero: the compact model's.

    Where both widths agree W begins as the identity, so that an encoder whose space is good begins
    with that space.
    """

    def __init__(self, in_dim: int, out_dim: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = max(512, in_dim // 2)
        self.linear = nn.Linear(in_dim, out_dim, bias=False)
        self.fc1, self.fc2 = nn.Linear(in_dim, hidden), nn.Linear(hidden, out_dim)
        self.norm = nn.LayerNorm(in_dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)
        if in_dim == out_dim:
            nn.init.eye_(self.linear.weight)

    def forward(self, x: Float[Tensor, "batch in_dim"]) -> Float[Tensor, "batch out_dim"]:
        """Project."""
        x = self.norm(x)
        return self.linear(x) + self.fc2(self.dropout(F.gelu(self.fc1(x))))


def make_projection(
    kind: ProjectionKind, in_dim: int, out_dim: int, *, dropout: float | None = None
) -> nn.Module:
    """The projection that a run's settings name; None: the kind's own dropout."""
    if kind == "linear":
        return LinearProjection(in_dim, out_dim)
    chosen = ResidualProjection if kind == "residual" else NormedProjection
    return chosen(in_dim, out_dim) if dropout is None else chosen(in_dim, out_dim, dropout=dropout)
