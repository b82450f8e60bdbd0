"""Each intrinsic as machine code beside its NumPy reference, over all weight types and odd sizes."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
from numba import njit

from sonopsis.mamba2.kernels.intrinsics import reference
from sonopsis.mamba2.kernels.intrinsics.dot import STEP, dot_4x1, dot_4x4, update_state
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
from sonopsis.mamba2.kernels.intrinsics.scalars import as_float, as_stored, power_of_two
from sonopsis.mamba2.kernels.intrinsics.vectors import LANES
from sonopsis.mamba2.kernels.weights import PRECISIONS, Matrix, Precision

UNIT_ROUNDOFF = 2.0**-24


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_sums(found: Any, wanted: Any, magnitudes: Any, terms: int) -> None:
    """Two float32 sums of `terms` products, each wrong by at most `terms` roundoffs of the sum of the magnitudes."""
    assert np.all(np.abs(found - wanted) <= 2 * (terms + 2) * UNIT_ROUNDOFF * magnitudes)


@njit
def widen_all(stored: Any, out: Any) -> None:
    for i in range(len(stored)):
        out[i] = as_float(stored[i])


@njit
def store_all(values: Any, out: Any) -> None:
    for i in range(len(values)):
        out[i] = as_stored(values[i], out)


@njit
def powers(exponents: Any, out: Any) -> None:
    for i in range(len(exponents)):
        out[i] = power_of_two(exponents[i])


@pytest.mark.parametrize("bits", [np.uint16, np.int16, np.int8])
def test_every_stored_number_as_float(bits: Any) -> None:
    """All 65,536 bfloat16 and float16 numbers, and all 256 of int8: exact, NaN as NaN."""
    info = np.iinfo(bits)
    stored = np.arange(info.min, info.max + 1).astype(bits)
    out = np.empty(len(stored), np.float32)
    widen_all(stored, out)
    np.testing.assert_array_equal(out, reference.as_float(stored))


def test_the_nearest_bfloat16() -> None:
    """Beside torch too, which rounds in its own code; halves to even, infinities, NaN, numbers below the smallest."""
    torch = pytest.importorskip("torch")
    halves = (np.arange(0x3F80, 0x3FFF, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-45, -1e-40], np.float32)
    values = np.concatenate([random(1001), halves, special])
    out = np.empty(len(values), np.uint16)
    store_all(values, out)
    np.testing.assert_array_equal(out, reference.as_bfloat16(values))
    np.testing.assert_array_equal(reference.as_float(out), torch.from_numpy(values).bfloat16().float().numpy())
    same = np.empty_like(values)
    store_all(values, same)
    np.testing.assert_array_equal(same, values)


def test_powers_of_two() -> None:
    exponents = np.arange(-126, 128, dtype=np.int32)
    out = np.empty(len(exponents), np.float32)
    powers(exponents, out)
    np.testing.assert_array_equal(out, reference.power_of_two(exponents))


@njit
def four_by_one(weight: Any, row: int, x: Any, b: int, count: int) -> Any:
    return dot_4x1(weight, row, x, b, count)


@njit
def four_by_four(weight: Any, row: int, x: Any, b: int, count: int) -> Any:
    return dot_4x4(weight, row, x, b, count)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_dots_of_rows(precision: Precision, steps: int) -> None:
    """From the middle of both tables, whose width is no multiple of a register."""
    count = steps * STEP
    weight, x = Matrix.store(random(7, count + 3), precision).data, random(6, count + 3, seed=1)
    for function, vectors in ((four_by_one, 1), (four_by_four, 4)):
        found = np.reshape(function(weight, 2, x, 1, count), (4, vectors))
        wanted = reference.dot_rows(weight, 2, 4, x, 1, vectors, count)
        magnitudes = np.abs(reference.as_float(weight[2:6, :count])) @ np.abs(x[1 : 1 + vectors, :count]).T
        assert_sums(found, wanted, magnitudes, count)


@njit
def one_row(state: Any, p: int, b: Any, c: Any, keep: Any, write: Any, count: int) -> Any:
    return update_state(state, p, b, c, keep, (write,), count)


@njit
def three_rows(state: Any, p: int, b: Any, c: Any, keep: Any, w0: Any, w1: Any, w2: Any, count: int) -> Any:
    return update_state(state, p, b, c, keep, (w0, w1, w2), count)


@pytest.mark.parametrize("vectors", [0, 1, 5])
@pytest.mark.parametrize(("function", "rows"), [(one_row, 1), (three_rows, 3)])
def test_the_state_is_updated_and_read(function: Any, rows: int, vectors: int) -> None:
    """Rows before and behind, and columns behind `count`, stay as they are."""
    count = vectors * LANES
    state, b, c = random(5, count + 2), random(count + 2, seed=1), random(count + 2, seed=2)
    writes, keep = random(rows, seed=3), np.float32(0.7)
    ours, wanted_state = state.copy(), state.copy()
    found = function(ours, 1, b, c, keep, *writes, count)
    wanted = reference.update_state(wanted_state, 1, b, c, keep, writes, count)
    magnitudes = np.abs(state)
    magnitudes[1 : 1 + rows, :count] += np.abs(writes[:, None] * b[:count])
    assert_sums(ours, wanted_state, magnitudes, 2)
    assert_sums(np.array(found), wanted, magnitudes[1 : 1 + rows, :count] @ np.abs(c[:count]), count)


@njit
def tile(out: Any, i: int, column: int, keep: Any, left: Any, right: Any, count: int) -> None:
    add_tile(out, i, column, keep, left, right, count)


@njit
def one(out: Any, i: int, column: int, keep: Any, left: Any, right: Any, count: int) -> None:
    add_row(out, i, column, keep, left, right, count)


@pytest.mark.parametrize("terms", [0, 1, 7, 40])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("function", "rows", "vectors"), [(tile, TILE_ROWS, TILE_VECTORS), (one, 1, 1)])
def test_products_with_sums_in_registers(function: Any, rows: int, vectors: int, turned: bool, terms: int) -> None:
    """Any strides of the left factor; all around the tile stays as it is."""
    left = random(terms + 1, rows + 3).T if turned else random(rows + 3, terms + 1)
    right, out = random(terms + 2, (vectors + 2) * LANES, seed=1), random(rows + 3, (vectors + 2) * LANES, seed=2)
    at = (slice(2, 2 + rows), slice(LANES, (1 + vectors) * LANES))
    wanted, ours, keep = out.copy(), out.copy(), np.float32(0.3)
    wanted[at] = reference.add_product(out[at], keep, left[at[0]], right[:, at[1]], terms)
    function(ours, 2, LANES, keep, left, right, terms)
    magnitudes = np.abs(out)
    magnitudes[at] += np.abs(left[at[0], :terms]) @ np.abs(right[:terms, at[1]])
    assert_sums(ours, wanted, magnitudes, terms + 1)
    wanted[at] = ours[at]
    np.testing.assert_array_equal(ours, wanted)


@njit
def columns(out: Any, column: int, left: Any, right: Any, ahead: Any) -> None:
    add_columns(out, column, left, right, ahead)


@njit
def column(out: Any, column: int, left: Any, right: Any, ahead: Any) -> None:
    add_column(out, column, left, right, ahead)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("terms", [0, 5, TERMS])
@pytest.mark.parametrize(("function", "vectors"), [(columns, COLUMN_VECTORS), (column, 1)])
def test_products_of_many_columns(function: Any, vectors: int, terms: int, precision: Precision) -> None:
    """The weights that come next are only prefetched, so they may be of any type, or none."""
    left, right = random(WEIGHT_ROWS, PITCH), random(terms, (vectors + 2) * LANES, seed=1)
    out, ahead = random(WEIGHT_ROWS, (vectors + 2) * LANES, seed=2), Matrix.store(random(3, 5), precision).data[3:]
    at = (slice(None), slice(LANES, (1 + vectors) * LANES))
    wanted, ours, magnitudes = out.copy(), out.copy(), np.abs(out)
    wanted[at] = reference.add_columns(out[at], left, right[:, at[1]])
    magnitudes[at] += np.abs(left[:, :terms]) @ np.abs(right[:, at[1]])
    function(ours, LANES, left, right, ahead)
    assert_sums(ours, wanted, magnitudes, terms + 1)
    wanted[at] = ours[at]
    np.testing.assert_array_equal(ours, wanted)
