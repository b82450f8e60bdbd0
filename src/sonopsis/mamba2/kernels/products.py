"""A step's products of weights and a few vectors, as machine code. No torch.

A vector or a handful: each row of the weights is multiplied as it comes from memory, and its sums run along it. From
`MANY_VECTORS` on the vectors lie side by side in a register, one in each lane: no sum then runs across one, and narrow
weights are widened once for all of them.
"""

from sonopsis.mamba2.kernels.compiled import FAST, ZERO, compiled
from sonopsis.mamba2.kernels.lanes import LANES, STEP, as_float, tile1, tile4, wide_registers
from sonopsis.mamba2.kernels.registers import MANY, TERMS, add_lanes

MANY_VECTORS = 8
ROWS = 64  # of a matrix that a thread takes at once


@compiled(fastmath={"contract"})  # in order: vector code for so few terms would double what is to be compiled
def _remainder(w, x, start):  # type: ignore[no-untyped-def]
    """The product of two vectors from `start` on."""
    total = ZERO
    for k in range(start, w.shape[0]):
        total += as_float(w[k]) * x[k]
    return total


@compiled(fastmath=FAST)
def _four(weight, scale, row, x, out):  # type: ignore[no-untyped-def]
    """Four rows of weight from `row` on by every x (B, K), added to `out` (B, rows)."""
    batch, size = x.shape[0], weight.shape[1]
    even = size - size % STEP
    b = 0
    while b + 4 <= batch:
        sums = tile4(weight, row, x, b, even)
        for j in range(4):
            for i in range(4):
                rest = _remainder(weight[row + i], x[b + j], even) if even < size else ZERO
                out[b + j, row + i] += (sums[4 * i + j] + rest) * scale[row + i]
        b += 4
    while b < batch:
        column = tile1(weight, row, x, b, even)
        for i in range(4):
            rest = _remainder(weight[row + i], x[b], even) if even < size else ZERO
            out[b, row + i] += (column[i] + rest) * scale[row + i]
        b += 1


@compiled(fastmath=FAST)
def _lanes(weight, scale, turned, out, first, last, rows, sums):  # type: ignore[no-untyped-def]
    """The rows first..last of weight, at most ROWS, by every column of turned (K, B), added to `out` (B, rows)."""
    wide_registers()
    size = weight.shape[1]
    sums[:] = ZERO
    for start in range(0, size, TERMS):
        end = min(start + TERMS, size)
        terms = turned[start:end]
        for top in range(first, last, MANY):
            for i in range(min(MANY, last - top)):
                row, wide = weight[top + i, start:end], rows[i]
                for k in range(row.shape[0]):
                    wide[k] = as_float(row[k])
            total = sums[top - first : top - first + MANY]
            if top + MANY < last:
                ahead = weight[top + MANY :, start:]
            elif end < size:
                ahead = weight[first:, end:]
            else:
                ahead = weight[last:]
            for column in range(0, turned.shape[1], LANES):
                add_lanes(total, column, rows, terms, ahead)
    for b in range(out.shape[0]):
        for i in range(last - first):
            out[b, first + i] += sums[i, b] * scale[first + i]


@compiled()
def turn(x, turned):  # type: ignore[no-untyped-def]
    """x (B, K) into the columns of turned (at least K, B in whole registers), if there is room for any."""
    if turned.shape[1]:
        for k in range(x.shape[1]):
            for b in range(x.shape[0]):
                turned[k, b] = x[b, k]


@compiled(fastmath=FAST)
def project(weight, scale, x, turned, out, first, last, rows, sums):  # type: ignore[no-untyped-def]
    """out (B, rows) += x (B, K) @ weight (rows, K)^T for the rows first..last.

    turned (at least K, B in whole registers), rows (MANY, PITCH) and sums (ROWS, B in whole registers) are used where
    there are at least MANY_VECTORS x; `turned` then holds x. The others hold what is finite.
    """
    batch, row = x.shape[0], first
    if batch >= MANY_VECTORS:
        while row < last:
            _lanes(weight, scale, turned[: x.shape[1]], out, row, min(row + ROWS, last), rows, sums)
            row += ROWS
        return
    while row + 4 <= last:
        _four(weight, scale, row, x, out)
        row += 4
    while row < last:
        for b in range(batch):
            out[b, row] += _remainder(weight[row], x[b], 0) * scale[row]
        row += 1
