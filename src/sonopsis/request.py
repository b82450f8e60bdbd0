"""What is asked about the windows of a recording."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sonopsis.audio import Window
from sonopsis.results import WindowResult


@dataclass(frozen=True)
class Request:
    """What is asked about each window of a recording; raises ValueError for a number that makes no sense."""

    captions: bool = False
    top_k: int = 5  # labels
    threshold: float | None = None  # least score of a label; None: the model's own for each label; 0: every score
    window: float | None = None  # seconds; None: the model's own input length
    hop: float | None = None  # seconds from one window's start to the next; None: no overlap
    beams: int = 1  # 1: the model's own decoding
    keep_rate: float | None = None  # None: the model's own
    embeddings: bool = False  # the vector that the classifier reads

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if self.beams < 1:
            raise ValueError(f"beams must be at least 1, not {self.beams}")


Describe = Callable[[Iterator[Window], Request], Iterator[WindowResult]]  # what makes results of windows
