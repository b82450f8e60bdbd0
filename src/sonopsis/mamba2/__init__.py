"""Mamba-2 language models in plain torch: train, load, read a prompt once, continue it many times.

The configuration loads without torch; what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonopsis.installed import needed_by
from sonopsis.mamba2.config import Mamba2Config

if TYPE_CHECKING:
    from sonopsis.mamba2.cache import Cache
    from sonopsis.mamba2.model import Mamba2LM

__all__ = ["Cache", "Mamba2Config", "Mamba2LM"]

_TORCH = {"Cache": "sonopsis.mamba2.cache", "Mamba2LM": "sonopsis.mamba2.model"}


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        with needed_by(f"sonopsis.mamba2.{name}"):
            return getattr(import_module(_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
