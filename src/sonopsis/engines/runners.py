"""One graph, run by onnxruntime or by OpenVINO."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonopsis.files import WEIGHTS, ModelError
from sonopsis.graphs.names import PREFILL, STEP
from sonopsis.installed import installed as can_import
from sonopsis.installed import onnx_runtime, open_vino
from sonopsis.many import cores

Arrays = dict[str, NDArray[Any]]

PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}  # engine -> the package that runs it, in order of preference
PRECISIONS = {"openvino": ("float32", "bfloat16", "float16"), "onnx": ("float32", "int8")}


class Runner(Protocol):
    """A graph ready to run; safe to call from several threads."""

    outputs: list[str]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """All outputs, by name."""


def installed(engine: str) -> bool:
    """Whether the package of an engine is there."""
    return can_import(PACKAGES[engine])


def open_runner(engine: str, file: Path, precision: str, threads: int) -> Runner:
    """A graph on an engine, computing in `precision` with `threads` threads; raises ModelError for a bad file."""
    try:
        return OnnxRunner(file, threads) if engine == "onnx" else OpenVinoRunner(file, precision, threads)
    except Exception as error:  # both raise classes of their own
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file}: {engine} cannot read this graph; export the model again ({reason})") from error


class OnnxRunner:
    """A graph on onnxruntime, in float32."""

    def __init__(self, file: Path, threads: int) -> None:
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if file.name in (PREFILL, STEP):  # many small nodes: further rewriting takes longer than one caption gains
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Within a call threads wait for their next piece of work without sleeping, which saves 3 % of an AST's time.
        # After the call they must stop: they would take the core that another engine or the front end needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """All outputs, by name."""
        return dict(zip(self.outputs, self._session.run(None, dict(inputs)), strict=True))


@contextmanager
def _beside_its_weights(file: Path) -> Iterator[Path]:
    """A graph in a folder that really holds its weights; the hub's cache has links, which OpenVINO does not follow."""
    weights = file.parent / WEIGHTS
    if not weights.is_symlink():
        yield file
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            os.link(weights.resolve(), Path(scratch) / WEIGHTS)
        except OSError:  # another file system
            shutil.copyfile(weights, Path(scratch) / WEIGHTS)
        yield Path(shutil.copyfile(file, Path(scratch) / file.name))


class OpenVinoRunner:
    """A graph on OpenVINO; with fewer threads than the machine has cores it computes several calls at once."""

    def __init__(self, file: Path, precision: str, threads: int) -> None:
        openvino = open_vino()
        hints = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision],
            "INFERENCE_NUM_THREADS": cores(),
            "NUM_STREAMS": max(1, cores() // threads),
        }
        with _beside_its_weights(file) as graph:
            self._model = openvino.Core().compile_model(str(graph), "CPU", hints)
        # Its first array makes tables of its own, and two threads that do so at once wait for each other for ever. An
        # engine opens graphs one at a time, and so it happens here.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
        # An output goes by the names of all values it is equal to; nodes begin with a capital letter, outputs do not.
        self.outputs = [
            min(output.get_names(), key=lambda name: not name[0].islower()) for output in self._model.outputs
        ]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """All outputs, by name."""
        results = self._model.create_infer_request().infer(dict(inputs))
        return {name: np.array(results[name]) for name in self.outputs}
