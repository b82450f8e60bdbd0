"""The functions of one number or one vector that the kernels share: exp, SiLU, softplus, RMS norm. No torch."""

import numpy as np

from sonopsis.mamba2.kernels.intrinsics.scalars import as_stored, power_of_two, wide_registers
from sonopsis.mamba2.kernels.jit import FAST, jit

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
C2, C3, C4, C5, C6, C7 = (
    np.float32(value) for value in (0.5, 0.16666665459, 0.0416657959, 0.00833345201, 0.001393209, 1.9875691e-4)
)
EXP_MIN, EXP_MAX = np.float32(-87), np.float32(88)  # exp gives the values at these ends beyond them
SOFTPLUS_LINEAR = np.float32(20)  # softplus(x) is x from here on, as in torch


@jit(fastmath={"contract"})
def exp(x):  # type: ignore[no-untyped-def]
    """exp(x) in float32; relative error below 2e-7 for x in -87..88, the values at the ends beyond them.

    x = k ln 2 + r with a whole k and |r| <= ln 2 / 2; exp(x) = 2 ** k * exp(r), and exp(r) is a polynomial of degree 7.
    ln 2 is split in two numbers so that r keeps its digits. There is no branch, so loops over it become vector code.
    """
    x = min(max(x, EXP_MIN), EXP_MAX)
    k = np.float32(np.floor(x * LOG2E + HALF))
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return (p * r * r + r + ONE) * power_of_two(np.int32(k))


@jit(fastmath=FAST)
def silu(x):  # type: ignore[no-untyped-def]
    """x * sigmoid(x) in float32."""
    return x / (ONE + exp(-x))


@jit(fastmath=FAST)
def softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x)) in float32."""
    return x if x > SOFTPLUS_LINEAR else np.float32(np.log1p(np.exp(x)))


@jit(fastmath=FAST)
def rms_norm(x, weight, eps, out):  # type: ignore[no-untyped-def]
    """x (K,) / sqrt(mean(x ** 2) + eps) * weight into `out` (K,), which may be x, or hold bfloat16 bits."""
    wide_registers()
    total = ZERO
    for k in range(x.shape[0]):
        total += x[k] * x[k]
    factor = ONE / np.sqrt(total / np.float32(x.shape[0]) + eps)
    for k in range(x.shape[0]):
        out[k] = as_stored(x[k] * factor * weight[k], out)


@jit(fastmath=FAST)
def group_norm(x, weight, eps, groups, out):  # type: ignore[no-untyped-def]
    """`rms_norm` of each of `groups` equal parts of x (K,)."""
    size = x.shape[0] // groups
    for g in range(groups):
        # numba assumes that an index may be negative and emits gathers; slices avoid that.
        first, last = g * size, (g + 1) * size
        rms_norm(x[first:last], weight[first:last], eps, out[first:last])
