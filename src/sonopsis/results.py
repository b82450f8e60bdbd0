"""What a model says about a recording, as plain data: times in seconds, tag scores in [0, 1]."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sonopsis.ontology import id_of, parents_of

MOST_SAID = 5  # labels that a summary says in words

SILENCE = "silence"  # the label of a window without sound, and the answer to every question about it

Status = Literal["heard", "unclear", "silence"]


class LabelScore(tuple[str, float]):
    """The pair (label, score), which also knows the label's place in the AudioSet ontology (`sonopsis.ontology`).

    `distilled` says that the model learned the label from a teacher's outputs alone.
    """

    distilled: bool

    def __new__(cls, label: str, score: float, distilled: bool = False) -> Self:
        pair = super().__new__(cls, (label, score))
        pair.distilled = distilled
        return pair

    def __getnewargs__(self) -> tuple[str, float, bool]:
        return self.label, self.score, self.distilled

    @property
    def label(self) -> str:
        """The name of the label."""
        return self[0]

    @property
    def score(self) -> float:
        """From 0 to 1."""
        return self[1]

    @property
    def id(self) -> str | None:
        """The id of the class in AudioSet, such as /m/0bt9lr; None for a label that the ontology lacks."""
        return id_of(self.label)

    @property
    def parents(self) -> tuple[str, ...]:
        """The classes above the label, the most general one first."""
        return parents_of(self.label)

    def to_dict(self) -> dict[str, Any]:
        """`{"label", "score", "id", "parents", "distilled"?}`; `distilled` is left out where it is false."""
        found = {"label": self.label, "score": _finite(self.score), "id": self.id, "parents": list(self.parents)}
        return found | {"distilled": True} if self.distilled else found


@dataclass(frozen=True)
class Tags:
    """A window's labels with their scores, best first."""

    start: float
    end: float
    labels: list[LabelScore]


@dataclass(frozen=True)
class Caption:
    """A window's sentence; its score is the mean log-probability of the tokens, 0 for one that the model did not write.

    `confidence` is the probability that the sentence names only sounds that are there; None where it is not known.
    """

    start: float
    end: float
    text: str
    score: float
    confidence: float | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to a question about a window; its score is the mean log-probability of its tokens, 0 for one that the
    model did not write."""

    start: float
    end: float
    question: str
    text: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """`{"start", "end", "question", "text", "score"}`; no number is NaN or infinite."""
        return {
            "start": _finite(self.start),
            "end": _finite(self.end),
            "question": self.question,
            "text": self.text,
            "score": _finite(self.score),
        }


@dataclass(frozen=True)
class WindowResult:
    """All that was asked about one window: None for what was not; `score` and `confidence` are the caption's.

    `labels` may be given as plain pairs. `status` is "silence" where there is no sound, and "unclear" where no label
    reached its threshold: then `labels` is empty and `guess` is the best label with its score.
    """

    start: float
    end: float
    labels: list[LabelScore] | None = None
    caption: str | None = None
    score: float | None = None
    embedding: NDArray[np.float32] | None = None  # (D,), in the format npz alone
    status: Status = "heard"
    guess: LabelScore | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.labels is not None:
            pairs = [pair if isinstance(pair, LabelScore) else LabelScore(*pair) for pair in self.labels]
            object.__setattr__(self, "labels", pairs)

    def to_dict(self) -> dict[str, Any]:
        """`{"start", "end", "status", "labels": [...], "guess"?, "caption"?, "score"?, "confidence"?}`; no number is
        NaN or infinite."""
        found: dict[str, Any] = {"start": _finite(self.start), "end": _finite(self.end), "status": self.status}
        found["labels"] = [label.to_dict() for label in self.labels or []]
        if self.guess is not None:
            found["guess"] = self.guess.to_dict()
        if self.caption is not None:
            found["caption"] = self.caption
        if self.score is not None:
            found["score"] = _finite(self.score)
        if self.confidence is not None:
            found["confidence"] = _finite(self.confidence)
        return found


class Share(NamedTuple):
    """How much of a recording has a label: seconds of the scenes that have it, and how many they are."""

    label: str
    seconds: float
    scenes: int


@dataclass(frozen=True)
class Summary:
    """What was in a recording as a whole, the label of the longest time first, and the seconds without a label."""

    shares: list[Share]
    silence: float = 0.0
    unclear: float = 0.0

    @property
    def text(self) -> str:
        """One sentence: `Rain for 1:02:10 in 3 scenes; dog for 0:20 in 1 scene; silence for 0:10.`"""
        said = [
            f"{share.label} for {clock(share.seconds)} in {share.scenes} scene{'s' * (share.scenes != 1)}"
            for share in self.shares[:MOST_SAID]
        ]
        if len(self.shares) > MOST_SAID:
            said.append(f"{len(self.shares) - MOST_SAID} more labels")
        said += [f"{name} for {clock(t)}" for name, t in (("silence", self.silence), ("unclear", self.unclear)) if t]
        text = "; ".join(said) or "nothing"
        return f"{text[0].upper()}{text[1:]}."

    def to_dict(self) -> dict[str, Any]:
        """`{"text", "labels": [{"label", "seconds", "scenes"}], "silence", "unclear"}`, ready for JSON."""
        labels = [share._asdict() for share in self.shares]
        return {"text": self.text, "labels": labels, "silence": self.silence, "unclear": self.unclear}


@dataclass(frozen=True)
class FileResult:
    """One recording's windows, or the reason (`error`, one line) why there are none; `duration` is 0 if unknown.

    `began` is when the recorder began to record, without a time zone if it did not write that (`sonopsis.recorders`).
    `summary` says what was in the recording as a whole, where scenes were asked for and it has ended.
    """

    path: str
    duration: float
    model: str
    windows: list[WindowResult] = field(default_factory=list)
    error: str | None = None
    began: datetime | None = None
    summary: Summary | None = None

    def to_dict(self) -> dict[str, Any]:
        """`{"path", "duration", "model", "began"?, "summary"?, "error"?, "windows": [...]}`, ready for JSON."""
        windows = [window.to_dict() for window in self.windows]
        return self.head() | {"windows": windows}

    def head(self) -> dict[str, Any]:
        """`to_dict` without the windows."""
        found: dict[str, Any] = {"path": self.path, "duration": _finite(self.duration), "model": self.model}
        if self.began is not None:
            found["began"] = self.began.isoformat()
        if self.summary is not None:
            found["summary"] = self.summary.to_dict()
        return found if self.error is None else found | {"error": self.error}


class Part(NamedTuple):
    """A step of a run that is written as it goes: a window with its recording, or (None) the end of the recording.

    `result` has no windows. While windows come, its duration is the one that the recording declares, NaN if it declares
    none; at the end it is the one that was heard, and `error` says whether the recording failed.
    """

    result: FileResult
    window: WindowResult | None


def gathered(parts: Iterable[Part]) -> Iterator[FileResult]:
    """Whole results of the parts of a run; a recording that failed has no windows."""
    windows: list[WindowResult] = []
    for result, window in parts:
        if window is not None:
            windows.append(window)
            continue
        yield result if result.error is not None else replace(result, windows=windows)
        windows = []


def clock(seconds: float) -> str:
    """Seconds as `1:02:03`, or `2:03` below one hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _finite(value: float) -> float | None:
    """A plain float (NumPy's are none to JSON); NaN and infinities, which JSON lacks, become None."""
    value = float(value)
    return value if math.isfinite(value) else None
