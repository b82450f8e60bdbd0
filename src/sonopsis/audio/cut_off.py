"""Recordings whose writer stopped before it could say how long they are: headers that let decoders read to the end."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from sonopsis.audio.excerpt import Piece

UNKNOWN = 0xFFFFFFFF  # a size that was not known, or is too large for its field
LARGEST_RIFF = 0xFFFFFF00
PADDING = 4096  # bytes of zeros that end a file which was given its room beforehand

NO_LENGTH = "its header does not say how long it is, as when the recorder was stopped; using what decodes"


def flac_piece(file: BinaryIO, piece: Piece) -> Piece:
    """A FLAC stream, of which STREAMINFO says at most as many samples as it may if it says none (RFC 9639, 8.2)."""
    file.seek(piece.start)
    head = bytearray(file.read(26))
    if len(head) < 26 or head[21] & 0x0F or any(head[22:26]):
        return piece
    head[21] |= 0x0F
    head[22:26] = b"\xff\xff\xff\xff"
    return Piece(piece.start + 26, piece.end, bytes(head), frames_known=False, note=NO_LENGTH)


def wav_pieces(file: BinaryIO, end: int) -> Iterator[Piece]:
    """The WAV files one after the other, of which the first begins at 0; a wrong size of the samples is put right."""
    start = 0
    while True:
        piece, start = _wav_piece(file, start, end)
        yield piece
        file.seek(start)
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return


def _wav_piece(file: BinaryIO, start: int, end: int) -> tuple[Piece, int]:
    """The WAV file at `start`, and where what follows it begins."""
    file.seek(start)
    riff = struct.unpack("<4sI", file.read(8))[1]
    large = format_chunk = b""
    position = start + 12
    while position + 8 <= end:
        file.seek(position)
        name, size = struct.unpack("<4sI", file.read(8))
        body = position + 8
        if name == b"ds64":
            large = file.read(16)
        elif name == b"fmt ":
            format_chunk = file.read(min(size, PADDING))
        elif name == b"data":
            if len(large) == 16 and size == UNKNOWN:
                size = struct.unpack("<Q", large[8:])[0]
            if len(format_chunk) < 16:
                break
            return _samples(file, Piece(start, end), format_chunk, body, size, start + 8 + riff)
        position = body + size + size % 2
    return Piece(start, end), end


def _samples(
    file: BinaryIO, piece: Piece, format_chunk: bytes, body: int, size: int, riff_end: int
) -> tuple[Piece, int]:
    """A WAV file whose samples are `size` bytes from `body` on, by its header, and where what follows it begins."""
    end, rest = piece.end, piece.end - body
    per_second = struct.unpack("<I", format_chunk[8:12])[0] or 1
    behind = body + size + size % 2
    if size == UNKNOWN:
        return (piece if rest < LARGEST_RIFF else _rebuilt(piece, format_chunk, body, "")), end
    if size > rest:
        note = (
            f"its header says {size / per_second:.2f} s, and the file ends after {rest / per_second:.2f} s; using those"
        )
        return Piece(piece.start, end, note=note), end
    follows = _next_wav(file, behind, end)
    if follows is not None or rest - size < 8 or _zeros(file, behind):
        last = end if follows is None else follows
        return Piece(piece.start, last), last
    stopped = size == 0 or riff_end >= end - 1 or (rest - size) % (1 << 32) < 8
    said, holds = size / per_second, rest / per_second  # s
    if stopped:
        note = f"its header says {said:.2f} s of sound, and the file holds {holds:.2f} s; using those"
        return _rebuilt(piece, format_chunk, body, note), end
    note = f"its header says {said:.2f} s of sound; {rest - size} bytes behind it are no sound, and left out"
    return Piece(piece.start, end, note=note), end


def _next_wav(file: BinaryIO, position: int, end: int) -> int | None:
    """Where the chunks from a position on end: at another WAV file or the end; None where there are no chunks."""
    while position + 8 <= end:
        file.seek(position)
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
            return position
        size = int.from_bytes(head[4:8], "little")
        if not all(0x20 <= byte < 0x7F for byte in head[:4]) or position + 8 + size > end:
            return None
        position += 8 + size + size % 2
    return end


def _zeros(file: BinaryIO, position: int) -> bool:
    file.seek(position, os.SEEK_SET)
    return not any(file.read(PADDING))


def _rebuilt(piece: Piece, format_chunk: bytes, body: int, note: str) -> Piece:
    """The samples up to the end behind a new header: RIFF, or RF64 (EBU Tech 3306) for more than that can count."""
    size = piece.end - body
    chunk = b"fmt " + struct.pack("<I", len(format_chunk)) + format_chunk
    if size < LARGEST_RIFF:
        riff = struct.pack("<4sI4s", b"RIFF", 4 + len(chunk) + 8 + size, b"WAVE")
        return Piece(body, piece.end, riff + chunk + struct.pack("<4sI", b"data", size), note=note)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 4 + 36 + len(chunk) + 8 + size, size, 0, 0)
    riff = struct.pack("<4sI4s", b"RF64", UNKNOWN, b"WAVE")
    return Piece(body, piece.end, riff + sizes + chunk + struct.pack("<4sI", b"data", UNKNOWN), note=note)
