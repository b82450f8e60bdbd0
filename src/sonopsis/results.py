"""What a model says about a recording, as plain data: times in seconds, tag scores in [0, 1]."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tags:
    """A window's labels with their scores, best first."""

    start: float
    end: float
    labels: list[tuple[str, float]]


@dataclass(frozen=True)
class Caption:
    """A window's sentence; its score is the mean log-probability of the tokens."""

    start: float
    end: float
    text: str
    score: float


@dataclass(frozen=True)
class WindowResult:
    """All that was asked about one window: None for what was not; `score` is the caption's."""

    start: float
    end: float
    labels: list[tuple[str, float]] | None = None
    caption: str | None = None
    score: float | None = None
    embedding: NDArray[np.float32] | None = None  # (D,), in the format npz alone

    def to_dict(self) -> dict[str, Any]:
        """`{"start", "end", "labels": [{"label", "score"}], "caption"?, "score"?}`; no number is NaN or infinite."""
        labels = [{"label": label, "score": _finite(score)} for label, score in self.labels or []]
        found: dict[str, Any] = {"start": _finite(self.start), "end": _finite(self.end), "labels": labels}
        if self.caption is not None:
            found["caption"] = self.caption
        if self.score is not None:
            found["score"] = _finite(self.score)
        return found


@dataclass(frozen=True)
class FileResult:
    """One recording's windows, or the reason (`error`, one line) why there are none; `duration` is 0 if unknown."""

    path: str
    duration: float
    model: str
    windows: list[WindowResult] = field(default_factory=list)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """`{"path", "duration", "model", "error"?, "windows": [...]}`, ready for JSON."""
        windows = [window.to_dict() for window in self.windows]
        return self.head() | {"windows": windows}

    def head(self) -> dict[str, Any]:
        """`to_dict` without the windows."""
        found: dict[str, Any] = {"path": self.path, "duration": _finite(self.duration), "model": self.model}
        return found if self.error is None else found | {"error": self.error}


def _finite(value: float) -> float | None:
    """A plain float (NumPy's are none to JSON); NaN and infinities, which JSON lacks, become None."""
    value = float(value)
    return value if math.isfinite(value) else None
