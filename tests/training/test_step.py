"""Gradients of a batch: in chunks they are those of the plain step."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wavtext.training.build import build
from wavtext.training.config import AudioConfig, TextConfig, TrainConfig
from wavtext.training.convolution import Conv3x3
from wavtext.training.data import Batch
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.step import Paired, compute_gradients

MakeConfig = Callable[..., TrainConfig]
CAPTIONS = ["a dog barks", "rain falls on a roof", "a bell", "wind in trees"]


def make_batch(size: int, frames: int = 40, mels: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        log_mel=torch.randn(size, frames, mels, generator=generator) * 20 - 40,
        input_ids=torch.randint(5, 60, (size, 7), generator=generator),
        attention_mask=torch.ones(size, 7, dtype=torch.int64),
        clip_index=torch.arange(size) // 2,
        text_index=torch.arange(size),
    )


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.fixture
def model(tiny_config: MakeConfig) -> nn.Module:
    return build(tiny_config(), CAPTIONS).model


@pytest.mark.parametrize("duplicates", ["negatives", "positives", "ignored"])
def test_chunks_give_the_gradients_of_the_plain_step(model: nn.Module, duplicates: str):
    model.train()
    freeze_batch_norm(model)
    model.get_submodule("text").eval()  # dropout off: the plain step would draw other masks
    batch = make_batch(10)
    paired = Paired(model)
    loss = compute_gradients(paired, batch, duplicates=duplicates)  # type: ignore[arg-type]
    plain = gradients(model)
    chunked_loss = compute_gradients(
        paired,
        batch,
        duplicates=duplicates,  # type: ignore[arg-type]
        chunk_size=3,
    )
    chunked = gradients(model)
    assert float(chunked_loss) == pytest.approx(float(loss), rel=1e-6)
    assert plain.keys() == chunked.keys()
    assert "logit_scale" in plain
    for name, gradient in plain.items():
        torch.testing.assert_close(
            chunked[name], gradient, rtol=1e-5, atol=1e-9 + 1e-5 * float(gradient.abs().max())
        )


def test_dropout_is_replayed_in_the_second_pass(model: nn.Module):
    """With dropout on, the gradients are those of the embeddings that the loss saw."""
    model.train()
    freeze_batch_norm(model)
    batch, paired = make_batch(6), Paired(model)
    torch.manual_seed(5)
    with torch.no_grad():
        seen = [paired(chunk) for chunk in batch.chunks(2)]
    torch.manual_seed(5)
    first = compute_gradients(paired, batch, chunk_size=2)
    chunked = gradients(model)
    # the same masks, drawn in the same order, in one graph
    torch.manual_seed(5)
    parts = [paired(chunk) for chunk in batch.chunks(2)]
    from wavtext.training.loss import contrastive_loss

    audio, text = torch.cat([p.audio for p in parts]), torch.cat([p.text for p in parts])
    assert torch.equal(text, torch.cat([p.text for p in seen]))
    loss = contrastive_loss(audio, text, parts[0].logit_scale)
    loss.backward()
    assert first.item() == pytest.approx(loss.item(), rel=1e-6)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(
            chunked[name], gradient, rtol=1e-4, atol=1e-9 + 1e-5 * float(gradient.abs().max())
        )


def test_running_statistics_count_each_chunk_once(model: nn.Module):
    model.train()
    batch, paired = make_batch(6), Paired(model)
    norm = model.audio.bn0  # type: ignore[union-attr]
    expected = norm.running_mean.clone()
    for chunk in batch.chunks(3):
        expected = 0.9 * expected + 0.1 * chunk.log_mel.mean((0, 1))
    compute_gradients(paired, batch, chunk_size=3)
    torch.testing.assert_close(norm.running_mean, expected)
    assert int(norm.num_batches_tracked) == 2


@pytest.mark.parametrize("encoder", ["cnn14", "htsat", "cnn14+htsat"])
def test_gradient_checkpointing_changes_no_number(tiny_config: MakeConfig, encoder: str):
    base = tiny_config().audio
    audio = AudioConfig(
        encoder=encoder,  # type: ignore[arg-type]
        duration=1.0,
        htsat_duration=0.5,
        cnn14_channels=base.cnn14_channels,
        cnn14_dim=base.cnn14_dim,
        htsat=base.htsat,
    )
    found: list[dict[str, Tensor]] = []
    statistics: list[Tensor] = []
    for recompute in (False, True):
        config = tiny_config(audio=audio, gradient_checkpointing=recompute)
        model = build(config, CAPTIONS).model.train()
        torch.manual_seed(3)
        compute_gradients(Paired(model), make_batch(4))
        found.append(gradients(model))
        statistics += [b for n, b in model.named_buffers() if n.endswith("running_mean")]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-7)
    half = len(statistics) // 2
    for plain, recomputed in zip(statistics[:half], statistics[half:], strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_bf16_stays_close_to_fp32_and_the_loss_is_fp32(model: nn.Module):
    model.eval()
    batch = make_batch(4)
    exact = compute_gradients(Paired(model), batch)
    rough = compute_gradients(Paired(model, bf16=True), batch)
    assert rough.dtype == torch.float32
    assert float(rough) == pytest.approx(float(exact), abs=0.1)


def test_a_frozen_tower_gets_no_gradients(tiny_config: MakeConfig):
    config = tiny_config(text=TextConfig(name="random", layers=1, dim=32, heads=2, frozen=True))
    model = build(config, CAPTIONS).model
    compute_gradients(Paired(model), make_batch(4), chunk_size=2)
    names = set(gradients(model))
    assert not any(name.startswith("text.") for name in names)
    assert any(name.startswith("audio.") for name in names)
    assert "text_projection.linear.weight" in names


@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 1, 1), (1, 8, 2)])
def test_wide_convolutions_have_the_gradients_of_plain_ones_in_bf16(shape: tuple[int, int, int]):
    ours = Conv3x3(256, 512)
    plain = torch.nn.Conv2d(256, 512, 3, padding=1, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(shape[0], 256, *shape[1:])
    towards = torch.randn(shape[0], 512, *shape[1:])
    found: list[tuple[torch.Tensor, ...]] = []
    for layer in (ours, plain):
        heard = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(heard)
        (output.float() * towards).sum().backward()
        assert layer.weight.grad is not None
        assert heard.grad is not None
        found.append((output.detach(), heard.grad, layer.weight.grad))
    heard = x.clone().requires_grad_()
    exact = plain(heard)
    plain.zero_grad()
    (exact * towards).sum().backward()
    for mine, theirs, truth in zip(*found, (exact, heard.grad, plain.weight.grad), strict=True):
        assert mine.dtype is theirs.dtype
        errors = [(each.float() - truth).abs().max() / truth.abs().max() for each in (mine, theirs)]
        assert errors[0] < 0.01 + errors[1]
        assert errors[0] < 0.02
