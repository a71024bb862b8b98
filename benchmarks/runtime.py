"""Which CPU runtime and which precision should run the compact model?

    python benchmarks/runtime.py [--sounds DIR] [--rounds 5] [--float runs/compact/audio.onnx]

One thread each, alternating rounds, CPU seconds.  For each runtime and precision: times real time,
cosine to the reference, and how much the top ten of real queries overlaps with the reference's.
"8 bits" is the graph in the package; with --float, the graph that it was made from (assemble.py
--keep-float), that one is compared too, and ONNX Runtime's output for it is the reference.
"""

import argparse
import json
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--limit", type=int, default=150, help="sounds for the cosine and the overlap"
    )
    parser.add_argument("--float", type=Path, dest="plain", help="the graph in float32")
    arguments = parser.parse_args()
    model = wavtext.load_model()
    paths = sorted(p for p in arguments.sounds.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    windows = [mel for path in paths[: arguments.limit] for _, _, mel in model.cut(path)]
    full = max(window.shape for window in windows)
    timed = [window for window in windows if window.shape == full][:20]
    names = ["onnxruntime 8 bits", "openvino 8 bits"]
    if arguments.plain:
        names = ["onnxruntime f32", "openvino f32", "openvino bf16", *names]
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        names = [name for name in names if name != "openvino bf16"]

    def runner(name: str, shape: tuple[int, ...]) -> Runner:
        runtime, precision = name.split(maxsplit=1)
        graph = model.folder / "audio.onnx" if precision == "8 bits" else arguments.plain
        if runtime == "onnxruntime":
            return onnxruntime_runner(graph)
        return openvino_runner(graph, "bf16" if precision == "bf16" else "f32", shape)

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
    reference = embeddings[names[0]]
    top = np.argsort(-queries @ reference.T, axis=1)[:, :10]
    result: dict[str, object] = machine() | {
        "model": model.identity,
        "windows": len(windows),
        "queries": len(queries),
        "reference": names[0],
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
