"""One entry of a published data set: its clip, what is said of it, its group, what it has in common with others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sonopsis.data.manifest import Question
from sonopsis.data.splits import Split


@dataclass(frozen=True)
class Item:
    """An entry of a data set's lists; `source` is the recording, video or speaker that its clip was cut from."""

    file: Path | None  # None: the data set lists it, but the folder does not have it
    labels: tuple[str, ...]
    split: Split
    source: str
    captions: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    span: tuple[float, float] | None = None  # the part of the clip in seconds; None: all of it


def join(items: Iterable[Item]) -> Iterator[Item]:
    """One entry for each clip of a group, with the captions and questions of all its entries in their order.

    Entries without a clip are the same one when they have the same source.
    """
    joined: dict[tuple[Path | str, Split], tuple[Item, list[str], list[Question]]] = {}
    for item in items:
        _, captions, questions = joined.setdefault((item.file or item.source, item.split), (item, [], []))
        captions += item.captions
        questions += item.questions
    for item, captions, questions in joined.values():
        yield Item(item.file, item.labels, item.split, item.source, tuple(captions), tuple(questions))
