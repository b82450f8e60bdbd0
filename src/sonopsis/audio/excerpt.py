"""A stretch of a file as a file of its own, with other bytes in place of its beginning; and a search in files."""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

CHUNK = 1 << 20  # bytes searched at once, at most
FIRST_CHUNK = 1 << 14  # and at first: what is searched for is often near, and a search may begin again behind it


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `end` of a file, after `head`: one recording of those that a file holds.

    `frames_known` tells whether its header says how long it is; `note` is what the listener must be told.
    """

    start: int
    end: int
    head: bytes = b""
    frames_known: bool = True
    note: str = ""


class Excerpt(io.RawIOBase):
    """The bytes of a piece as a file that is read and sought; the file below stays open."""

    def __init__(self, file: BinaryIO, piece: Piece) -> None:
        self._file, self._piece, self._position = file, piece, 0
        self._length = len(piece.head) + piece.end - piece.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        room = min(len(buffer), max(0, self._length - self._position))
        head = self._piece.head[self._position : self._position + room]
        if head:
            data = head
        else:
            self._file.seek(self._piece.start + self._position - len(self._piece.head))
            data = self._file.read(room)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Interruptible:
    """A file to search in, which calls `go_on` before it is read; what that raises ends the search."""

    def __init__(self, file: BinaryIO, go_on: Callable[[], object]) -> None:
        self._go_on, self.seek, self._read = go_on, file.seek, file.read

    def read(self, size: int = -1) -> bytes:
        self._go_on()
        return self._read(size)


def find(file: BinaryIO, words: Sequence[bytes], start: int, end: int) -> Iterator[int]:
    """Positions of any of the words in bytes `start` to `end` of a file, in order; the file may be moved between."""
    for first, chunk, length in _chunks(file, max(map(len, words)) - 1, start, end):
        found = []
        for word in words:
            at = chunk.find(word)
            while at >= 0 and at < length:
                found.append(first + at)
                at = chunk.find(word, at + 1)
        yield from sorted(found)


def find_pattern(file: BinaryIO, pattern: re.Pattern[bytes], width: int, start: int, end: int) -> Iterator[int]:
    """The same for a pattern of `width` bytes of which no two overlap."""
    for first, chunk, length in _chunks(file, width - 1, start, end):
        yield from (first + found.start() for found in pattern.finditer(chunk) if found.start() < length)


def _chunks(file: BinaryIO, overlap: int, start: int, end: int) -> Iterator[tuple[int, bytes, int]]:
    """Where each chunk begins, its bytes with `overlap` more of the next one, and its length without them."""
    length = FIRST_CHUNK
    while start < end:
        file.seek(start)
        chunk = file.read(min(length + overlap, end - start))
        yield start, chunk, length
        if len(chunk) < length:
            return
        start += length
        length = min(2 * length, CHUNK)
