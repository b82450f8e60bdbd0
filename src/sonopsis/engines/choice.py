"""Which engine and which precision a model gets, and the engine itself.

`auto` chooses by what the model has (graphs), what is installed, and what the processor does in hardware. It writes the
reason to the log "sonopsis" at level INFO.
"""

import json
import logging
from pathlib import Path
from typing import Any

from sonopsis.engines.base import Engine
from sonopsis.engines.exported import ExportedEngine
from sonopsis.engines.made import with_graphs
from sonopsis.engines.runners import PACKAGES, PRECISIONS, installed
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder
from sonopsis.graphs.names import STAMP, TAG_INT8, stamp
from sonopsis.installed import installed as can_import
from sonopsis.installed import missing, needed_by
from sonopsis.many import cores
from sonopsis.processor import processor

# Bytes of weights under which onnxruntime is taken before OpenVINO: it is up in 0.3 s where the other compiles for a
# second, and the large matrix products in which OpenVINO is ahead are not there.
SMALL = 50_000_000
ENGINES = ("auto", "torch", "onnx", "openvino")
AUTO = "auto"  # as a precision: the fastest that the processor has in hardware
_log = logging.getLogger("sonopsis")
_said: set[str] = set()  # warnings that were given; each is given once


def open_engine(folder: ModelFolder, engine: str, device: str | None, dtype: Any) -> Engine:
    """What computes a model; raises ValueError for what `sonopsis.load` says."""
    on_cpu = device in (None, "cpu")
    precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    precision = _precision(precision, engine, folder, on_cpu)
    chosen, reason = _choose(folder, engine, device, precision)
    found = processor()
    _log.info("engine %s in %s: %s; processor %s with %s", chosen, precision, reason, found.name, found.vectors)
    if chosen == "torch":
        return _torch(folder, device, precision)
    if not on_cpu:
        raise ValueError(f"engine {chosen!r} computes on the CPU; leave out device, or use engine 'torch'")
    if precision not in PRECISIONS[chosen]:
        raise ValueError(f"engine {chosen!r} computes in {' or '.join(PRECISIONS[chosen])}, not {precision!r}")
    if not _exported(folder):
        folder = with_graphs(folder, "int8" if precision == "int8" else "onnx")
    if json.loads((folder.path / STAMP).read_text(encoding="utf-8")) != stamp(folder.weights):
        raise ModelError(f"{folder.path}: its graphs are of other weights; make them again: {_command(folder.path)}")
    return ExportedEngine(folder, chosen, precision, cores())


def _precision(asked: str, engine: str, folder: ModelFolder, on_cpu: bool) -> str:
    """The precision to compute in: what was asked for, unless that is "auto" or the processor cannot multiply it.

    "auto" is int8 for a model that only tags and has the graph for it, else bfloat16 where the processor has it.
    """
    if asked != AUTO:
        if on_cpu and not processor().computes(asked) and asked in PRECISIONS.get(engine, (asked,)):
            _warn(
                f"the processor ({processor().name}) has no instructions for {asked}, which would be several times "
                "slower than float32; computing in float32"
            )
            return "float32"
        return asked
    if not on_cpu:
        return "float32"
    tags_in_int8 = _exported(folder) and folder.config.lm is None and (folder.path / TAG_INT8).is_file()
    if tags_in_int8 and engine in ("auto", "onnx") and installed("onnx"):
        return "int8"
    has_bfloat16 = engine != "onnx" and (installed("openvino") or can_import("torch"))
    return "bfloat16" if has_bfloat16 and processor().computes("bfloat16") else "float32"


def _choose(folder: ModelFolder, engine: str, device: str | None, precision: str) -> tuple[str, str]:
    """The engine for a model folder, and the reason in a few words."""
    exported = _exported(folder)
    if engine in PACKAGES:
        if not installed(engine):
            raise missing(PACKAGES[engine], f"engine {engine!r}")
        return engine, "as asked for"
    if engine == "torch":
        return engine, "as asked for"
    if device not in (None, "cpu"):
        return "torch", f"only torch computes on the device {device}"
    if not exported:
        return "torch", f"{folder.name} has no graphs; {_how_to_have_them(folder)}"
    found = [name for name in PACKAGES if installed(name) and precision in PRECISIONS[name]]
    if not found:
        if not any(map(installed, PACKAGES)):
            _warn(
                "neither openvino nor onnxruntime is installed, so torch computes, which is slower: "
                'pip install "sonopsis[openvino]"'
            )
        return "torch", f"no installed package computes the graphs in {precision}"
    if len(found) == 1:
        return found[0], f"the only installed package that computes the graphs in {precision}"
    if folder.weights.stat().st_size < SMALL:
        return "onnx", "of the packages that compute graphs it starts first, and this model is small"
    if "avx512f" not in processor().flags and "onnx" in found:
        return "onnx", "of the packages that compute graphs it is the fastest on a processor without AVX-512"
    return "openvino", "of the packages that compute graphs it is the fastest for large models on this processor"


def _exported(folder: ModelFolder) -> bool:
    """Whether the model has graphs."""
    return folder.state is None and (folder.path / STAMP).is_file()


def _how_to_have_them(folder: ModelFolder) -> str:
    from sonopsis.graphs.write import check_parts  # not needed by models that have graphs, which start faster without

    try:
        check_parts(folder.config)
    except ValueError:
        return "some of its parts are computed by torch alone"
    return f"{_command(folder.path)} makes them"


def _warn(line: str) -> None:
    if line not in _said:
        _said.add(line)
        _log.warning(line)


def _torch(folder: ModelFolder, device: str | None, precision: str) -> Engine:
    with needed_by("engine 'torch'"):
        import torch

        from sonopsis.engines.torch import TorchEngine
        from sonopsis.modules import build
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
