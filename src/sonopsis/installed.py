"""Optional packages: whether one is there, and the one line for whoever needs one that is not.

Engines that report their use to their makers are imported here, told not to.

The base installation tags and captions with the graphs of exported models. All else is in extras of pyproject.toml;
`EXTRAS` says which of them brings which package.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

# A module that code imports when it is needed -> the extra that installs it.
EXTRAS = {
    "torch": "torch",
    "accelerate": "train",
    "zstandard": "data",
    "onnx": "export",
    "numba": "fast",
    "llvmlite": "fast",
    "openvino": "openvino",
    "huggingface_hub": "hub",
    "transformers": "hf",
    "av": "media",
    "pyarrow": "parquet",
    "fastapi": "serve",
    "uvicorn": "serve",
    "starlette": "serve",
    "pydantic": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "optuna": "sweep",
    "ray": "scale",
    "jinja2": "report",
    "matplotlib": "report",
    "sklearn": "report",
}


class MissingPackageError(ModuleNotFoundError, ValueError):
    """A package that an extra would install is not there; the message is one line that names the extra."""


def installed(package: str) -> bool:
    """Whether a package can be imported; nothing is imported to find out."""
    try:
        return find_spec(package) is not None
    except ValueError:  # the package was put into sys.modules by hand, as None or without a description
        return False


def onnx_runtime() -> Any:
    """The package onnxruntime, told to report nothing to Microsoft and to write no identifier into the home folder.

    ORT_DISABLE_TELEMETRY=0 in the environment allows it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_vino() -> Any:
    """The package openvino, which cannot report to Intel and writes no identifier into the home folder."""
    reporter = "openvino_telemetry"
    hidden = reporter not in sys.modules
    if hidden:
        sys.modules[reporter] = None  # type: ignore[assignment]  # as if it were not installed: openvino can do without
    try:
        import openvino
    finally:
        if hidden:
            sys.modules.pop(reporter, None)
    return openvino


def require(package: str, what: str) -> None:
    """Raises MissingPackageError when `what`, a name for readers, cannot work because a package is not there."""
    if not installed(package):
        raise missing(package, what)


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Imports in this block are those of `what`; one that fails for want of an extra raises MissingPackageError."""
    try:
        yield
    except MissingPackageError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise missing(package, what) from None


def missing(package: str, what: str) -> MissingPackageError:
    """The error that names a package, what needs it, and what installs it."""
    wanted = f"sonopsis[{EXTRAS[package]}]" if package in EXTRAS else package
    return MissingPackageError(f'{what} needs {package}, which is not installed: pip install "{wanted}"', name=package)
