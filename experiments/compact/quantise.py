"""The audio graph's convolutions in 8 bits (docs/decisions/0095-eight-bit-convolutions.md).

Weights: symmetric, one scale for each output channel, 7 of the 8 bits, so that no CPU's 16-bit sums
overflow.  Activations: what follows a ReLU, in 8 bits from zero, each range chosen from its
histogram over training sounds for the least squared error (NNCF, `pip install nncf`).  The first
convolutions, which hear decibels, and everything that is no convolution compute in float; matrices
are kept in 8 bits, for size.
"""

import json
from pathlib import Path

import nncf
import numpy as np
import onnx
from mels import decibels
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from wavtext.training.export import shrink

CALIBRATION = 300  # windows that choose the ranges of 8-bit activations


def quantise(path: Path, windows: np.ndarray) -> None:
    """Rewrite a float32 graph in place.

    Args:
        path: An ONNX file whose input is "log_mel".
        windows: (windows, frames, mels) in dB, to choose ranges from.
    """
    graph = onnx.load(path)
    shape = {each.name: tuple(each.dims) for each in graph.graph.initializer}
    hear_decibels = [
        node.name
        for node in graph.graph.node
        if node.op_type == "Conv" and shape[node.input[1]][1] == 1
    ]
    others = {node.op_type for node in graph.graph.node} - {"Conv"}
    quantised = nncf.quantize(
        graph,
        nncf.Dataset(windows, lambda window: {"log_mel": window[None]}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(windows),
        ignored_scope=nncf.IgnoredScope(types=sorted(others), names=hear_decibels, validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
        ),
    )
    onnx.save(quantised, path)
    shrink(path, "int8", folded=True)


def training_windows(packed: Path, number: int, frames: int = 216) -> np.ndarray:
    """The first window of some training clips, drawn with seed 0; short clips repeat.

    Args:
        packed: A folder that pack.py made.
        number: Of windows.
        frames: Of each.

    Returns:
        (number, frames, mels) float32, dB.
    """
    clips = json.loads((packed / "clips.json").read_text())
    mel = np.load(packed / "mel.npy", mmap_mode="r")
    train = [clip["frames"] for clip in clips if clip["split"] == "train"]
    chosen = np.random.default_rng(0).permutation(len(train))[:number]
    parts = [np.asarray(mel[begin : begin + length]) for begin, length in np.array(train)[chosen]]
    rows = [part[np.arange(frames) % len(part)] for part in parts]
    return decibels(np.stack(rows))
