"""The shipped folder's weights come back into torch (experiments/compact/reopen.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import wavtext
from wavtext.audio.log_mel import log_mel
from wavtext.model import runtime

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


def test_the_shipped_model_comes_back_as_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "compact"))
    from onnx import load
    from reopen import constants_of, reopen
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=1, num_attention_heads=12)
    model = reopen(SHIPPED, BertModel(config, add_pooling_layer=False)).eval()
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
