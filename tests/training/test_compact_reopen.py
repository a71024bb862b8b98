"""The shipped folder's weights come back into torch (experiments/compact/reopen.py)."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import wavtext
from wavtext.audio.log_mel import log_mel
from wavtext.model import runtime
from wavtext.training.export import export_onnx, shrink

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src" / "wavtext" / "model" / "compact"


def four_sounds() -> np.ndarray:
    """Noise, a rising tone, clicks, a hum: (4, frames, 72) dB."""
    front_end = wavtext.load_model().config.log_mel
    time = np.arange(5 * front_end.sample_rate) / front_end.sample_rate
    sounds = [
        np.random.default_rng(0).standard_normal(len(time)),
        np.sin(2 * np.pi * (200 + 300 * time) * time),
        (time % 0.25 < 0.002) * 1.0,
        sum(np.sin(2 * np.pi * 60 * k * time) / k for k in range(1, 9)),
    ]
    return np.stack([log_mel((0.3 * sound).astype(np.float32), front_end) for sound in sounds])


def test_the_shipped_model_comes_back_as_it_computes(
    small_bert: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "compact"))
    from onnx import load
    from reopen import constants_of, reopen

    model = reopen(SHIPPED, small_bert).eval()
    windows = four_sounds()
    shipped = torch.from_numpy(runtime.Graph(SHIPPED / "audio.onnx", "f32").run(list(windows)))
    with torch.no_grad():
        again = model.embed_audio(torch.from_numpy(windows))
    assert F.cosine_similarity(shipped, again).min() > 0.99
    assert F.cosine_similarity(shipped, again.roll(1, 0)).max() < 0.9  # they are told apart

    read = constants_of(load(SHIPPED / "text.onnx").graph)
    weight = model.text_projection.linear.weight
    torch.testing.assert_close(weight, read["model.text_projection.linear.weight"])
    step = weight.abs().amax(1, keepdim=True) / 127  # one scale for each output
    torch.testing.assert_close(weight / step, (weight / step).round(), atol=1e-3, rtol=0)


class AudioGraph(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        return self.model.embed_audio(log_mel)


def test_both_networks_come_back(
    small_bert: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "compact"))
    from reopen import reopen
    from text_bank import make_model

    torch.manual_seed(0)
    model = make_model(small_bert, inner=(4, 4, 8, 8), resnet=True)
    windows = torch.from_numpy(four_sounds())
    model.train()
    for parameter in model.parameters():  # equal ones would be kept once
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(len(parameter))
    torch.nn.init.normal_(model.audio_projection.fc2.weight, std=0.1)
    for _ in range(30):
        model.embed_audio(windows)
    model.eval()
    path = tmp_path / "audio.onnx"
    export_onnx(AudioGraph(model), windows[:1], path, name="log_mel", axis="frames")
    shrink(path, "int8", folded=True)
    shutil.copy(SHIPPED / "text.onnx", tmp_path)
    again = reopen(tmp_path, small_bert).eval()
    with torch.no_grad():
        expected, found = model.embed_audio(windows), again.embed_audio(windows)
    assert F.cosine_similarity(expected, found).min() > 0.999
    assert F.cosine_similarity(expected, found.roll(1, 0)).max() < 0.99
