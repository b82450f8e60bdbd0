"""Masks against the algorithm of the paper in plain Python, and what holds for all of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.training.config import MaskedSettings
from sonopsis.training.masks import draw_visible, line_counts, visible_count

SINGLE, LINES = MaskedSettings(masking="unstructured"), MaskedSettings(masking="time_frequency")
GRIDS = st.tuples(st.integers(2, 64), st.integers(1, 12))


def chosen(noise: list[float], count: int) -> set[int]:
    """The places of the `count` smallest numbers."""
    return {place for _, place in sorted((value, place) for place, value in enumerate(noise))[:count]}


@pytest.mark.parametrize("grid", [(16, 4), (64, 8), (5, 3)])
def test_single_patches_are_those_of_least_noise(grid: tuple[int, int]) -> None:
    visible = draw_visible(np.random.default_rng(3), 6, grid, SINGLE)
    noise = np.random.default_rng(3).random((6, grid[0] * grid[1])).tolist()
    count = int(grid[0] * grid[1] / 5 + 1e-9)
    assert visible.tolist() == [sorted(chosen(row, count)) for row in noise]


@pytest.mark.parametrize("grid", [(16, 4), (64, 8), (5, 3)])
def test_whole_lines_are_shown_where_a_column_and_a_row_cross(grid: tuple[int, int]) -> None:
    visible = draw_visible(np.random.default_rng(4), 6, grid, LINES)
    rng = np.random.default_rng(4)
    noise_t, noise_f = rng.random((6, grid[0])).tolist(), rng.random((6, grid[1])).tolist()
    columns, rows = line_counts(grid, 0.8)
    for cells, by_time, by_frequency in zip(visible.tolist(), noise_t, noise_f, strict=True):
        shown_t, shown_f = chosen(by_time, columns), chosen(by_frequency, rows)
        expected = [t * grid[1] + f for t in range(grid[0]) for f in range(grid[1]) if t in shown_t and f in shown_f]
        assert cells == expected


@given(GRIDS, st.floats(0.05, 0.95), st.sampled_from(["unstructured", "time_frequency"]), st.integers(0, 9))
def test_every_example_shows_as_many_cells_of_the_grid_in_time_major_order(
    grid: tuple[int, int], ratio: float, masking: str, seed: int
) -> None:
    settings = MaskedSettings(ratio=ratio, masking=masking)  # type: ignore[arg-type]
    visible = draw_visible(np.random.default_rng(seed), 3, grid, settings)
    patches = grid[0] * grid[1]
    count = visible_count(patches, ratio) if masking == "unstructured" else math.prod(line_counts(grid, ratio))
    assert visible.dtype == np.int64 and visible.shape == (3, count) and 1 <= count < patches
    assert (np.diff(visible, axis=1) > 0).all() and visible.min() >= 0 and visible.max() < patches
    hidden = [[cell for cell in range(patches) if cell not in shown] for shown in visible.tolist()]
    restored = np.concatenate([visible, hidden], axis=1).argsort(axis=1)  # MAE's ids_restore
    both = np.take_along_axis(np.concatenate([visible, hidden], axis=1), restored, axis=1)
    assert (both == np.arange(patches)).all()


@pytest.mark.parametrize(
    ("patches", "ratio", "count"), [(512, 0.8, 102), (64, 0.8, 12), (10, 0.8, 2), (4, 0.99, 1), (4, 0.01, 3)]
)
def test_the_number_of_visible_patches(patches: int, ratio: float, count: int) -> None:
    assert visible_count(patches, ratio) == count


@pytest.mark.parametrize(
    ("grid", "ratio", "counts"), [((64, 8), 0.8, (26, 4)), ((16, 4), 0.8, (6, 2)), ((16, 4), 0.01, (15, 4))]
)
def test_the_number_of_visible_lines(grid: tuple[int, int], ratio: float, counts: tuple[int, int]) -> None:
    assert line_counts(grid, ratio) == counts


@pytest.mark.parametrize("settings", [SINGLE, LINES])
def test_every_cell_is_shown_as_often_as_any_other(settings: MaskedSettings) -> None:
    visible = draw_visible(np.random.default_rng(0), 4000, (16, 4), settings)
    shares = np.bincount(visible.ravel(), minlength=64) / 4000  # the deviation of each is 0.006
    np.testing.assert_allclose(shares, visible.shape[1] / 64, atol=0.03)
