"""How kernels are compiled: numba's decorator with a cache on disk. No torch."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; infinities and NaN keep their meaning


def jit(**flags: Any) -> Callable[[F], F]:
    """`numba.njit` without the interpreter's lock, cached on disk, or not cached where no folder can be written."""

    def wrap(function: F) -> F:
        try:
            kernel: F = njit(nogil=True, error_model="numpy", cache=True, **flags)(function)
        except RuntimeError:  # numba finds neither a folder beside the source nor one of the user
            kernel = njit(nogil=True, error_model="numpy", **flags)(function)
        return kernel

    return wrap
