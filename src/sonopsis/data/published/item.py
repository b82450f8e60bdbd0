"""One entry of a published data set: which clip, its labels, its group, and what it has in common with others."""

from dataclasses import dataclass
from pathlib import Path

from sonopsis.data.splits import Split


@dataclass(frozen=True)
class Item:
    """An entry of a data set's lists; `source` is the recording, video or speaker that its clip was cut from."""

    file: Path | None  # None: the data set lists it, but the folder does not have it
    labels: tuple[str, ...]
    split: Split
    source: str
