"""The model folder that shipped -> a run that fit.py and tune_text.py go on from.

    python experiments/compact/unpack.py --model src/wavtext/model/compact \
        --ingredients runs/compact/ingredients --out runs/compact/shipped

The folder holds no torch weights, only graphs: convolutions with their batch norms folded in, at 16
bits, MiniLM at 8.  They are read back into the modules; the folded batch norms become plain biases.
Prints the least cosine between the module's embeddings and the folder's.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from text_bank import load_minilm, make_model

import wavtext

EPSILON = 1e-5  # of torch's batch norms


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Every weight of a graph by its name in the module, as float32."""
    graph = onnx.load(path).graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
        elif node.op_type == "DequantizeLinear" and node.input[0] in values:
            numbers, scale = (values[name].astype(np.float32) for name in node.input[:2])
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            shape = [-1 if i == axis % numbers.ndim else 1 for i in range(numbers.ndim)]
            values[node.output[0]] = numbers * scale.reshape(shape)
    biases = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "Add"}
    biases |= {node.input[1]: node.input[0] for node in graph.node if node.op_type == "Add"}
    for node in graph.node:  # x @ W.T + b: the weight's name is lost, the bias's is not
        if node.op_type == "MatMul" and node.input[1] in values:
            bias = biases.get(node.output[0], "")
            if bias.endswith(".bias"):
                values[f"{bias.removesuffix('bias')}weight"] = values[node.input[1]].T
    return {
        name.removeprefix("model.").replace("text.bert.", "text.model."): np.asarray(
            value, np.float32
        )
        for name, value in values.items()
        if name.startswith("model.") and not name.endswith((".f16", ".int8", ".scale"))
    }


def unfold(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Biases that batch norms left in convolutions, as batch norms that add them."""
    found: dict[str, np.ndarray] = {}
    for name, value in weights.items():
        if not name.endswith(".weight_bias"):
            found[name] = value
            continue
        block, _, convolution = name.removesuffix(".weight_bias").rpartition(".")
        norm = f"{block}.bn{convolution[-1]}"
        found |= {
            f"{norm}.weight": np.ones_like(value),
            f"{norm}.bias": value,
            f"{norm}.running_mean": np.zeros_like(value),
            f"{norm}.running_var": np.full_like(value, 1 - EPSILON),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer, bert = load_minilm(arguments.ingredients)
    model = make_model(bert).eval()
    weights = unfold(read_weights(arguments.model / "audio.onnx"))
    weights |= read_weights(arguments.model / "text.onnx")
    state = model.state_dict()
    left = [n for n in state if n not in weights and not n.endswith(("num_batches_tracked",))]
    print("not in the graphs:", left)
    state |= {name: torch.from_numpy(weights[name].copy()) for name in state if name in weights}
    model.load_state_dict(state)
    folder = wavtext.load_model(arguments.model)
    rng = np.random.default_rng(0)
    mel = (rng.standard_normal((4, 216, 72)) * 8 - 40).astype(np.float32)
    texts = ["a dog barking", "heavy rain on a tin roof", "church bells in the distance", "glass"]
    with torch.no_grad():
        heard = model.embed_audio(torch.from_numpy(mel)).numpy()
        said = []
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text).ids])
            said.append(model.embed_text(ids, torch.ones_like(ids))[0].numpy())
    print("audio", (heard * folder.embed_log_mels(list(mel))).sum(1).min())
    print("text", (np.stack(said) * folder.embed_text(texts)).sum(1).min())
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), arguments.out / "fit.pt")


if __name__ == "__main__":
    main()
