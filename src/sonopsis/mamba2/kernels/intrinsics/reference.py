"""What each intrinsic computes, in NumPy: the tests compare the machine code with these. No numba, no torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[Any]


def as_float(stored: Array) -> Floats:
    """Stored weights as float32: bfloat16 bits (uint16), float16 bits (int16), int8 or float32."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if stored.dtype == np.int16:
        return stored.view(np.float16).astype(np.float32)
    return stored.astype(np.float32)


def as_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16 of float32 values, halves to even; NaN becomes 0x7FC0."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def power_of_two(exponent: NDArray[np.int32]) -> Floats:
    """2 ** exponent."""
    return np.ldexp(np.float32(1), exponent)


def dot_rows(weight: Array, row: int, rows: int, x: Floats, b: int, vectors: int, count: int) -> Floats:
    """Products of `rows` rows of weight from `row` on and `vectors` rows of x from `b` on, (rows, vectors)."""
    return as_float(weight[row : row + rows, :count]) @ x[b : b + vectors, :count].T


def update_state(state: Floats, p: int, b: Floats, c: Floats, keep: float, writes: Floats, count: int) -> Floats:
    """Update len(writes) rows of the state from `p` on in place, and return their products with c."""
    rows = state[p : p + len(writes), :count]
    rows[:] = keep * rows + writes[:, None] * b[:count]
    return rows @ c[:count]


def add_product(out: Floats, keep: float, left: Floats, right: Floats, count: int) -> Floats:
    """keep * out + left @ right over the first `count` terms."""
    return np.float32(keep) * out + left[:, :count] @ right[:count]


def add_columns(out: Floats, left: Floats, right: Floats) -> Floats:
    """out + left @ right, of which left may have more columns than right has rows."""
    return out + left[:, : len(right)] @ right
