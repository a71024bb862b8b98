"""The shipped model folder -> weights in torch that fit.py --start goes on from.

    python experiments/compact/reopen.py --model src/wavtext/model/compact \
        --ingredients runs/compact/ingredients --out runs/compact/reopened

For who has the package but not the runs that made it.  The folder's convolutions have 8 bits, its
batch norms are inside them, and its text projection has 8 bits too (quantise.py, wavtext.training.export).
They come back as what the graphs compute with, and the norms as ones that change nothing.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from text_bank import has_resnet, load_minilm, make_model
from torch import Tensor, nn

from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.run import save_atomically

LOGIT_SCALE = 15.0  # no graph holds it: where fit.py clamps it


def constants_of(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """All weights of a graph in float32, by the names under which its nodes read them."""
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    read = dict(stored)
    for node in graph.node:
        if node.op_type == "Concat" and all(name in read for name in node.input):
            read[node.output[0]] = np.concatenate([read[name] for name in node.input])
        if not node.input or node.input[0] not in stored:
            continue
        value = stored[node.input[0]].astype(np.float32)
        if node.op_type == "Cast":
            read[node.output[0]] = value
        if node.op_type == "DequantizeLinear":
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            shape = [-1 if i == axis else 1 for i in range(value.ndim)]
            read[node.output[0]] = value * stored[node.input[1]].reshape(shape)
    return {name: torch.from_numpy(np.array(value)) for name, value in read.items()}


def audio_weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """What the audio graph computes with, under the torch model's names."""
    constants = constants_of(graph)
    weights = {name.removeprefix("model."): value for name, value in constants.items()}
    encoder = CompactAudioEncoder(resnet=has_resnet(weights))
    named = {kind: names_of(encoder, kind) for kind in (nn.Conv2d, nn.Linear)}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for name, node in zip(named[nn.Conv2d], convolutions, strict=True):
        place, _, own = name.rpartition(".")
        weights[f"{name}.weight"] = constants[node.input[1]]
        weights[f"{place}.{own.replace('conv', 'bn')}.bias"] = constants[node.input[2]]
    # The tracer transposes what is applied at each time step and names it by number.
    fixed = [n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    of_steps = [name for name in named[nn.Linear] if ".gate." not in name]
    for name, matrix in zip(of_steps, fixed, strict=True):
        weights[f"{name}.weight"] = constants[matrix].T
    return weights


def names_of(encoder: nn.Module, kind: type[nn.Module]) -> list[str]:
    """The encoder's layers of a kind, in the order in which they are applied."""
    return [f"audio.{name}" for name, each in encoder.named_modules() if isinstance(each, kind)]


def reopen(folder: Path, bert: nn.Module) -> nn.Module:
    """The folder's model around MiniLM, which stays as it is.

    Raises:
        SystemExit: A weight that the model needs is in neither graph.
    """
    weights = audio_weights(onnx.load(folder / "audio.onnx").graph)
    text = constants_of(onnx.load(folder / "text.onnx").graph)
    weights |= {name.removeprefix("model."): value for name, value in text.items()}
    weights["logit_scale"] = torch.tensor(math.log(LOGIT_SCALE))
    inner = tuple(len(weights[f"audio.conv_block{i}.conv1.weight"]) for i in (1, 2, 3, 4))
    model = make_model(bert, inner=inner, resnet=has_resnet(weights))
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith("text."):
            continue
        if ".bn" in name and not name.endswith(".bias"):
            continue  # scale 1, mean 0, variance 1, below
        if name not in weights:
            raise SystemExit(f"{folder}: holds no {name}.")
        value.copy_(weights[name])
    for part in model.audio.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.fill_(1 - part.eps)
            part.weight.data.fill_(1)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("model", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    _, bert = load_minilm(arguments.ingredients)
    model = reopen(arguments.model, bert)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_atomically(arguments.out / "fit.pt", model.state_dict())


if __name__ == "__main__":
    main()
