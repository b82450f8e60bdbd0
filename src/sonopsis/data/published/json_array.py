"""The elements of a JSON array one after the other: OpenAQA is one array of 5.6 million objects, 2.3 GB."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from sonopsis.data.catalogue import DataError

CHUNK = 1 << 20  # characters read at once
LONGEST = 1 << 23  # characters; an element that has not ended by then is not JSON
SPACE = " \t\r\n"


def read_array(path: Path) -> Iterator[tuple[int, Any]]:
    """The number of the line on which each element of the array in a file begins, and the element.

    DataError, naming file and line, for what is no array, is not UTF-8 or is cut off.
    """
    with path.open(encoding="utf-8-sig") as stream:
        try:
            yield from _elements(stream)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: this is not UTF-8 ({error})") from error
        except _Wrong as error:
            raise DataError(f"{path}, line {error.line}: {error}") from error


class _Wrong(ValueError):
    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def _elements(stream: TextIO) -> Iterator[tuple[int, Any]]:
    text, place, line = stream.read(CHUNK), 0, 1  # `place` is where the next element is looked for, on this line
    decoder = json.JSONDecoder()
    expected = "["

    while True:
        begin = place
        while begin < len(text) and text[begin] in SPACE:
            begin += 1
        line += text.count("\n", place, begin)
        if begin == len(text):
            text, place = stream.read(CHUNK), 0
            if not text:
                raise _Wrong(line, "the file ends before its array does; copy or download it again")
            continue
        place = begin
        if expected == "[":
            if text[place] != "[":
                raise _Wrong(line, "expected an array of objects, [{...}, ...]")
            place, expected = place + 1, "first"
        elif expected == "," or (expected == "first" and text[place] == "]"):
            if text[place] == "]":
                return
            if text[place] != ",":
                raise _Wrong(line, f"expected a comma or the end of the array, found {text[place]!r}")
            place, expected = place + 1, "element"
        else:
            try:
                element, end = decoder.raw_decode(text, place)
            except json.JSONDecodeError as error:
                more = stream.read(CHUNK) if len(text) - place < LONGEST else ""
                if not more:
                    raise _Wrong(
                        line + error.lineno - 1 - text.count("\n", 0, place), f"this is not JSON ({error.msg})"
                    ) from error
                text, place = text[place:] + more, 0
                continue
            yield line, element
            line += text.count("\n", place, end)
            place, expected = end, ","
