"""aiSFX's first blocks as a student hears them: in OpenVINO, in 8 bits, still."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from torch import nn

from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.export import export_onnx


class Blocks(nn.Module):
    """aiSFX's first blocks: (batch, frames, 72) dB -> what the encoder's `rest` takes."""

    def __init__(self, encoder: CompactAudioEncoder, blocks: int) -> None:
        super().__init__()
        self.encoder, self.blocks = encoder, blocks

    def forward(self, log_mel):
        return self.encoder.stem(log_mel, self.blocks)


class Batched:
    """A graph that hears so many log-mels at a time: (n, frames, mels) -> (n, ...).

    Args:
        model: Its one input and one output have the batch first; it is reshaped.
        together: How many.
        settings: Of OpenVINO's CPU.
    """

    def __init__(self, model: openvino.Model, together: int, settings: dict[str, Any]) -> None:
        self.model, self.together, self.settings = model, together, settings
        self.compiled: dict[tuple[int, ...], openvino.CompiledModel] = {}

    def __call__(self, log_mel: np.ndarray) -> np.ndarray:
        shape = (self.together, *log_mel.shape[1:])
        if shape not in self.compiled:
            self.model.reshape(list(shape))
            self.compiled[shape] = openvino.Core().compile_model(self.model, "CPU", self.settings)
        queue = openvino.AsyncInferQueue(self.compiled[shape])
        count = -(-len(log_mel) // self.together)
        padded = np.zeros((count, *shape), np.float32)
        padded.reshape(-1, *shape[1:])[: len(log_mel)] = log_mel
        parts = [None] * count

        def keep(request, i):
            parts[i] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for i in range(count):
            queue.start_async({0: padded[i]}, i)
        queue.wait_all()
        return np.concatenate(parts)[: len(log_mel)]


class Stem:
    """`Blocks` in OpenVINO, in the 8 bits that ship (quantise.py): what learns meets what it will
    meet.  Of no blocks, the level alone is set, in torch.
    """

    def __init__(self, encoder: CompactAudioEncoder, blocks: int, windows: np.ndarray) -> None:
        self.encoder, self.blocks = encoder, blocks
        if not blocks:
            return
        from quantise import quantise  # takes NNCF

        threads = torch.get_num_threads()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        settings |= dict.fromkeys(("NUM_STREAMS", "INFERENCE_NUM_THREADS"), threads)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stem.onnx"
            example = torch.zeros(1, 108, 72)
            export_onnx(Blocks(encoder, blocks), example, path, name="log_mel", axis="frames")
            quantise(path, windows)
            self.hears = Batched(openvino.Core().read_model(path), 16, settings)

    def __call__(self, log_mel: np.ndarray) -> torch.Tensor:
        if not self.blocks:
            return self.encoder.stem(torch.from_numpy(log_mel), 0)
        return torch.from_numpy(self.hears(log_mel))
