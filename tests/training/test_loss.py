"""The loss of equations 3 and 4, by hand and against the released code's numbers."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from wavtext.errors import TrainingError
from wavtext.training.layouts import num_attention_heads
from wavtext.training.loss import (
    clamp_log_scale,
    contrastive_loss,
    find_positives,
    initial_log_scale,
)
from wavtext.training.projection import ResidualProjection, make_projection


def unit(*rows: tuple[float, float]) -> torch.Tensor:
    return nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def test_two_pairs_by_hand():
    audio, text = unit((1, 0), (0, 1)), unit((1, 0), (1, 0))
    # scale 2: logits [[2, 2], [0, 0]]; rows give log 2 each, columns log(1 + e^-2) and log(1 + e^2)
    rows = math.log(2)
    columns = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert contrastive_loss(audio, text, 2.0).item() == pytest.approx(0.5 * (rows + columns))


def test_a_collapsed_model_scores_the_logarithm_of_the_batch():
    same = unit(*[(1, 1)] * 7)
    assert contrastive_loss(same, same, 30.0).item() == pytest.approx(math.log(7))


def test_siblings_count_as_positives_or_not_at_all():
    audio = unit((1, 0), (1, 0), (0, 1))
    text = unit((1, 0), (1, 0), (0, 1))
    positives = find_positives(torch.tensor([4, 4, 9]), torch.tensor([0, 1, 2]))
    assert positives.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    printed = contrastive_loss(audio, text, 50.0)
    ignored = contrastive_loss(audio, text, 50.0, positives=positives, duplicates="ignored")
    spread = contrastive_loss(audio, text, 50.0, positives=positives, duplicates="positives")
    assert printed.item() == pytest.approx(math.log(2) * 2 / 3)  # each sibling is held against it
    assert ignored.item() == pytest.approx(0.0, abs=1e-6)
    assert spread.item() == pytest.approx(math.log(2) * 2 / 3)  # the entropy of its targets
    moved = unit((1, 0), (1, 0.3), (0, 1))
    worse = contrastive_loss(audio, moved, 50.0, positives=positives, duplicates="positives")
    assert worse > spread


def test_without_duplicates_all_three_are_the_printed_loss():
    audio, text = torch.randn(2, 5, 8).unbind()
    own = torch.eye(5, dtype=torch.bool)
    printed = contrastive_loss(audio, text, 3.0)
    for duplicates in ("positives", "ignored"):
        same = contrastive_loss(audio, text, 3.0, positives=own, duplicates=duplicates)
        torch.testing.assert_close(same, printed)


def test_identical_texts_are_positives():
    positives = find_positives(torch.arange(3), torch.tensor([5, 6, 5]))
    assert positives[0, 2]
    assert not positives[0, 1]


def test_one_pair_has_no_negatives_and_is_refused():
    with pytest.raises(TrainingError, match="at least two pairs"):
        contrastive_loss(unit((1, 0)), unit((1, 0)), 1.0)


@pytest.mark.parametrize(("temperature", "limit"), [(0.07, 100.0), (0.007, 1 / 0.0001)])
def test_the_scale_is_clamped_at_100_unless_it_starts_beyond(temperature: float, limit: float):
    scale = nn.Parameter(torch.tensor(initial_log_scale(temperature)))
    assert scale.exp().item() == pytest.approx(1 / temperature, rel=1e-5)
    with torch.no_grad():
        scale.fill_(math.log(10_000.0))
    clamp_log_scale(scale, temperature)
    assert scale.exp().item() == pytest.approx(limit, rel=1e-4)


def test_projection_text_tower_and_loss_are_those_of_msclap(shared: Path):
    from transformers import RobertaConfig, RobertaModel

    from wavtext.training.text import TextEncoder

    values = load_file(shared / "reference" / "msclap_head_text_tiny.safetensors")
    config = RobertaConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    roberta = RobertaModel(config, add_pooling_layer=False)
    roberta.load_state_dict(part(values, "sd.text."))
    text = TextEncoder(roberta, "cls").eval()
    heads = {
        name: ResidualProjection(width, 32).eval() for name, width in (("audio", 96), ("text", 64))
    }
    for name, head in heads.items():
        head.load_state_dict(part(values, f"sd.{name}_proj."))
    with torch.no_grad():
        a = heads["audio"](values["in.audio_feat"])
        t = heads["text"](text(values["in.ids"], values["in.mask"]))
    torch.testing.assert_close(a, values["out.audio_embed"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(t, values["out.text_embed"], rtol=1e-4, atol=1e-5)
    a, t = nn.functional.normalize(a, dim=1), nn.functional.normalize(t, dim=1)
    scale = values["out.logit_scale"].exp()
    assert contrastive_loss(a, t, scale).item() == pytest.approx(
        values["out.loss"].item(), rel=1e-4
    )


def part(values: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def test_projections_have_the_shapes_of_the_paper():
    x = torch.randn(2, 2816)
    for kind in ("linear", "residual"):
        assert make_projection(kind, 2816, 1024)(x).shape == (2, 1024)


@pytest.mark.parametrize(
    ("dim", "heads"), [(768, 12), (1024, 16), (128, 2), (64, 4), (96, 4), (300, 12), (50, 2)]
)
def test_published_text_encoders_have_heads_of_64_and_toys_have_four(dim: int, heads: int):
    assert num_attention_heads(dim) == heads
