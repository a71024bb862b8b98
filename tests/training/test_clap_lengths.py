"""Embeddings of both towers have length 1, each by itself (eq. 2, as the released code)."""

import torch
from torch import nn

from wavtext.training.clap import Clap


class Same(nn.Module):
    """Gives what it is given."""

    def forward(self, given: torch.Tensor, *_: object) -> torch.Tensor:
        return given


def test_each_embedding_has_length_1_and_its_own_direction():
    given = torch.tensor([[3.0, 4.0], [0.0, 5.0], [-8.0, 6.0]])
    model = Clap(Same(), Same(), nn.Identity(), nn.Identity())
    expected = torch.tensor([[0.6, 0.8], [0.0, 1.0], [-0.8, 0.6]])
    torch.testing.assert_close(model.embed_audio(given), expected)
    torch.testing.assert_close(model.embed_text(given), expected)
