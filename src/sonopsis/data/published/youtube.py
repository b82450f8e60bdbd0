"""AudioSet and VGGSound: lists of stretches of videos, and clips that are named after the video."""

import math
from collections.abc import Iterator
from functools import partial

from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item
from sonopsis.data.published.lists import names_of, read_classes, read_text_lines, split_fields
from sonopsis.data.splits import Split

BALANCED: dict[str, Split] = {"balanced_train_segments.csv": "train", "eval_segments.csv": "test"}
ALL: dict[str, Split] = {**BALANCED, "unbalanced_train_segments.csv": "train"}
SECONDS = 10  # of a clip of VGGSound


def clip_names(video: str, start: float, end: float) -> Iterator[str]:
    """The names that tools give to the clip from `start` to `end` (seconds) of a video, without suffix."""
    times = ("", f"_{start:.3f}_{end:.3f}", f"_{start:g}_{end:g}", f"_{start * 1000:.0f}_{end * 1000:.0f}")
    starts = (f"_{start:06.0f}", f"_{start:.3f}", f"_{start:g}", f"_{start * 1000:.0f}")
    for time in (*times[1:], *starts, times[0]):  # times first: a folder may have several stretches of a video
        yield f"{video}{time}"
        yield f"Y{video}{time}"


def read_audioset(folder: ClipFolder, lists: dict[str, Split]) -> Iterator[Item]:
    """Entries of AudioSet's lists of segments; their classes have the names of class_labels_indices.csv."""
    names = read_classes(folder.list_named("class_labels_indices.csv"))

    def read(line: str, split: Split) -> Item | None:
        if line.startswith("#"):
            return None
        video, start, end, classes = split_fields(line, 4)
        return _item(folder, video, read_seconds(start), read_seconds(end), names_of(classes, names), split)

    for name, split in lists.items():
        yield from read_text_lines(folder.list_named(name), partial(read, split=split))


def read_vggsound(folder: ClipFolder) -> Iterator[Item]:
    """Entries of vggsound.csv: video, start in seconds, label, train or test."""

    def read(line: str) -> Item:
        video, start, label, split = split_fields(line, 4)
        if split not in ("train", "test"):
            raise ValueError(f"the last field must be train or test, not {split!r}")
        if not label:
            raise ValueError("there is no label")
        first = read_seconds(start)
        return _item(folder, video, first, first + SECONDS, (label,), "train" if split == "train" else "test")

    yield from read_text_lines(folder.list_named("vggsound.csv"), read)


def _item(folder: ClipFolder, video: str, start: float, end: float, labels: tuple[str, ...], split: Split) -> Item:
    if not video:
        raise ValueError("there is no id of a video")
    found = (folder.find(name) for name in clip_names(video, start, end))
    return Item(next((file for file in found if file is not None), None), labels, split, video)


def read_seconds(text: str) -> float:
    """A time in seconds, at least 0; ValueError for another text."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a time must be a number of seconds, not {text!r}")
    return seconds
