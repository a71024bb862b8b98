"""aiSFX's first blocks as a student hears them: in OpenVINO, in 8 bits, still."""

import tempfile
from pathlib import Path

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


class Stem:
    """`Blocks` in OpenVINO, in the 8 bits that ship (quantise.py): what learns meets what it will
    meet.  Of no blocks, the level alone is set, in torch.
    """

    def __init__(self, encoder: CompactAudioEncoder, blocks: int, windows: np.ndarray) -> None:
        self.encoder, self.blocks = encoder, blocks
        if not blocks:
            return
        from quantise import quantise  # takes NNCF

        self.core, self.compiled = openvino.Core(), {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stem.onnx"
            example = torch.zeros(1, 108, 72)
            export_onnx(Blocks(encoder, blocks), example, path, name="log_mel", axis="frames")
            quantise(path, windows)
            self.model = self.core.read_model(path)

    def __call__(self, log_mel: np.ndarray) -> torch.Tensor:
        if not self.blocks:
            return self.encoder.stem(torch.from_numpy(log_mel), 0)
        shape = (16, *log_mel.shape[1:])
        if shape not in self.compiled:
            self.model.reshape(list(shape))
            self.compiled[shape] = self.core.compile_model(
                self.model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "NUM_STREAMS": torch.get_num_threads(),
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                },
            )
        queue = openvino.AsyncInferQueue(self.compiled[shape])
        count = -(-len(log_mel) // 16)
        padded = np.zeros((count * 16, *log_mel.shape[1:]), np.float32)
        padded[: len(log_mel)] = log_mel
        parts = [None] * count

        def keep(request, i):
            parts[i] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for i in range(count):
            queue.start_async({0: padded[16 * i : 16 * i + 16]}, i)
        queue.wait_all()
        return torch.from_numpy(np.concatenate(parts)[: len(log_mel)])
