"""Products of stored weights and few or many vectors, beside NumPy."""

import numpy as np
import pytest

pytest.importorskip("numba")
from sonopsis.mamba2.kernels import language_model
from sonopsis.mamba2.kernels.matmul import MANY_VECTORS, ROWS, ProductMemory
from sonopsis.mamba2.kernels.weights import PRECISIONS, Matrix, Precision

# Of vectors: fewer than lie side by side, one register, several, and memory whose rows are spread.
BATCHES = [1, 4, 6, MANY_VECTORS, 17, 70]


@pytest.mark.slow  # compiles once for each precision
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 33), (ROWS + 5, 300), (2 * ROWS, 512)])
def test_products_with_stored_weights(rows: int, columns: int, batch: int, precision: Precision) -> None:
    """Within the roundoffs of sums of `columns` terms; on two threads as on one, with memory used before."""
    rng = np.random.default_rng(rows + batch)
    matrix = Matrix.store(rng.standard_normal((rows, columns)).astype(np.float32), precision)
    x = rng.standard_normal((batch, columns)).astype(np.float32)
    weight = matrix.to_float32().astype(np.float64)
    bound = (columns + 2) * 2.0**-24 * (np.abs(x) @ np.abs(weight).T)
    memory = ProductMemory.new(2, columns, batch)
    for threads in (1, 2):
        out = np.full((batch, rows), np.nan, np.float32)
        language_model.multiply(matrix, x, out, threads, memory)
        assert np.all(np.abs(out - x @ weight.T) <= bound)
