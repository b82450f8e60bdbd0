"""What pruning left of a spectrogram, stage by stage, to look at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonopsis.encoder.encoded import Encoded

SHADES = " .:-=+*#%@"  # quiet to loud
PRUNED = " "


@dataclass(frozen=True)
class Trace:
    """The survivors of one clip after each pruning block, on the grid."""

    grid: tuple[int, int]  # (time, frequency) rows
    stages: list[NDArray[np.bool_]]  # (t, f) each, True where a token is

    @classmethod
    def of(cls, encoded: Encoded, clip: int = 0) -> "Trace":
        """The trace of one clip of a batch; fused tokens and padding have no place on the grid."""
        stages = []
        for stage in encoded.stages:
            cells = np.asarray(stage.detach().cpu() if hasattr(stage, "detach") else stage)[clip]
            held = np.zeros(encoded.grid[0] * encoded.grid[1], dtype=bool)
            held[cells[cells >= 0]] = True
            stages.append(held.reshape(encoded.grid))
        return cls(encoded.grid, stages)

    @property
    def counts(self) -> list[int]:
        """How many patches survived each pruning block."""
        return [int(stage.sum()) for stage in self.stages]

    def drawn(self, mel: NDArray[np.floating], stage: int = -1) -> NDArray[np.uint8]:
        """The log-Mel (T, M) as a grey image (M, T, 3), high frequencies on top, what was pruned dark blue.

        Brightness runs from the clip's lowest to its highest value. Raises ValueError without a pruning block, or
        when the grid does not fit the log-Mel.
        """
        grey = _between_0_and_1(np.asarray(mel, dtype=np.float32))  # (T, M)
        held = self._spread(grey.shape, stage)
        image = np.repeat(grey[:, :, None], 3, axis=2)
        image[~held] *= (0.15, 0.15, 0.25)
        image[~held] += (0.0, 0.0, 0.2)
        return np.round(255 * image.clip(0, 1)).astype(np.uint8).transpose(1, 0, 2)[::-1]

    def text(self, mel: NDArray[np.floating] | None = None, stage: int = -1) -> str:
        """The grid as lines of characters, one for each patch, high frequencies on top; pruned patches are blank.

        With the log-Mel (T, M) survivors are shaded by their mean level, else they are all `#`.
        """
        held = self._stage(stage)
        if mel is None:
            marks = np.where(held, "#", PRUNED)
        else:
            time, frequency = self.grid
            level = np.asarray(mel, dtype=np.float32)
            level = level[: level.shape[0] // time * time, : level.shape[1] // frequency * frequency]
            level = _between_0_and_1(level.reshape(time, -1, frequency, level.shape[1] // frequency).mean(axis=(1, 3)))
            shade = np.array(list(SHADES[1:]))[np.round(level * (len(SHADES) - 2)).astype(int)]
            marks = np.where(held, shade, PRUNED)
        return "\n".join("".join(row) for row in marks.T[::-1])

    def _stage(self, stage: int) -> NDArray[np.bool_]:
        if not self.stages:
            raise ValueError("nothing was pruned, so there is no stage to draw; encode with a keep rate below 1")
        return self.stages[stage]

    def _spread(self, shape: tuple[int, ...], stage: int) -> NDArray[np.bool_]:
        """A stage over the frames and bins of a log-Mel (T, M); a remainder belongs to the last patch."""
        held, (time, frequency) = self._stage(stage), self.grid
        if len(shape) != 2 or shape[0] < time or shape[1] < frequency:
            raise ValueError(f"a log-Mel {shape} does not fit the grid {self.grid}; give the (T, M) that was encoded")
        steps = np.minimum(np.arange(shape[0]) // (shape[0] // time), time - 1)
        rows = np.minimum(np.arange(shape[1]) // (shape[1] // frequency), frequency - 1)
        return held[np.ix_(steps, rows)]


def _between_0_and_1(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)
