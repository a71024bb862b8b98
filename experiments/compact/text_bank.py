"""The language side's ingredients: MiniLM as it comes, the bank of phrases, the captions of
clips; and the model that MiniLM becomes a tower of.
"""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from wavtext.training.checkpoint import read_tensors
from wavtext.training.clap import Clap
from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.projection import NormedProjection
from wavtext.training.text import TextEncoder

PHRASES = Path(__file__).with_name("phrases.tsv")
NEAR = 0.8  # cosine of two texts from which they are no negatives of each other
TEMPLATES = ("{}", "{}", "the sound of {}", "{} sound")


def load_minilm(folder: Path):
    """(tokenizer, BertModel) of all-MiniLM-L6-v2."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(77), tokenizer.enable_padding()
    bert = BertModel(
        BertConfig(**json.loads((folder / "config.json").read_text())), add_pooling_layer=False
    )
    weights = torch.load(folder / "minilm.pt", weights_only=True)
    bert.load_state_dict({k: v.float() for k, v in weights.items()})
    return tokenizer, bert.eval()


def model_of(bert, state: dict[str, torch.Tensor]) -> Clap:
    """The compact model with these weights, as wide as they are."""
    inner = tuple(len(state[f"audio.conv_block{i}.conv1.weight"]) for i in (1, 2, 3, 4))
    model = make_model(bert, inner=inner, resnet=has_resnet(state))
    model.load_state_dict(state)
    return model


def has_resnet(state: dict[str, torch.Tensor]) -> bool:
    """Whether these are weights of a model with the residual network."""
    return "audio.resnet.flat.bias" in state


def with_resnet(bert, state: dict[str, torch.Tensor]) -> Clap:
    """The compact model with these weights, of a model without the residual network, and one
    beside them that its audio projection does not hear yet.
    """
    model = model_of(bert, state)
    inner = tuple(block.conv1.out_channels for block in model.audio.blocks)
    wider = make_model(bert, inner=inner, resnet=True)
    fresh = wider.state_dict()
    for name, value in model.state_dict().items():
        if name.startswith("audio_projection."):  # what it heard comes first
            if name.endswith((".fc2.weight", ".linear.weight")):
                fresh[name].zero_()
            if name.endswith(".fc1.weight"):
                fresh[name][: len(value)].zero_()
            place = tuple(slice(length) for length in value.shape)
            fresh[name][place] = value
        else:
            fresh[name] = value
    wider.load_state_dict(fresh)
    return wider


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """What fit.py or `wavtext train` left in a run's folder."""
    files = [run / name for name in ("fit.pt", "best.pt") if (run / name).exists()]
    if len(files) != 1:
        raise SystemExit(f"{run}: holds {len(files)} of fit.pt and best.pt; one is meant.")
    return read_tensors(files[0])


def make_model(
    bert, *, dim: int = 384, inner: tuple[int, ...] | None = None, resnet: bool = False
) -> Clap:
    """The compact model around MiniLM, its audio tower untrained."""
    audio, text = CompactAudioEncoder(inner=inner, resnet=resnet), TextEncoder(bert, "mean")
    return Clap(audio, text, NormedProjection(audio.dim, dim), NormedProjection(text.dim, dim))


def load_phrases(path: Path) -> list[list[str]]:
    """The phrases of each of the teacher's 521 labels, in the labels' order."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    bank = {
        int(row[0]): [phrase.strip() for phrase in row[2].split("|") if phrase.strip()]
        for row in rows
    }
    return [bank[i] for i in range(521)]


def load_labels(path: Path) -> list[str]:
    """The names of the teacher's 521 labels, in the labels' order."""
    rows = [line.split("\t")[:2] for line in path.read_text().splitlines()]
    names = {int(number): name for number, name in rows}
    return [names[i] for i in range(521)]


def captions_of(clip) -> list[str]:
    """The texts that may stand for a clip: its title, its description, both."""
    title, description = clip["title"].strip(), clip.get("description", "").strip()
    if not description or description.lower() == title.lower():
        return [title]
    return [title, title, description, f"{title}. {description}"]


@torch.no_grad()
def embed_plainly(model: Clap, bert, tokenizer, texts) -> torch.Tensor:
    """(texts, dim): embeddings of length 1, in batches as `plain_features`."""
    return F.normalize(model.text_projection(plain_features(bert, tokenizer, texts)), dim=-1)


@torch.no_grad()
def plain_features(bert, tokenizer, texts, batch=128) -> torch.Tensor:
    """(texts, 384): mean-pooled, not normalised; sorted by length inside, so that little is
    padded.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), bert.config.hidden_size)
    for k in range(0, len(order), batch):
        some = order[k : k + batch]
        encoded = tokenizer.encode_batch([texts[i] for i in some])
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state
        out[some] = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return out


class Texts:
    """What a sentence encoder makes of all captions, as each template has them, and of the bank."""

    def __init__(self, clips: list[dict], bert, tokenizer) -> None:
        self.every = sorted({text for clip in clips for text in captions_of(clip)})
        place = {text: i for i, text in enumerate(self.every)}
        self.of_clip = [[place[text] for text in captions_of(clip)] for clip in clips]
        self.written = [
            plain_features(bert, tokenizer, [template.format(text) for text in self.every])
            for template in dict.fromkeys(TEMPLATES)
        ]
        self.plain = F.normalize(self.written[0], dim=-1)
        phrases = load_phrases(PHRASES)
        self.phrases = plain_features(bert, tokenizer, [text for some in phrases for text in some])
        self.begins = np.cumsum([0, *[len(some) for some in phrases]])

    def phrase_of_each_label(self, rng: np.random.Generator) -> torch.Tensor:
        """(521, dim), one drawn from each label's."""
        return self.phrases[[int(rng.integers(a, b)) for a, b in itertools.pairwise(self.begins)]]

    @property
    def phrases_of_labels(self) -> list[torch.Tensor]:
        """(phrases, dim) of each label."""
        return [self.phrases[a:b] for a, b in itertools.pairwise(self.begins)]

    def captions(self, numbers: list[int]) -> torch.Tensor:
        """(numbers, dim), each in a template of its own."""
        return torch.stack([random.choice(self.written)[number] for number in numbers])

    def near(self, numbers: list[int]) -> torch.Tensor:
        """(numbers, numbers), which mean nearly the same."""
        return self.plain[numbers] @ self.plain[numbers].T > NEAR
