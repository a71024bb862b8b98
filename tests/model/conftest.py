"""A tiny model folder, exported from torch: the whole path of the model wing in a second."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from wavtext.audio.windows import WindowConfig
from wavtext.model.folder import AudioGraphConfig, ModelConfig, TextGraphConfig
from wavtext.training.compact import FRONT_END
from wavtext.training.export import write_model_folder

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["a", "dog", "barking", "rain", "on", "roof", "bell", "the", "of", "far", "away"],
]


class TinyAudio(nn.Module):
    """(1, frames, 72) -> (1, 8): a convolution, pooled, so that every frame counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(72, 32, 5, padding=2)
        self.out = nn.Linear(32, 8)

    def forward(self, log_mel):
        x = torch.relu(self.conv(log_mel.transpose(1, 2) / 50))
        return self.out(x.mean(2))


class TinyText(nn.Module):
    """(1, tokens) -> (1, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(len(WORDS), 64)
        self.out = nn.Linear(64, 8)

    def forward(self, input_ids):
        return self.out(torch.tanh(self.table(input_ids)).mean(1))


def tiny_tokenizer() -> str:
    """Whole words, [CLS] and [SEP] around them."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def tiny_modules() -> tuple[TinyAudio, TinyText]:
    torch.manual_seed(0)
    return TinyAudio().eval(), TinyText().eval()


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        name="tiny",
        dim=8,
        log_mel=FRONT_END,
        windows=WindowConfig(duration=2.5, hop=2.0, min_duration=1.25),
        audio=AudioGraphConfig(precision="f32"),
        text=TextGraphConfig(max_tokens=12),
    )


@pytest.fixture(scope="session")
def tiny_folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_modules: tuple[TinyAudio, TinyText],
    tiny_config: ModelConfig,
) -> Path:
    audio, text = tiny_modules
    return write_model_folder(
        tmp_path_factory.mktemp("models") / "tiny",
        tiny_config,
        audio=audio,
        audio_frames=108,
        text=text,
        tokenizer=tiny_tokenizer(),
        card="# tiny",
    )


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """Six seconds at 22,050 Hz that change all the time."""
    time = np.arange(6 * 22_050) / 22_050
    rng = np.random.default_rng(3)
    sweep = np.sin(2 * np.pi * (200 + 150 * time) * time)
    return (0.4 * sweep + 0.05 * rng.standard_normal(time.size)).astype(np.float32)
