"""Products of stored weights and vectors in float32, and the small products of the recurrence. No torch.

With fewer than MANY_VECTORS vectors each row of the weights is multiplied as it comes from memory, and its sums run
along it. From there on the vectors lie side by side, one in each lane of a register: no sum runs across a register, and
narrow weights are widened once for all vectors.
"""

from typing import NamedTuple

import numpy as np

from sonopsis.mamba2.kernels.barrier import arrive, wait
from sonopsis.mamba2.kernels.functions import ZERO
from sonopsis.mamba2.kernels.intrinsics.dot import STEP, dot_4x1, dot_4x4
from sonopsis.mamba2.kernels.intrinsics.products import (
    COLUMN_VECTORS,
    PITCH,
    TERMS,
    TILE_ROWS,
    TILE_VECTORS,
    WEIGHT_ROWS,
    add_column,
    add_columns,
    add_row,
    add_tile,
)
from sonopsis.mamba2.kernels.intrinsics.scalars import as_float, wide_registers
from sonopsis.mamba2.kernels.intrinsics.vectors import LANES
from sonopsis.mamba2.kernels.jit import FAST, jit
from sonopsis.mamba2.kernels.weights import Floats

MANY_VECTORS = 8
ROWS = 64 // WEIGHT_ROWS * WEIGHT_ROWS  # of a matrix that a thread takes at once
BLOCK = 16  # rows and columns that are transposed at once


class ProductMemory(NamedTuple):
    """Memory for `project` with MANY_VECTORS vectors or more; it must start with finite numbers.

    columns (K, B in whole registers or more) holds x transposed; widened (WEIGHT_ROWS, PITCH) and sums (ROWS, the
    same width as columns) belong to one thread, or have a leading axis of threads.
    """

    columns: Floats
    widened: Floats
    sums: Floats

    @classmethod
    def new(cls, threads: int, terms: int, batch: int) -> "ProductMemory":
        """For `threads` threads that share `columns`, sums of up to `terms` terms, and `batch` vectors."""
        width = -(-batch // LANES) * LANES if batch >= MANY_VECTORS else 0
        if width >= 64:  # rows a large power of two apart share few lines of a cache
            width += 16
        return cls(
            np.zeros((terms, width), np.float32),
            np.zeros((threads, WEIGHT_ROWS, PITCH), np.float32),
            np.zeros((threads, ROWS, width), np.float32),
        )


@jit(fastmath={"contract"})  # in order: vector code for so few terms would double what is to be compiled
def _remainder(w, x, start):  # type: ignore[no-untyped-def]
    """The product of two vectors from `start` on."""
    total = ZERO
    for k in range(start, w.shape[0]):
        total += as_float(w[k]) * x[k]
    return total


@jit(fastmath=FAST)
def _add_four_rows(matrix, row, x, out):  # type: ignore[no-untyped-def]
    """out[:, row : row + 4] += x (B, K) @ the four rows of the matrix from `row` on, transposed."""
    weight, scale = matrix
    batch, size = x.shape[0], weight.shape[1]
    even = size - size % STEP
    b = 0
    while b + 4 <= batch:
        sums = dot_4x4(weight, row, x, b, even)
        for j in range(4):
            for i in range(4):
                rest = _remainder(weight[row + i], x[b + j], even) if even < size else ZERO
                out[b + j, row + i] += (sums[4 * i + j] + rest) * scale[row + i]
        b += 4
    while b < batch:
        column = dot_4x1(weight, row, x, b, even)
        for i in range(4):
            rest = _remainder(weight[row + i], x[b], even) if even < size else ZERO
            out[b, row + i] += (column[i] + rest) * scale[row + i]
        b += 1


@jit(fastmath=FAST)
def _add_many(matrix, columns, out, first, last, widened, sums):  # type: ignore[no-untyped-def]
    """out[:, first:last] += the transposed rows first..last of the matrix, at most ROWS, by columns (K, B)."""
    wide_registers()
    weight, scale = matrix
    size, whole = weight.shape[1], (out.shape[0] + LANES - 1) // LANES * LANES
    sums[:] = ZERO
    for start in range(0, size, TERMS):
        end = min(start + TERMS, size)
        terms = columns[start:end]
        for top in range(first, last, WEIGHT_ROWS):
            for i in range(min(WEIGHT_ROWS, last - top)):
                row, wide = weight[top + i, start:end], widened[i]
                for k in range(row.shape[0]):
                    wide[k] = as_float(row[k])
            total = sums[top - first : top - first + WEIGHT_ROWS]
            if top + WEIGHT_ROWS < last:  # the weights that are multiplied next
                ahead = weight[top + WEIGHT_ROWS :, start:]
            elif end < size:
                ahead = weight[first:, end:]
            else:
                ahead = weight[last:]
            column = 0
            while column + COLUMN_VECTORS * LANES <= whole:
                add_columns(total, column, widened, terms, ahead)
                column += COLUMN_VECTORS * LANES
            while column < whole:
                add_column(total, column, widened, terms, ahead)
                column += LANES
    for b in range(out.shape[0]):
        for i in range(last - first):
            out[b, first + i] += sums[i, b] * scale[first + i]


@jit()
def transpose(x, columns, first, last):  # type: ignore[no-untyped-def]
    """columns[first:last, :B] = x[:, first:last] transposed, if `columns` has room for any; x is (B, K)."""
    if columns.shape[1]:
        for top in range(0, x.shape[0], BLOCK):
            for left in range(first, last, BLOCK):
                for k in range(left, min(left + BLOCK, last)):
                    for b in range(top, min(top + BLOCK, x.shape[0])):
                        columns[k, b] = x[b, k]


@jit(fastmath=FAST)
def project(matrix, x, out, first, last, memory):  # type: ignore[no-untyped-def]
    """out[:, first:last] += x @ the rows first..last of the matrix (R, K), transposed; x (B, K), out (B, R) float32.

    With MANY_VECTORS vectors or more, `memory.columns` must hold x transposed (`transpose`).
    """
    batch, row = x.shape[0], first
    if batch >= MANY_VECTORS:
        while row < last:
            end = min(row + ROWS, last)
            _add_many(matrix, memory.columns[: x.shape[1]], out, row, end, memory.widened, memory.sums)
            row += ROWS
        return
    while row + 4 <= last:
        _add_four_rows(matrix, row, x, out)
        row += 4
    while row < last:
        for b in range(batch):
            out[b, row] += _remainder(matrix.data[row], x[b], 0) * matrix.scale[row]
        row += 1


@jit(fastmath=FAST)
def multiply(matrix, x, out, memory, counters, thread, threads):  # type: ignore[no-untyped-def]
    """out (B, R) = x (B, K) @ the matrix (R, K), transposed, for many positions; all threads call it at once.

    `counters` (3, 8) start as zeros.
    """
    own = ProductMemory(memory.columns, memory.widened[thread], memory.sums[thread])
    size, rows = matrix.data.shape[1], matrix.data.shape[0]
    first = arrive(counters[1]) * BLOCK
    while first < size:
        transpose(x, memory.columns, first, min(first + BLOCK, size))
        first = arrive(counters[1]) * BLOCK
    wait(counters[0], threads)
    first = arrive(counters[2]) * ROWS
    while first < rows:
        last = min(first + ROWS, rows)
        out[:, first:last] = ZERO
        project(matrix, x, out, first, last, own)
        first = arrive(counters[2]) * ROWS
    wait(counters[0], 2 * threads)


@jit(fastmath=FAST)
def scaled_product(out, rows, keep, left, right, count):  # type: ignore[no-untyped-def]
    """out (rows, J) = keep * out + left (rows, K) @ right (K, J) over the first `count` of K; J a multiple of LANES."""
    wide_registers()
    columns = out.shape[1]
    i = 0
    while i + TILE_ROWS <= rows:
        column = 0
        while column + TILE_VECTORS * LANES <= columns:
            add_tile(out, i, column, keep, left, right, count)
            column += TILE_VECTORS * LANES
        if column < columns:
            for r in range(i, i + TILE_ROWS):
                add_row(out, r, column, keep, left, right, count)
        i += TILE_ROWS
    while i < rows:
        for column in range(0, columns, LANES):
            add_row(out, i, column, keep, left, right, count)
        i += 1
