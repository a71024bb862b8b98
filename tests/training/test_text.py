"""Captions to tokens: a vocabulary learnt from them, cut at 77 tokens with the last one kept."""

import csv
from pathlib import Path

import pytest
import torch

from wavtext.training.build import build_text
from wavtext.training.config import TextConfig
from wavtext.training.text import CaptionTokenizer, train_tokenizer


@pytest.fixture(scope="module")
def captions(shared: Path) -> list[str]:
    """Clotho's own captions; the tokenizers of published encoders cannot be downloaded here."""
    with (shared / "metadata" / "clotho" / "val.csv").open(encoding="utf-8") as file:
        return [row[f"caption_{i}"] for row in csv.DictReader(file) for i in range(1, 6)]


def test_a_vocabulary_learnt_from_real_captions_gives_them_back(captions: list[str]):
    tokenizer = train_tokenizer(captions, vocab_size=3000)
    assert 2000 < tokenizer.get_vocab_size() <= 3000
    assert tokenizer.to_str() == train_tokenizer(captions[::-1], vocab_size=3000).to_str()
    lengths: list[int] = []
    for caption in captions[:200]:
        encoded = tokenizer.encode(caption)
        assert tokenizer.decode(encoded.ids).split() == caption.lower().split()
        lengths.append(len(encoded.ids))
    assert sum(lengths) / len(lengths) < 20  # words, not bytes
    unseen = tokenizer.encode("zyzzyva étude №5")
    assert tokenizer.decode(unseen.ids).strip() == "zyzzyva étude №5"


def test_long_captions_are_cut_at_77_tokens_and_keep_their_end(captions: list[str]):
    tokenize = CaptionTokenizer(train_tokenizer(captions), pad_id=1)
    tokens = tokenize([" ".join(captions[:20]), "rain"])
    assert tokens.input_ids.shape == tokens.attention_mask.shape == (2, 77)
    assert tokens.input_ids[0, [0, 76]].tolist() == [0, 2]
    length = int(tokens.attention_mask[1].sum())
    assert tokens.input_ids[1, length - 1] == 2
    assert (tokens.input_ids[1, length:] == 1).all()


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler", "last"])
def test_padding_changes_no_representation(pooling: str):
    captions = ["rain falls on a tin roof", "a dog"]
    config = TextConfig(
        name="random", layers=1, dim=16, heads=2, vocab_size=300, pooling=pooling  # type: ignore[arg-type]
    )  # fmt: skip
    torch.manual_seed(0)
    encoder, tokenize = build_text(config, captions)
    encoder.eval()
    with torch.no_grad():
        together = encoder(*tokenize(captions))
        alone = encoder(*tokenize(captions[1:]))
    torch.testing.assert_close(together[1:], alone, rtol=1e-5, atol=1e-6)
