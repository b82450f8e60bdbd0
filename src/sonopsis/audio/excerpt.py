"""A stretch of a file as a file of its own, with other bytes in place of its beginning; and a search in files."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

CHUNK = 1 << 20  # bytes searched at once


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


def find(file: BinaryIO, words: Sequence[bytes], start: int, end: int) -> Iterator[int]:
    """Positions of any of the words in bytes `start` to `end` of a file, in order; the file may be moved between."""
    overlap = max(map(len, words)) - 1
    while start < end:
        file.seek(start)
        chunk = file.read(min(CHUNK + overlap, end - start))
        found = []
        for word in words:
            at = chunk.find(word)
            while at >= 0 and at < CHUNK:
                found.append(start + at)
                at = chunk.find(word, at + 1)
        yield from sorted(found)
        if len(chunk) < CHUNK:
            return
        start += CHUNK
