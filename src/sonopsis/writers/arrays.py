"""Arrays for programs: the embeddings of a recording's windows, to search, cluster or classify with."""

from typing import ClassVar

import numpy as np

from sonopsis.results import FileResult
from sonopsis.writers.base import Writer


class NpzWriter(Writer):
    """NumPy's archive for one file: `embedding` (windows, D) float32, `start` and `end` (windows,) float64 in seconds,
    and the strings `path` and `model`."""

    suffix: ClassVar[str] = ".npz"
    binary: ClassVar[bool] = True
    embeddings: ClassVar[bool] = True

    def add(self, result: FileResult) -> None:
        """Write one file's archive; raises ValueError for windows without an embedding."""
        vectors = [window.embedding for window in result.windows if window.embedding is not None]
        if len(vectors) < len(result.windows):
            raise ValueError(f"{result.path}: its windows have no embeddings; ask for them with embeddings=True")
        np.savez(
            self.stream,
            embedding=np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32),
            start=np.array([window.start for window in result.windows], np.float64),
            end=np.array([window.end for window in result.windows], np.float64),
            path=np.array(result.path),
            model=np.array(result.model),
        )
