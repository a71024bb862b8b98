"""Settings -> a model with its tokenizer: towers by name, weights where the settings name some."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import nn

from wavtext.errors import ConfigError
from wavtext.training.checkpoint import read_tensors
from wavtext.training.clap import Clap, ConcatEncoder
from wavtext.training.cnn14 import Cnn14
from wavtext.training.compact import FRONT_END, CompactAudioEncoder
from wavtext.training.config import AudioConfig, TextConfig, TrainConfig
from wavtext.training.htsat import Htsat
from wavtext.training.projection import make_projection
from wavtext.training.text import (
    CaptionTokenizer,
    TextEncoder,
    load_text_encoder,
    load_tokenizer,
    train_tokenizer,
)


@dataclass(frozen=True, slots=True)
class Built:
    """A model ready to train, and how its captions become tokens."""

    model: Clap
    tokenizer: CaptionTokenizer
    crop_frames: int | None  # what the audio tower hears of its input in training; None: all


def build(
    config: TrainConfig, captions: Iterable[str] = (), *, tokenizer: Tokenizer | None = None
) -> Built:
    """A model with the settings' widths; untrained parts are drawn from the settings' seed.

    Args:
        config: The run's settings.
        captions: To learn a tokenizer from, where the settings name none and the text encoder
            brings none.
        tokenizer: One that was learnt before, which replaces that.
    """
    torch.manual_seed(config.seed)
    audio = build_audio(config.audio, n_mels=config.front_end.n_mels)
    text, caption_tokenizer = build_text(config.text, captions, tokenizer)
    widths: Any = (audio.dim, text.dim)
    into = config.projection
    projections = [
        make_projection(into.kind, width, into.dim, dropout=into.dropout) for width in widths
    ]
    model = Clap(audio, text, *projections, temperature=config.loss.temperature)
    if isinstance(audio, CompactAudioEncoder) and (config.audio.compact_weights or config.start):
        for block in audio.blocks[: config.audio.compact_frozen_blocks]:
            block.requires_grad_(False)
    for tower, frozen in ((audio, config.audio.frozen), (text, config.text.frozen)):
        if frozen:
            tower.requires_grad_(False)
    crop_frames: Any = audio.crop_frames
    if crop_frames is not None and config.crop_frames <= crop_frames:
        crop_frames = None
    if config.gradient_checkpointing:
        checkpoint_gradients(model)
    return Built(model, caption_tokenizer, crop_frames)


def build_audio(config: AudioConfig, *, n_mels: int) -> nn.Module:
    """The audio tower."""

    def cnn14() -> nn.Module:
        if config.cnn14_weights:
            from wavtext.training.published import load_published

            loaded = cast(Cnn14, load_published("panns-cnn14", config.cnn14_weights))
            loaded.block_dropout = config.cnn14_block_dropout
            loaded.head_dropout = config.cnn14_head_dropout
            return loaded
        return Cnn14(
            config.cnn14_channels,
            config.cnn14_dim,
            n_mels=n_mels,
            block_dropout=config.cnn14_block_dropout,
            head_dropout=config.cnn14_head_dropout,
        )

    def htsat() -> nn.Module:
        if config.htsat_weights:
            from wavtext.training.published import load_published

            return load_published("htsat", config.htsat_weights)
        return Htsat(config.htsat)

    def compact() -> nn.Module:
        encoder = CompactAudioEncoder(inner=config.compact_inner, resnet=config.compact_resnet)
        if config.compact_weights:
            encoder.load_aisfx(read_tensors(config.compact_weights))
        return encoder

    if config.encoder == "compact":
        if n_mels != FRONT_END.n_mels:
            raise ConfigError(
                f"'front_end.n_mels' is {n_mels}; the compact encoder hears {FRONT_END.n_mels}.",
                help="Copy the [front_end] of configs/compact.toml.",
            )
        return compact()
    if config.encoder == "cnn14":
        return cnn14()
    if config.encoder == "htsat":
        return htsat()
    return ConcatEncoder(cnn14(), htsat())


def build_text(
    config: TextConfig, captions: Iterable[str] = (), tokenizer: Tokenizer | None = None
) -> tuple[TextEncoder, CaptionTokenizer]:
    """The text tower and its tokenizer."""
    if config.tokenizer:
        tokenizer = load_tokenizer(config.tokenizer)
    if config.name != "random":
        encoder, own, pad_id = load_text_encoder(config.name, config.pooling)
        chosen = tokenizer or own
        assert chosen is not None  # load_text_encoder fails without one
        return encoder, CaptionTokenizer(chosen, pad_id=pad_id, max_tokens=config.max_tokens)
    tokenizer = tokenizer or train_tokenizer(captions, vocab_size=config.vocab_size)
    encoder = random_text_encoder(config, tokenizer.get_vocab_size())
    return encoder, CaptionTokenizer(tokenizer, pad_id=1, max_tokens=config.max_tokens)


def random_text_encoder(config: TextConfig, vocab_size: int) -> TextEncoder:
    """An untrained RoBERTa of the settings' widths."""
    from transformers import RobertaConfig, RobertaModel

    widths = RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=config.dim,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.dim,
        max_position_embeddings=config.max_tokens
        + 2,  # RoBERTa counts positions from pad_token_id + 1
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        pad_token_id=1,
    )
    model = RobertaModel(widths, add_pooling_layer=config.pooling == "pooler")
    return TextEncoder(model, config.pooling)


def checkpoint_gradients(model: Clap) -> None:
    """Recompute activations in the backward pass, in every tower that can."""
    for module in model.audio.modules():
        if isinstance(module, Cnn14):
            module.gradient_checkpointing = True
        elif isinstance(module, Htsat):
            module.checkpoint_gradients()
    inner: Any = model.text.get_submodule("model")
    if getattr(inner, "supports_gradient_checkpointing", False):
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
