"""Which patches masked pretraining shows: any of the grid, or those of whole time columns and frequency rows.

AudioMAE (arXiv 2207.06405), section 3.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sonopsis.training.config import MaskedSettings


def draw_visible(
    rng: np.random.Generator, examples: int, grid: tuple[int, int], settings: MaskedSettings
) -> NDArray[np.int64]:
    """The grid cells (B, K) int64 that each example shows, in time-major order; the others are hidden.

    `grid` is (time, frequency). K is the same for all examples.
    """
    if settings.masking == "time_frequency":
        return _whole_lines(rng, examples, grid, settings.ratio)
    patches = grid[0] * grid[1]
    noise = rng.random((examples, patches))
    return np.sort(noise.argsort(axis=1)[:, : visible_count(patches, settings.ratio)], axis=1)


def visible_count(patches: int, ratio: float) -> int:
    """How many patches are visible when the share `ratio` is hidden, rounded down as AudioMAE does; at least one is
    visible and one hidden."""
    shown = math.floor(patches * (1 - ratio) + 1e-6)  # (1 - 0.8) * 10 is a little under 2
    return min(max(shown, 1), patches - 1)


def line_counts(grid: tuple[int, int], ratio: float) -> tuple[int, int]:
    """How many time columns and frequency rows are visible; a patch is visible where both its column and its row are.

    The share of rows is the square root of the share of patches, so that time and frequency lose alike; the number of
    columns is the one that comes nearest to the share of patches, and leaves one patch hidden.
    """
    time, frequency = grid
    rows = max(1, round(frequency * math.sqrt(1 - ratio)))
    most = time - 1 if rows == frequency and time > 1 else time
    return min(max(round(time * frequency * (1 - ratio) / rows), 1), most), rows


def _whole_lines(rng: np.random.Generator, examples: int, grid: tuple[int, int], ratio: float) -> NDArray[np.int64]:
    columns, rows = line_counts(grid, ratio)
    chosen_t = np.sort(rng.random((examples, grid[0])).argsort(axis=1)[:, :columns], axis=1)  # (B, columns)
    chosen_f = np.sort(rng.random((examples, grid[1])).argsort(axis=1)[:, :rows], axis=1)  # (B, rows)
    cells = chosen_t[:, :, None] * grid[1] + chosen_f[:, None, :]  # (B, columns, rows)
    return cells.reshape(examples, -1)
