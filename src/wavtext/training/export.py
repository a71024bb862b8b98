"""Torch modules -> a model folder that runs without torch (wavtext.model.folder).

Weights may be stored smaller than float32: half precision, or 8-bit integers with a scale for each
output channel (for each row of an embedding table).  The arithmetic stays float32; what that costs
is measured on export.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from wavtext.config import save_config
from wavtext.errors import TrainingError
from wavtext.model.folder import (
    CONFIG_FILE,
    PROBE,
    PROBE_LENGTH,
    ModelConfig,
    TextGraphConfig,
)
from wavtext.model.tokens import read_tokenizer, token_ids

Storage = Literal["f32", "f16", "int8"]
_SMALL = 1024  # elements; smaller constants stay float32
OPSET = 18


def write_model_folder(
    folder: Path | str,
    config: ModelConfig,
    *,
    audio: nn.Module | None = None,
    audio_frames: int = 0,
    audio_storage: Storage = "f32",
    text: nn.Module | None = None,
    text_storage: Storage = "f32",
    tokenizer: str = "",
    card: str = "",
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        folder: Where; must not exist, be empty, or be a model folder, which is replaced.
        config: What model.toml says.
        audio: log_mel (1, frames, mels) in dB -> (1, dim).
        audio_frames: An example's number of frames; other lengths run too where the module allows
            them.
        audio_storage: How audio weights are stored.
        text: input_ids (1, tokens) -> (1, dim).
        text_storage: How text weights are stored.
        tokenizer: The content of tokenizer.json.
        card: The content of card.md.
        weights: For weights.safetensors, to go on training from; None: left out.

    Raises:
        TrainingError: The folder holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG_FILE).is_file() and any(folder.iterdir()):
        raise TrainingError(
            f"{folder} exists and is not a model folder.", help="Name a new folder with --out."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        if audio is not None and config.audio is not None:
            mels = torch.zeros(1, audio_frames, config.log_mel.n_mels)
            path = fresh / config.audio.graph
            export_onnx(audio, mels, path, name="log_mel", axis="frames")
            shrink(path, audio_storage)
        if text is not None and config.text is not None:
            ids = torch.ones(1, 7, dtype=torch.int64)
            path = fresh / config.text.graph
            export_onnx(text, ids, path, name="input_ids", axis="tokens")
            shrink(path, text_storage)
            (fresh / config.text.tokenizer).write_text(tokenizer, encoding="utf-8")
            config = replace(config, text=_with_probe(config.text, text, tokenizer))
        if weights is not None:
            from safetensors.torch import save_file

            save_file(dict(weights), fresh / "weights.safetensors")
        save_config(config, fresh / CONFIG_FILE)
        (fresh / "card.md").write_text(card, encoding="utf-8")
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


@torch.no_grad()
def _with_probe(config: TextGraphConfig, text: nn.Module, tokenizer: str) -> TextGraphConfig:
    """The config with how the known sentence's embedding begins, as torch has it."""
    ids = token_ids(read_tokenizer(tokenizer, config), config, PROBE)
    embedding = F.normalize(text.eval()(torch.from_numpy(ids)[None]).float(), dim=-1)[0]
    return replace(config, probe=tuple(round(x, 4) for x in embedding[:PROBE_LENGTH].tolist()))


def export_onnx(module: nn.Module, example: Tensor, path: Path, *, name: str, axis: str) -> None:
    """Trace `module(example)` into an ONNX file whose second axis is free.

    A module that only works at the example's length (HTSAT's 1024 frames) is exported at that
    length.
    """
    module = module.eval()
    parameter = next(iter(module.parameters()), None)
    if parameter is not None and parameter.dtype != torch.float32:
        raise TrainingError("export takes float32 modules.", help="Call module.float() first.")
    # The tracer thinks aloud on both streams.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = _trace(module, example, name, {1: torch.export.Dim(axis, min=2)})
        except Exception:  # the tracer names a fixed axis in many ways
            program = _trace(module, example, name, None)
    program.save(str(path))
    _forget(path)


def _forget(path: Path) -> None:
    """Drop the tracer's notes, which hold stack traces with the paths of this machine."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, path)


def shrink(path: Path, storage: Storage, *, folded: bool = False) -> None:
    """Store the weights of an ONNX file smaller, in place.

    "f16": half precision.  "int8": matrices and embedding tables in 8 bits, symmetric, one scale
    for each output channel or row; the rest in half precision.

    Args:
        path: The file.
        storage: How small.
        folded: Whether 8 bits are for size alone.  OpenVINO multiplies 8-bit weights in 8 bits
            where the CPU can, so that what comes out depends on the CPU; of two halves and their
            join it makes one matrix of floats while it compiles.
    """
    if storage == "f32":
        return
    model = onnx.load(path)
    graph = model.graph
    uses: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for used in node.input:
            uses.setdefault(used, []).append(node)
    nodes: list[onnx.NodeProto] = []
    kept: list[TensorProto] = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _SMALL:
            kept.append(tensor)
            continue
        value = numpy_helper.to_array(tensor)
        users = uses.get(tensor.name, [])
        if storage == "int8" and value.ndim == 2 and users and all(map(_takes_matrix, users)):
            axis = _scale_axis(users[0], tensor.name)
            if not folded:
                nodes += _as_int8(tensor.name, value, axis, kept)
                continue
            halves = [f"{tensor.name}.{number}" for number in (0, 1)]
            for name, half in zip(halves, np.array_split(value, 2), strict=True):
                nodes += _as_int8(name, half, axis, kept)
            nodes.append(helper.make_node("Concat", halves, [tensor.name], axis=0))
        else:
            kept.append(numpy_helper.from_array(value.astype(np.float16), f"{tensor.name}.f16"))
            nodes.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}.f16"], [tensor.name], to=TensorProto.FLOAT
                )
            )
    del graph.initializer[:]
    graph.initializer.extend(kept)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    del graph.value_info[:]
    onnx.save(model, path)


def _trace(module: nn.Module, example: Tensor, name: str, dynamic: dict[int, object] | None):  # pyright: ignore[reportUnknownParameterType]
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        optimize=True,
        opset_version=OPSET,
        input_names=[name],
        output_names=[
            "wavtext_embedding"
        ],  # "embedding" alone collides with the tracer's own names
        dynamic_shapes=(dynamic,) if dynamic else None,
    )
    return cast("torch.onnx.ONNXProgram", program)


def _takes_matrix(node: onnx.NodeProto) -> bool:
    return node.op_type in ("MatMul", "Gemm", "Gather")


def _scale_axis(node: onnx.NodeProto, name: str) -> int:
    """The axis of the output channels: a table's rows, a matrix's columns (rows if transposed)."""
    if node.op_type == "Gather":
        return 0
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if transposed else 1


def _as_int8(
    name: str, value: np.ndarray, axis: int, kept: list[TensorProto]
) -> list[onnx.NodeProto]:
    scale = np.maximum(np.abs(value).max(axis=1 - axis), 1e-8) / 127.0
    shape = (-1, 1) if axis == 0 else (1, -1)
    whole = np.clip(np.round(value / scale.reshape(shape)), -127, 127).astype(np.int8)
    kept.append(numpy_helper.from_array(whole, f"{name}.int8"))
    kept.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"))
    inputs = [f"{name}.int8", f"{name}.scale"]
    return [helper.make_node("DequantizeLinear", inputs, [name], axis=axis)]
