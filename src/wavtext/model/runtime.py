"""Run an ONNX graph on the CPU.  array (1, ...) -> embedding (dim,).

OpenVINO, chosen by benchmarks/runtime.py (docs/decisions/0002-runtime.md).  Each input is a
request of its own on one thread; cores work on different inputs.  So an embedding cannot depend on
the batch it came in, on the order, or on how many threads the machine has.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavtext.errors import ModelError
from wavtext.model.folder import Precision

_core: Any = None
_core_lock = threading.Lock()


def _openvino_core() -> Any:
    """One OpenVINO core a process: it starts its threads and reads the CPU's abilities once."""
    global _core
    with _core_lock:
        if _core is None:
            os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
            import openvino

            _core = openvino.Core()
        return _core


def num_cores() -> int:
    """The cores that this process may use; WAVTEXT_THREADS sets fewer, or more."""
    wanted = os.environ.get("WAVTEXT_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Graph:
    """One graph of a model folder, compiled for each input shape on its first use.

    Args:
        path: The .onnx file.
        precision: "auto" takes bfloat16 where the CPU has instructions for it.
        dynamic: Whether the second axis differs from call to call (tokens); otherwise each length
            that occurs is compiled for itself, which runs faster.
        threads: Inputs that run at once, at most; None: as many as there are cores.

    Thread-safe.
    """

    def __init__(
        self,
        path: Path,
        precision: Precision,
        *,
        dynamic: bool = False,
        threads: int | None = None,
    ) -> None:
        self._path = path
        self._precision: Precision = precision
        self._dynamic = dynamic
        self._threads = threads
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    @property
    def precision(self) -> str:
        """What "auto" comes to on this CPU: "bf16" or "f32"."""
        if self._precision != "auto":
            return self._precision
        capabilities = _openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return "bf16" if "BF16" in capabilities else "f32"

    def run(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Embed each input by itself.

        Args:
            inputs: Arrays without a batch axis: (frames, mels) float32 or (tokens,) int64.

        Returns:
            (inputs, dim) float32.
        """
        if not inputs:
            return np.empty((0, 0), np.float32)
        results: list[np.ndarray | None] = [None] * len(inputs)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, array in enumerate(inputs):
            by_shape.setdefault(() if self._dynamic else array.shape, []).append(i)
        for shape, members in by_shape.items():
            compiled = self._compile(shape)
            if len(members) == 1:
                request = compiled.create_infer_request()
                request.infer({0: inputs[members[0]][None]})
                results[members[0]] = request.get_output_tensor(0).data[0].copy()
                continue
            import openvino

            queue = openvino.AsyncInferQueue(compiled)

            def keep(request: Any, i: int) -> None:
                results[i] = request.get_output_tensor(0).data[0].copy()

            queue.set_callback(keep)
            for i in members:
                queue.start_async({0: inputs[i][None]}, userdata=i)
            queue.wait_all()
        return np.stack([result for result in results if result is not None]).astype(
            np.float32, copy=False
        )

    def _compile(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            if shape not in self._compiled:
                core = _openvino_core()
                cores = min(num_cores(), self._threads or num_cores())
                try:
                    graph = core.read_model(self._path)
                    if shape:
                        graph.reshape([1, *shape])
                    self._compiled[shape] = core.compile_model(
                        graph,
                        "CPU",
                        {
                            "INFERENCE_PRECISION_HINT": self.precision,
                            "INFERENCE_NUM_THREADS": cores,
                            "NUM_STREAMS": cores,
                        },
                    )
                except RuntimeError as error:
                    raise ModelError(
                        f"{self._path}: the graph cannot be run: {str(error).splitlines()[-1]}",
                        help="Copy the model folder again, or export it anew.",
                    ) from error
            return self._compiled[shape]
