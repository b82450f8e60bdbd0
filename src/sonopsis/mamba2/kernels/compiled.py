"""Compiled functions kept on disk, and the few functions of one variable that all kernels share. No torch."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from sonopsis.mamba2.kernels.lanes import narrowed, wide_registers

F = TypeVar("F", bound=Callable[..., Any])
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
C2, C3, C4, C5, C6, C7 = (
    np.float32(value) for value in (0.5, 0.16666665459, 0.0416657959, 0.00833345201, 0.001393209, 1.9875691e-4)
)
LEAST, MOST = np.float32(-87), np.float32(88)


def compiled(**flags: Any) -> Callable[[F], F]:
    """`numba.njit` with a cache on disk, or without where no folder can be written."""

    def wrap(function: F) -> F:
        try:
            kernel: F = njit(nogil=True, error_model="numpy", cache=True, **flags)(function)
        except RuntimeError:  # numba finds neither a folder beside the source nor one of the user
            kernel = njit(nogil=True, error_model="numpy", **flags)(function)
        return kernel

    return wrap


FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; infinities and NaN keep their meaning


@intrinsic
def power_of_two(context: Any, exponent: Any) -> Any:
    """2 ** exponent (int32 in -126..127) as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.add(arguments[0], ir.Constant(i32, 127)), ir.Constant(i32, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), generate


@compiled(fastmath={"contract"})
def exp(x):  # type: ignore[no-untyped-def]
    """exp(x) in float32 without a branch, so that loops over it become vector code; error below 2e-7 of the value."""
    x = min(max(x, LEAST), MOST)
    k = np.float32(np.floor(x * LOG2E + HALF))
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return (p * r * r + r + ONE) * power_of_two(np.int32(k))


@compiled(fastmath=FAST)
def silu(x):  # type: ignore[no-untyped-def]
    return x / (ONE + exp(-x))


@compiled(fastmath=FAST)
def scale_to_norm(x, weight, eps, out):  # type: ignore[no-untyped-def]
    """RMS norm of one vector; `out` may be x, or narrower."""
    wide_registers()
    total = ZERO
    for k in range(x.shape[0]):
        total += x[k] * x[k]
    factor = ONE / np.sqrt(total / np.float32(x.shape[0]) + eps)
    for k in range(x.shape[0]):
        out[k] = narrowed(x[k] * factor * weight[k], out)


@compiled(fastmath=FAST)
def rms_norm(x, weight, eps, groups, out):  # type: ignore[no-untyped-def]
    """RMS norm of each row of x (B, width) in equal groups."""
    wide_registers()
    size = x.shape[1] // groups
    for b in range(x.shape[0]):
        for g in range(groups):
            # Slices, since the compiler takes an index for one that may count from the end, and gathers.
            first, last = g * size, (g + 1) * size
            scale_to_norm(x[b, first:last], weight[first:last], eps, out[b, first:last])
