"""AU, AIFF, CAF and W64 recordings whose writer stopped before it could say how long they are, or that were cut off.

Each has its samples in one stretch, with their size before them: 0 or all ones while the recorder runs. The samples
that are there are read behind a header with their true size, because libsndfile takes some of the others for empty or
damaged.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sonopsis.audio.cut_off import NO_LENGTH, UNKNOWN
from sonopsis.audio.excerpt import Piece

LARGE = (1 << 64) - 1  # a size of 8 bytes that was not known
LONGEST_HEAD = 1 << 20  # bytes in front of the samples
AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes of a sample, by the encoding
AIFC_PLAIN = (b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"fl64", b"FL64")  # samples of as many bits as COMM says


@dataclass(frozen=True)
class _Samples:
    """Where the samples begin and how many bytes the header says they have, None if it does not know; the place of
    that size in the header, its layout, and what it counts beside them; bytes per second, 0 if they cannot be told."""

    body: int
    size: int | None
    place: int
    layout: str
    more: int
    per_second: float


def unsized_piece(file: BinaryIO, end: int) -> Piece:
    """A file of one of these kinds, with a note if it does not say how much it holds, or says more."""
    file.seek(0)
    head = file.read(12)
    kinds = {b".snd": _au, b"FORM": _aiff, b"caff": _caf, b"riff": _w64}
    try:
        found = kinds[head[:4]](file, end)
    except (struct.error, OverflowError):  # cut off in the header, or a rate beyond all numbers
        found = None
    plain = Piece(0, end)
    if found is None or not found.place < found.body < end or found.body > LONGEST_HEAD:
        return plain
    rest = end - found.body
    holds = _seconds(found, rest)
    if found.size is None:
        note = NO_LENGTH
    elif found.size > rest:
        note = f"its header says {_seconds(found, found.size)}, and the file ends after {holds}; using those"
    elif found.size == 0 and not _chunks_follow(file, found.body, end, head[:4]):
        note = f"its header says 0.00 s of sound, and the file holds {holds}; using those"
    else:
        return plain
    file.seek(0)
    whole = bytearray(file.read(found.body))
    width = struct.calcsize(found.layout)
    struct.pack_into(found.layout, whole, found.place, min(rest + found.more, (1 << 8 * width) - 1))
    return Piece(found.body, end, bytes(whole), note=note)


def _seconds(found: _Samples, size: int) -> str:
    return f"{size / found.per_second:.2f} s" if found.per_second else f"{size} bytes"


def _au(file: BinaryIO, end: int) -> _Samples | None:
    file.seek(4)
    body, size, encoding, rate, channels = struct.unpack(">5I", file.read(20))
    if body < 24:
        return None
    known = None if size == UNKNOWN else size
    return _Samples(body, known, 8, ">I", 0, rate * channels * AU_WIDTHS.get(encoding, 0))


def _aiff(file: BinaryIO, end: int) -> _Samples | None:
    per_second = 0.0
    for name, size, body in _chunks(file, 12, end, ">4sI"):
        if name == b"COMM":
            common = file.read(22)
            channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", common[:18])
            if common[18:] in AIFC_PLAIN or size == 18:
                rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)  # a float of 80 bits
                per_second = rate * channels * -(-bits // 8)
        elif name == b"SSND":  # begins with 8 bytes about blocks
            known = None if size == UNKNOWN else max(size - 8, 0)
            return _Samples(body + 8, known, body - 4, ">I", 8, per_second)
    return None


def _caf(file: BinaryIO, end: int) -> _Samples | None:
    per_second = 0.0
    for name, size, body in _chunks(file, 8, end, ">4sQ"):
        if name == b"desc":
            rate, _, _, packet, frames = struct.unpack(">d4s3I", file.read(24))
            per_second = rate * packet / frames if frames else 0.0
        elif name == b"data":  # begins with 4 bytes that count edits
            known = None if size == LARGE else max(size - 4, 0)
            return _Samples(body + 4, known, body - 8, ">Q", 4, per_second)
    return None


def _w64(file: BinaryIO, end: int) -> _Samples | None:
    per_second, position = 0.0, 40
    while position + 24 <= end:
        file.seek(position)
        name, size = struct.unpack("<16sQ", file.read(24))
        if name[:4] == b"fmt ":
            per_second = struct.unpack("<8xI", file.read(12))[0]
        elif name[:4] == b"data":  # sizes count these 24 bytes too
            known = None if size == LARGE else max(size - 24, 0)
            return _Samples(position + 24, known, position + 16, "<Q", 24, per_second)
        position += max(24, size + -size % 8)
    return None


def _chunks(file: BinaryIO, position: int, end: int, layout: str) -> Iterator[tuple[bytes, int, int]]:
    """Name and size of each chunk, and where what it holds begins; there the file is read next. AIFF's are even."""
    length = struct.calcsize(layout)
    while position + length <= end:
        file.seek(position)
        name, size = struct.unpack(layout, file.read(length))
        yield name, size, position + length
        position += length + size + (size % 2 if length == 8 else 0)


def _chunks_follow(file: BinaryIO, position: int, end: int, kind: bytes) -> bool:
    """Whether what stands where samples should be are chunks up to the end, as behind a recording without a sample."""
    layout = {b"FORM": ">4sI", b"caff": ">4sQ"}.get(kind)
    if layout is None:
        return False
    last = position
    for name, size, body in _chunks(file, position, end, layout):
        if not all(0x20 <= byte < 0x7F for byte in name):
            return False
        last = body + size
    return last in (end, end - 1)
