"""AudioCaps, Clotho, the JSON Lines of SLAM-LLM, and plain tables of captions: several sentences for a clip."""

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path, PurePosixPath

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.datafiles import DIVISIONS
from sonopsis.data.published.item import Item, join
from sonopsis.data.published.lists import read_table, read_text_lines
from sonopsis.data.published.youtube import clip_names, read_seconds
from sonopsis.data.splits import Split

SECONDS = 10  # of a clip of AudioCaps
AUDIOCAPS: dict[str, Split] = {"train.csv": "train", "val.csv": "validation", "test.csv": "test"}
CLOTHO: dict[str, Split] = {"development": "train", "validation": "validation", "evaluation": "test"}
CLOTHO_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
SLAM_DIVISIONS: dict[str, Split] = {**DIVISIONS, "development": "train"}  # Clotho calls its training part so


def read_audiocaps(folder: ClipFolder) -> Iterator[Item]:
    """Clips of train.csv, val.csv and test.csv, which have one caption a line; those of a clip are put together.

    Clips are named after the video, or after the number of the caption. The lists that are there are read.
    """
    lists = [(file, split) for name, split in AUDIOCAPS.items() for file in folder.lists(name)[:1]]
    if not lists:
        raise DataError(f"{folder.root}: there is no train.csv, val.csv or test.csv of AudioCaps; put one there")

    def read(row: dict[str, str], split: Split) -> Item:
        if not row["youtube_id"]:
            raise ValueError("there is no id of a video")
        start = read_seconds(row["start_time"])
        names = (*clip_names(row["youtube_id"], start, start + SECONDS), row["audiocap_id"])
        found = (folder.find(name) for name in names)
        file = next((file for file in found if file is not None), None)
        return Item(file, (), split, row["youtube_id"], (_sentence(row["caption"]),))

    def rows() -> Iterator[Item]:
        for file, split in lists:
            yield from read_table(
                file, ("audiocap_id", "youtube_id", "start_time", "caption"), partial(read, split=split)
            )

    yield from join(rows())


def read_clotho(folder: ClipFolder) -> Iterator[Item]:
    """Clips of clotho_captions_development.csv, _validation.csv (version 2) and _evaluation.csv, five captions each.

    Development is for training and evaluation for test. A source is a recording of freesound.org.
    """
    lists = [(file, part) for part in CLOTHO for file in folder.lists(f"clotho_captions_{part}*.csv")[:1]]
    if not lists:
        raise DataError(f"{folder.root}: there is no clotho_captions_*.csv; put the lists of Clotho into the folder")

    def read(row: dict[str, str], part: str) -> Item:
        name = row["file_name"]
        if not name:
            raise ValueError("there is no name of a file")
        captions = tuple(_sentence(row[column]) for column in CLOTHO_CAPTIONS)
        return Item(folder.find(f"{part}/{name}", 2) or folder.find(name), (), CLOTHO[part], Path(name).stem, captions)

    for file, part in lists:
        yield from read_table(file, ("file_name", *CLOTHO_CAPTIONS), partial(read, part=part))


def read_slam(folder: ClipFolder) -> Iterator[Item]:
    """Clips of JSON Lines `{"key", "source", "target"}`, whose file names say train, val or test."""
    locate = cache(folder.locate)

    def read(line: str, split: Split) -> Item:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("source", "target")):
            raise ValueError('expected {"key": ..., "source": the path of a clip, "target": its caption}')
        path = PurePosixPath(entry["source"].replace("\\", "/"))
        return Item(locate(entry["source"]), (), split, path.stem, (_sentence(entry["target"]),))

    def rows() -> Iterator[Item]:
        divided = [(file, SLAM_DIVISIONS[part]) for file in folder.lists("*.jsonl") if (part := _part(file))]
        if not divided:
            raise DataError(f"{folder.root}: there is no .jsonl file whose name says train, val or test")
        for file, split in divided:
            yield from read_text_lines(file, partial(read, split=split))

    yield from join(rows())


def read_captions(folder: ClipFolder) -> Iterator[Item]:
    """Clips of captions.csv with the columns audio, caption and, if there is one, split; one caption a line."""
    locate = cache(folder.locate)

    def read(row: dict[str, str]) -> Item:
        part = row.get("split") or "train"
        if part not in DIVISIONS:
            raise ValueError(f"the split must be train, validation or test, not {part!r}")
        source = PurePosixPath(row["audio"].replace("\\", "/")).stem
        return Item(locate(row["audio"]), (), DIVISIONS[part], source, (_sentence(row["caption"]),))

    yield from join(read_table(folder.list_named("captions.csv"), ("audio", "caption"), read))


def _part(file: Path) -> str | None:
    """The first word of a file's name that says a group."""
    return next((word for word in re.split(r"[_\-. ]", file.stem.lower()) if word in SLAM_DIVISIONS), None)


def _sentence(text: str) -> str:
    sentence = " ".join(text.split())
    if not sentence:
        raise ValueError("there is no caption")
    return sentence
