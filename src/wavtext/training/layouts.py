"""Tensors in a published layout -> the network that they are, every width read from the tensors.

Not in the tensors is how many attention heads a BERT, RoBERTa or GPT-2 has: theirs are 64 wide in
every published size, which is what is taken where the width allows it.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from wavtext.errors import ModelError
from wavtext.training.checkpoint import Layout
from wavtext.training.cnn14 import Cnn14
from wavtext.training.htsat import Htsat, HtsatConfig
from wavtext.training.projection import MlpProjection, ResidualProjection
from wavtext.training.text import Pooling, TextEncoder

HEAD_WIDTH = 64  # of BERT's, RoBERTa's and GPT-2's attention heads
_HTSAT_NAMES = (  # transformers' -> the original's
    (r"^audio_encoder\.", ""),
    (r"^batch_norm\.", "bn0."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def cnn14(layout: Layout, prefix: str = "") -> Cnn14:
    """PANNs' Cnn14; its AudioSet head `fc_audioset` must be there and is left behind."""
    channels = tuple(
        layout.need(f"{prefix}conv_block{i}.conv1.weight").shape[0] for i in range(1, 7)
    )
    dim = layout.need(f"{prefix}fc1.weight").shape[0]
    model = Cnn14(channels, dim, n_mels=layout.need(f"{prefix}bn0.weight").shape[0])
    layout.fill(model, lambda name: prefix + name)
    layout.claim(f"{prefix}fc_audioset.weight", f"{prefix}fc_audioset.bias")
    return model


def htsat(layout: Layout, prefix: str = "", *, drop_path: float = 0.1) -> Htsat:
    """HTSAT; its AudioSet heads `tscam_conv` and `head` must be there and are left behind."""
    _split_attention(layout, prefix)
    patches = layout.need(f"{prefix}patch_embed.proj.weight")  # (embed_dim, 1, patch, patch)
    stages = layout.count(f"{prefix}layers.") or 1
    blocks = [f"{prefix}layers.{i}.blocks." for i in range(stages)]
    tables = [layout.need(f"{name}0.attn.relative_position_bias_table") for name in blocks]
    window = (math.isqrt(tables[0].shape[0]) + 1) // 2  # the table has (2 window - 1)² rows
    inner = layout.need(f"{blocks[0]}0.mlp.fc1.weight").shape[0]
    config = HtsatConfig(
        embed_dim=patches.shape[0],
        depths=tuple(layout.count(name) for name in blocks),
        num_heads=tuple(table.shape[1] for table in tables),
        window_size=window,
        patch_size=patches.shape[2],
        spec_size=_spec_size(layout, prefix, window, patches.shape[2]),
        n_mels=layout.need(f"{prefix}bn0.weight").shape[0],
        mlp_ratio=inner / patches.shape[0],
        drop_path=drop_path,
        fusion=layout.has(f"{prefix}patch_embed.mel_conv2d."),
    )
    try:
        model = Htsat(config)
    except ValueError as error:
        raise ModelError(f"{layout.path}: not {layout.what}: {error}") from error
    layout.fill(model.model, lambda name: prefix + _htsat_name(name))
    for head in ("tscam_conv", "head"):
        layout.claim(f"{prefix}{head}.weight", f"{prefix}{head}.bias")
    return model


def text(
    layout: Layout,
    prefix: str,
    *,
    pooling: Pooling,
    num_heads: int | None = None,
    bang_is_padding: bool = False,
) -> TextEncoder:
    """A BERT, RoBERTa or GPT-2, told apart by their names and by how many token types they have."""
    if layout.has(f"{prefix}wte."):
        model = _gpt2(layout, prefix, num_heads)
        layout.fill(model, lambda name: prefix + name)
        return TextEncoder(model, "last", bang_is_padding=bang_is_padding)
    model = _bert(layout, prefix, num_heads, pooler=pooling == "pooler")
    layout.fill(model, lambda name: prefix + name)
    if pooling != "pooler":
        layout.claim(f"{prefix}pooler.dense.weight", f"{prefix}pooler.dense.bias", optional=True)
    return TextEncoder(model, pooling)


def residual_projection(layout: Layout, prefix: str) -> ResidualProjection:
    """MS-CLAP's projection."""
    out_dim, in_dim = layout.need(f"{prefix}linear1.weight").shape
    projection = ResidualProjection(in_dim, out_dim)
    layout.fill(projection, lambda name: prefix + name)
    return projection


def mlp_projection(layout: Layout, prefix: str) -> MlpProjection:
    """LAION's projection: linear, ReLU, linear, numbered 0, 1, 2."""
    out_dim, in_dim = layout.need(f"{prefix}0.weight").shape
    projection = MlpProjection(in_dim, out_dim)
    layout.fill(
        projection,
        lambda name: prefix + name.replace("linear1.", "0.").replace("linear2.", "2."),
    )
    return projection


def logit_scale(layout: Layout, name: str) -> nn.Parameter:
    """The logarithm of the logit scale."""
    value = layout.need(name)
    layout.claim(name)
    return nn.Parameter(value.reshape(()).clone())


def num_attention_heads(dim: int) -> int:
    """Heads 64 wide where the width allows two; else 12, as base models have; 4 in toy widths."""
    if dim < 2 * HEAD_WIDTH and dim % 4 == 0:
        return 4
    if dim % HEAD_WIDTH == 0:
        return dim // HEAD_WIDTH
    return next(heads for heads in (12, 8, 4, 2, 1) if dim % heads == 0)


def _bert(layout: Layout, prefix: str, num_heads: int | None, *, pooler: bool) -> nn.Module:
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    vocab_size, dim = layout.need(f"{prefix}embeddings.word_embeddings.weight").shape
    token_types = layout.need(f"{prefix}embeddings.token_type_embeddings.weight").shape[0]
    first = f"{prefix}encoder.layer.0.intermediate.dense.weight"
    widths: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": dim,
        "num_hidden_layers": layout.count(f"{prefix}encoder.layer."),
        "num_attention_heads": num_heads or num_attention_heads(dim),
        "intermediate_size": layout.need(first).shape[0],
        "max_position_embeddings": layout.need(
            f"{prefix}embeddings.position_embeddings.weight"
        ).shape[0],
        "type_vocab_size": token_types,
    }
    if token_types == 1:  # RoBERTa has one token type, pads with 1, and a larger epsilon
        roberta = RobertaConfig(**widths, layer_norm_eps=1e-5, pad_token_id=1)
        return RobertaModel(roberta, add_pooling_layer=pooler)
    return BertModel(BertConfig(**widths, layer_norm_eps=1e-12), add_pooling_layer=pooler)


def _gpt2(layout: Layout, prefix: str, num_heads: int | None) -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    vocab_size, dim = layout.need(f"{prefix}wte.weight").shape
    config = GPT2Config(
        vocab_size=vocab_size,
        n_embd=dim,
        n_positions=layout.need(f"{prefix}wpe.weight").shape[0],
        n_layer=layout.count(f"{prefix}h."),
        n_head=num_heads or num_attention_heads(dim),
        n_inner=layout.need(f"{prefix}h.0.mlp.c_fc.weight").shape[1],
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )
    return GPT2Model(config)


def _split_attention(layout: Layout, prefix: str) -> None:
    """The original keeps query, key and value in one matrix, transformers in three."""
    for name in [n for n in layout.tensors if n.startswith(prefix) and ".attn.qkv." in n]:
        whole = layout.tensors.pop(name)
        for part, tensor in zip(("query", "key", "value"), _thirds(whole), strict=True):
            layout.tensors[name.replace(".attn.qkv.", f".attn.{part}.")] = tensor


def _thirds(whole: Tensor) -> tuple[Tensor, ...]:
    size = -(-whole.shape[0] // 3)
    parts = torch.split(whole, size)
    return parts if len(parts) == 3 else (whole, whole, whole)  # a shape error follows in fill()


def _htsat_name(name: str) -> str:
    for pattern, replacement in _HTSAT_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _spec_size(layout: Layout, prefix: str, window: int, patch: int) -> int:
    """Side of the folded spectrogram: in the shape of the attention masks, 256 without them."""
    mask = layout.tensors.get(f"{prefix}layers.0.blocks.1.attn_mask")
    if mask is None:
        return 256
    return math.isqrt(mask.shape[0]) * window * patch
