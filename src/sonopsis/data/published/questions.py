"""OpenAQA (of LTU) and ReasonAQA (of Mellow): questions about clips, with their answers."""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import Question
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item, join
from sonopsis.data.published.json_array import read_array
from sonopsis.data.splits import Split

log = logging.getLogger(__name__)

REASON: dict[str, Split] = {"train.json": "train", "val.json": "validation", "test.json": "test"}


def read_openaqa(folder: ClipFolder) -> Iterator[Item]:
    """Clips of all JSON files `[{"instruction", "input", "audio_id", "dataset", "task", "output"}, ...]` of a folder.

    All are for training, as published. `task` becomes the kind of a question.
    """
    files = folder.lists("*.json")
    if not files:
        raise DataError(f"{folder.root}: there is no .json file of OpenAQA; put one there")
    locate = cache(folder.locate)

    def rows() -> Iterator[Item]:
        for file, line, entry in _entries(files):
            instruction, extra, clip, task, output = _texts(
                file, line, entry, "instruction", "input", "audio_id", "task", "output"
            )
            text = f"{instruction}\n{extra}" if extra else instruction
            question = _question(file, line, text, output, task)
            yield Item(locate(clip), (), "train", _stem(clip), questions=(question,))

    yield from join(rows())


def read_reasonaqa(folder: ClipFolder) -> Iterator[Item]:
    """Clips of train.json, val.json and test.json, with the captions and questions of each; `subtype` is the kind.

    What compares two clips is left out, and one line says how many questions do; the captions of both are kept.
    """
    lists = [(file, split) for name, split in REASON.items() for file in folder.lists(name)[:1]]
    if not lists:
        raise DataError(f"{folder.root}: there is no train.json, val.json or test.json of ReasonAQA; put one there")
    locate = cache(folder.locate)
    told: set[tuple[str, str]] = set()
    keys = ("filepath1", "filepath2", "caption1", "caption2", "input", "answer", "subtype")
    comparing = 0

    def captions_of(clip: str, caption: str) -> tuple[str, ...]:
        """A clip's caption, the first time that it is given."""
        caption = " ".join(caption.split())
        if not caption or (clip, caption) in told:
            return ()
        told.add((clip, caption))
        return (caption,)

    def rows() -> Iterator[Item]:
        nonlocal comparing
        for path, split in lists:
            for file, line, entry in _entries([path]):
                first, second, caption, other, text, answer, kind = _texts(file, line, entry, *keys)
                questions = () if second else (_question(file, line, text, answer, kind),)
                comparing += bool(second)
                if first:
                    yield Item(locate(first), (), split, _stem(first), captions_of(first, caption), questions)
                if second:
                    yield Item(locate(second), (), split, _stem(second), captions_of(second, other))

    yield from join(rows())
    if comparing:
        log.warning("%d questions compare two clips and are left out", comparing)


def _entries(files: list[Path]) -> Iterator[tuple[Path, int, Any]]:
    """Each element of the arrays of files, with its file and line."""
    for file in files:
        for line, entry in read_array(file):
            yield file, line, entry


def _texts(file: Path, line: int, entry: Any, *keys: str) -> list[str]:
    """The texts of an object under these keys; DataError, naming file and line, when one is none."""
    missing = keys if not isinstance(entry, dict) else [key for key in keys if not isinstance(entry.get(key), str)]
    if missing:
        raise DataError(f"{file}, line {line}: expected the texts {', '.join(keys)}; {missing[0]} is none")
    return [entry[key].strip() for key in keys]


def _question(file: Path, line: int, text: str, answer: str, kind: str) -> Question:
    if not text or not answer:
        raise DataError(f"{file}, line {line}: there is no {'answer' if text else 'question'}")
    return Question(text, answer, kind)


def _stem(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).stem
