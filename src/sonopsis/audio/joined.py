"""Files that hold several recordings one after the other, as `cat a.ogg b.ogg` makes them: where each begins.

Decoders stop at the end of the first: chained Ogg (RFC 3533, section 4), MP3 files of which each says its own length,
and FLAC and WAV files behind one another.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import BinaryIO

from sonopsis.audio.cut_off import flac_piece, wav_pieces
from sonopsis.audio.excerpt import Piece, find
from sonopsis.audio.mp3 import Tries, after_tag, frame_length, frames_follow, stretches
from sonopsis.audio.unsized import unsized_piece

OGG_FIRST = b"OggS\x00\x02" + bytes(8)  # the first page of a stream: version 0, flag 2, granule position 0
FLAC_FIRST = b"fLaC\x00\x00\x00\x22"  # and the header of its STREAMINFO, which is not its last block
FLAC_ONLY = b"fLaC\x80\x00\x00\x22"

MOST = 100_000  # recordings in one file; headers one after the other would be millions, each with its place in memory


def pieces(file: BinaryIO) -> list[Piece]:
    """The recordings that a seekable file holds, in order, `MOST` of them; a file that no rule knows is one piece."""
    found = list(islice(_pieces(file), MOST + 1))
    if len(found) <= MOST:
        return found
    return [*found[: MOST - 1], replace(found[MOST - 1], note=f"of the recordings in it, only {MOST} are heard")]


def _pieces(file: BinaryIO) -> Iterable[Piece]:
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        return _between(_ogg_beginnings(file, end), end)
    if head[:4] == b"fLaC":
        return (flac_piece(file, piece) for piece in _between(_flac_beginnings(file, end), end))
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return wav_pieces(file, end)
    if head[:4] in (b".snd", b"caff", b"riff") or (head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")):
        return [unsized_piece(file, end)]
    if head[:3] == b"ID3" or frame_length(head) is not None:
        tries = Tries()
        beginnings = _mp3_beginnings(file, end, tries)
        return (part for piece in _between(beginnings, end) for part in stretches(file, piece, tries))
    return [Piece(0, end)]


def _between(beginnings: Iterator[int], end: int) -> list[Piece]:
    found = {0}
    for beginning in beginnings:  # some come twice
        found.add(beginning)
        if len(found) > MOST:
            break
    places = sorted(found)
    return [Piece(first, last) for first, last in zip(places, [*places[1:], end], strict=True)]


def _ogg_beginnings(file: BinaryIO, end: int) -> Iterator[int]:
    """Positions of first pages that do not follow another first page (streams that sound together begin so)."""
    after = 0  # where the last first page ends
    for position in find(file, [OGG_FIRST], 0, end):
        file.seek(position)
        page = file.read(27 + 255)
        if len(page) > 26 and page[18:22] == bytes(4):  # page number 0
            if position != after:
                yield position
            after = position + 27 + page[26] + sum(page[27 : 27 + page[26]])


def _flac_beginnings(file: BinaryIO, end: int) -> Iterator[int]:
    return find(file, [FLAC_FIRST, FLAC_ONLY], 1, end)


def _mp3_beginnings(file: BinaryIO, end: int, tries: Tries) -> Iterator[int]:
    """Positions of tags and of frames with a length (Xing, Info) that begin another file; what follows the bytes that
    such a frame counts is another one too. The search ends with the `tries`."""
    within = after_tag(file, 0)  # up to here it is still the beginning of a recording that is known
    last = -1  # the last byte of the recording by its own count
    for position in find(file, [b"Xing", b"Info", b"ID3"], 0, end):
        if 0 <= last < position:
            if frames_follow(file, last):
                yield last
            last = -1
        first = None if position < within - 64 else _tag_or_frame(file, position)
        if first is None:
            if tries.failed():
                break
            continue
        if first > within:
            yield first
        if first == position:  # a tag: the frame behind it belongs to the same recording
            within, last = after_tag(file, first), -1
            continue
        within = first
        file.seek(position + 4)
        fields = file.read(12).ljust(12, b"\0")
        has_frames, has_bytes = fields[3] & 1, fields[3] & 2
        size = fields[8:12] if has_frames else fields[4:8]
        last = first + int.from_bytes(size, "big") if has_bytes and len(size) == 4 else -1
    if 0 <= last < end and frames_follow(file, last):
        yield last


def _tag_or_frame(file: BinaryIO, position: int) -> int | None:
    """Where the tag or the frame begins in which a word was found; None where it is part of something else."""
    file.seek(position)
    word = file.read(4)
    if word[:3] == b"ID3":
        return position if frames_follow(file, after_tag(file, position)) else None
    for before in (36, 21, 13):  # a header of 4 bytes and the side information of 32, 17 or 9
        file.seek(max(0, position - before))
        if position >= before and frame_length(file.read(4)) is not None:
            return position - before
    return None
