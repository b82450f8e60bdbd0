"""Which engine a model gets, and the engine itself."""

import json
import logging
from pathlib import Path
from typing import Any

from sonopsis.engines.base import Engine
from sonopsis.engines.exported import ExportedEngine
from sonopsis.engines.runners import EXTRAS, PACKAGES, PRECISIONS, installed
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder
from sonopsis.graphs.names import STAMP, stamp
from sonopsis.many import cores

# Bytes of weights under which onnxruntime is taken before OpenVINO: it is up in 0.3 s where the other compiles for a
# second, and the large matrix products in which OpenVINO is ahead are not there.
SMALL = 50_000_000
ENGINES = ("auto", "torch", "onnx", "openvino")
_said: set[str] = set()  # what "auto" fell back from, told once


def open_engine(folder: ModelFolder, engine: str, device: str | None, dtype: Any) -> Engine:
    """What computes a model; raises ValueError for what `sonopsis.load` says."""
    precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    chosen = _choose(folder, engine, device, precision)
    if chosen == "torch":
        return _torch(folder, device, precision)
    if device not in (None, "cpu"):
        raise ValueError(f"engine {chosen!r} computes on the CPU; leave out device, or use engine 'torch'")
    if precision not in PRECISIONS[chosen]:
        raise ValueError(f"engine {chosen!r} computes in {' or '.join(PRECISIONS[chosen])}, not {precision!r}")
    if json.loads((folder.path / STAMP).read_text(encoding="utf-8")) != stamp(folder.weights):
        raise ModelError(f"{folder.path}: its graphs are of other weights; make them again: {_command(folder.path)}")
    return ExportedEngine(folder, chosen, precision, cores())


def _choose(folder: ModelFolder, engine: str, device: str | None, precision: str) -> str:
    exported = folder.state is None and (folder.path / STAMP).is_file()
    if engine in PACKAGES:
        if not exported:
            raise ModelError(f"{folder.name} has no graphs for {engine}; make them: {_command(folder.path)}")
        if not installed(engine):
            raise ValueError(f'engine {engine!r} is not installed: pip install "sonopsis[{EXTRAS[engine]}]"')
        return engine
    if engine == "torch" or not exported or device not in (None, "cpu"):
        return "torch"
    found = [name for name in PACKAGES if installed(name) and precision in PRECISIONS[name]]
    if folder.weights.stat().st_size < SMALL:
        found.reverse()
    if not found and "graphs" not in _said and not any(map(installed, PACKAGES)):
        _said.add("graphs")
        logging.getLogger("sonopsis").warning(
            "neither openvino nor onnxruntime is installed, so torch computes, which is slower: "
            'pip install "sonopsis[openvino]"'
        )
    return found[0] if found else "torch"


def _torch(folder: ModelFolder, device: str | None, precision: str) -> Engine:
    try:
        import torch

        from sonopsis.engines.torch import TorchEngine
        from sonopsis.modules import build
    except ModuleNotFoundError as error:
        raise ValueError(f"engine 'torch' needs torch ({error}); export the model elsewhere, or install it") from error
    module = build(folder)
    dtype = getattr(torch, precision, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"engine 'torch' computes in float32, bfloat16 or float16, not {precision!r}")
    try:
        module.to(device=device, dtype=dtype)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return TorchEngine(module)


def _command(model: Path) -> str:
    return f"sonopsis export {model} --to onnx -o FOLDER"
