"""Which CPU runtime and which precision should run the compact model?

    python benchmarks/runtime.py [--sounds DIR] [--rounds 5] [--fit runs/compact/last/fit.pt]

One thread each, alternating rounds, CPU seconds.  For each runtime and precision: times real time,
cosine to float32, and how much the top ten of real queries overlaps with float32's.  Float32 is
torch's output for the weights in --fit, from which the graph was made, or else ONNX Runtime's.
int8 is ONNX Runtime's dynamic quantisation, 8-bit weights and activations.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
from machine import machine, summary

import wavtext
from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.model.captions import CAPTION_BANK, read_captions

Runner = Callable[[np.ndarray], np.ndarray]


def openvino_runner(graph: Path, precision: str, shape: tuple[int, ...]) -> Runner:
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape([1, *shape])
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(window: np.ndarray) -> np.ndarray:
        request.infer({0: window[None]})
        return request.get_output_tensor(0).data[0].copy()

    return run


def onnxruntime_runner(graph: Path) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda window: session.run(None, {name: window[None]})[0][0]


def int8_graph(graph: Path, folder: Path) -> Path:
    """The graph with 8-bit weights, and activations that are quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, quantised = folder / "plain.onnx", folder / "int8.onnx"
    onnx.save(onnx.load(graph), plain)
    quant_pre_process(str(plain), str(plain), skip_symbolic_shape=True)
    quantize_dynamic(plain, quantised, weight_type=QuantType.QUInt8)
    return quantised


def torch_runner(fit: Path) -> Runner:
    """The module that the graph was made from."""
    import torch

    from wavtext.training.compact import CompactAudioEncoder
    from wavtext.training.projection import NormedProjection

    torch.set_num_threads(1)
    state = torch.load(fit, weights_only=True)

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    encoder = CompactAudioEncoder()
    encoder.load_state_dict(part("audio."))
    projection = NormedProjection(encoder.dim, len(state["audio_projection.fc2.bias"]))
    projection.load_state_dict(part("audio_projection."))
    both = torch.nn.Sequential(encoder, projection).eval()

    def run(window: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return both(torch.from_numpy(window)[None])[0].numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--limit", type=int, default=150, help="sounds for the cosine and the overlap"
    )
    parser.add_argument("--fit", type=Path, help="the torch weights that the graph was made from")
    arguments = parser.parse_args()
    model = wavtext.load_model()
    graph = model.folder / "audio.onnx"
    paths = sorted(p for p in arguments.sounds.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    windows = [mel for path in paths[: arguments.limit] for _, _, mel in model.cut(path)]
    full = max(window.shape for window in windows)
    timed = [window for window in windows if window.shape == full][:20]
    scratch = tempfile.TemporaryDirectory()
    small = int8_graph(graph, Path(scratch.name))
    names = ["onnxruntime f32", "onnxruntime int8", "openvino f32"]
    reference_name = "torch f32" if arguments.fit else "onnxruntime f32"
    if arguments.fit:
        names.insert(0, reference_name)
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        names.append("openvino bf16")

    def runner(name: str, shape: tuple[int, ...]) -> Runner:
        if name == "torch f32":
            return torch_runner(arguments.fit)
        if name.startswith("onnxruntime"):
            return onnxruntime_runner(small if name.endswith("int8") else graph)
        return openvino_runner(graph, name.split()[1], shape)

    runners = {name: runner(name, full) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            begin = time.process_time()
            for window in timed:
                runners[name](window)
            seconds[name].append((time.process_time() - begin) / len(timed))

    embeddings: dict[str, np.ndarray] = {}
    for name in names:
        by_shape: dict[tuple[int, ...], Runner] = {}
        rows: list[np.ndarray] = []
        for window in windows:
            if window.shape not in by_shape:
                by_shape[window.shape] = runner(name, window.shape)
            rows.append(by_shape[window.shape](window))
        found = np.array(rows)
        embeddings[name] = found / np.linalg.norm(found, axis=1, keepdims=True)
    queries = model.embed_text(read_captions(CAPTION_BANK)[::5])
    reference = embeddings[reference_name]
    top = np.argsort(-queries @ reference.T, axis=1)[:, :10]
    result: dict[str, object] = machine() | {
        "model": model.identity,
        "windows": len(windows),
        "queries": len(queries),
        "reference": reference_name,
    }
    for name in names:
        cosine = (embeddings[name] * reference).sum(1)
        other = np.argsort(-queries @ embeddings[name].T, axis=1)[:, :10]
        overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(top, other, strict=True)])
        result[name] = summary(5.0 / np.array(seconds[name])) | {
            "unit": "times real time a CPU second",
            "cosine_median": round(float(np.median(cosine)), 5),
            "cosine_least": round(float(cosine.min()), 5),
            "top10_overlap": round(float(overlap), 4),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
