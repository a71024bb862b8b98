"""Captions -> token ids -> representation.  texts -> (batch, tokens) -> (batch, dim).

Any text encoder of transformers, by name or local folder: RoBERTa in Deshmukh et al. 2022
(section 3.3), BERT and GPT-2 in their released models.  The representation is the [CLS] state, as
there, or the mean of the states.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn

from wavtext.errors import ConfigError, TrainingError

Pooling = Literal["cls", "mean", "pooler", "last"]
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # RoBERTa's, in its order: <pad> is 1


class Tokens(NamedTuple):
    """A padded batch of token ids."""

    input_ids: Int[Tensor, "batch tokens"]
    attention_mask: Int[
        Tensor, "batch tokens"
    ]  # 1 where there is a token, 0 where there is padding


class TextEncoder(nn.Module):
    """A transformers text model and a way to pool its last hidden states into one vector.

    Args:
        model: A transformers model whose output has `last_hidden_state` (and `pooler_output` for
            "pooler").
        pooling: "cls" takes the first token's state, "mean" the mean over tokens, "pooler" the
            model's own pooler, "last" the last token's state (for causal models).
        bang_is_padding: Reproduces MS-CLAP 2023, which counts every '!' (its padding token) as
            padding when it looks for the last token, and so pools a wrong token for captions with
            a '!'.
    """

    def __init__(
        self, model: nn.Module, pooling: Pooling = "cls", *, bang_is_padding: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.pooling: Pooling = pooling
        self.bang_is_padding = bang_is_padding
        self.dim = int(cast(Any, model).config.hidden_size)

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """One vector for each caption."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if self.pooling == "pooler":
            return output.pooler_output
        states: Tensor = output.last_hidden_state  # (batch, tokens, dim)
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            return (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        counted = input_ids.ne(0) if self.bang_is_padding else attention_mask
        last = (counted.long().sum(1) - 1).clamp(min=0)
        return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


class CaptionTokenizer:
    """Captions to padded token ids.

    Args:
        tokenizer: A Hugging Face tokenizer with its special tokens.
        pad_id: The id that the text encoder takes as padding.
        max_tokens: Longer captions are cut; special tokens stay.
        suffix: Text put after each caption (MS-CLAP 2023 ends them with ' <|endoftext|>').
    """

    def __init__(
        self, tokenizer: Tokenizer, *, pad_id: int, max_tokens: int = 77, suffix: str = ""
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())  # ours to set up
        self.pad_id, self.max_tokens, self.suffix = pad_id, max_tokens, suffix
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids padded to the longest caption of the batch."""
        encoded = self.tokenizer.encode_batch([text + self.suffix for text in texts])
        width = max((len(each.ids) for each in encoded), default=0)
        input_ids = torch.full((len(texts), width), self.pad_id, dtype=torch.int64)
        attention_mask = torch.zeros(len(texts), width, dtype=torch.int64)
        for row, each in enumerate(encoded):
            input_ids[row, : len(each.ids)] = torch.tensor(each.ids)
            attention_mask[row, : len(each.ids)] = 1
        return Tokens(input_ids, attention_mask)


def load_text_encoder(name: str, pooling: Pooling) -> tuple[TextEncoder, Tokenizer | None, int]:
    """A pretrained text encoder, its tokenizer where it comes with one, and its padding id.

    Args:
        name: A model's name on the Hugging Face hub, or a local folder in its layout.
        pooling: How states become a representation.

    Raises:
        TrainingError: There is no such model, neither in the folder nor in the hub's cache nor on
            the hub.
    """
    from transformers import AutoModel, AutoTokenizer

    options: dict[str, Any] = {} if pooling == "pooler" else {"add_pooling_layer": False}
    try:
        with _quiet():
            try:
                model = AutoModel.from_pretrained(name, use_safetensors=True, **options)
            except TypeError:  # an architecture without a pooler
                model = AutoModel.from_pretrained(name, use_safetensors=True)
            fast = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"The text encoder '{name}' cannot be loaded: {str(error).splitlines()[0]}",
            help="Give [text] name a folder with config.json, model.safetensors and "
            'tokenizer.json, or name = "random" for untrained weights.',
        ) from error
    if hasattr(model, "get_encoder") and model.config.is_encoder_decoder:
        model = model.get_encoder()
    pad_id = model.config.pad_token_id
    return TextEncoder(model, pooling), fast.backend_tokenizer, 0 if pad_id is None else int(pad_id)


@contextmanager
def _quiet() -> Generator[None]:
    """Without transformers' progress bars and its report of a pooler that nobody asked for."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json, or in a folder that has one."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{file}: no such tokenizer.")
    return Tokenizer.from_file(str(file))


def train_tokenizer(captions: Iterable[str], *, vocab_size: int = 8000) -> Tokenizer:
    """A byte-level BPE with RoBERTa's special tokens, learnt from the captions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(captions)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer
