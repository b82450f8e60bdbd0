"""MP3 files: their frames, and the length that a file of variable rate leaves out.

Without a frame that says how long the file is (Xing, Info, VBRI), decoders guess it from the rate of the first frame,
and libsndfile stops there.
"""

import re
from dataclasses import dataclass, replace
from typing import BinaryIO

from sonopsis.audio.excerpt import CHUNK, FIRST_CHUNK, Piece, find_pattern

# kbit/s by index, of MPEG-1 and of MPEG-2 and 2.5, layer III; Hz by index, of MPEG-1 (ISO/IEC 11172-3, 13818-3)
BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
RATES = (44_100, 48_000, 32_000)

REACH = 1_000  # bytes of something else that decoders skip
TOGETHER = 4  # frames that follow one another: fewer are found in any bytes
LENGTHS = (b"Xing", b"Info", b"VBRI")  # what a frame holds that says how long the file is
# What frames of layer III begin with: two bytes of MPEG-2.5, 2 and 1, with a checksum and without, and one with a bit
# rate (neither 0 nor 15) and a sample rate (not 3). A search for less would stop at every other byte of some files.
BEGINNING = re.compile(
    b"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][%b]"
    % b"".join(b"\\x%02x" % byte for byte in range(256) if byte >> 4 not in (0, 15) and byte >> 2 & 3 != 3)
)
MOST_TRIES = 100_000  # found in more than a GB of random bytes; a file with more was made to be searched for hours
MOST_STRETCHES = 100_000

MADE_UP = "too many places in it look like sound and are none; what decoders do not find is not searched for further"


class Tries:
    """How many more places of one file may be tried that look like the beginning of a recording, and are none."""

    def __init__(self) -> None:
        self.left = MOST_TRIES

    def failed(self) -> bool:
        """Count one that is none; returns whether it was the last."""
        self.left -= 1
        return self.left <= 0


def stretches(file: BinaryIO, piece: Piece, tries: Tries) -> list[Piece]:
    """The stretches of an MP3 recording between which something else lies, at which decoders would stop.

    Each has a frame with its number of frames in front where its rate varies and it does not say that itself. Walking
    over the frames is quick beside decoding them. The search for them ends with the `tries`.
    """
    found: list[Piece] = []
    place, note = after_tag(file, piece.start), ""
    while True:
        stretch, rates = _walked(file, place, piece.end, tries)
        following = _next_frames(file, stretch.end, piece.end, tries)
        alone = not found and following is None
        if stretch.frames:
            found.append(_piece(file, piece, stretch, alone=alone, varied=rates > 1, note=note))
        if following is None or len(found) == MOST_STRETCHES:
            found = found or [piece]
            return found if tries.left > 0 else [*found[:-1], replace(found[-1], note=MADE_UP)]
        note = f"{following - stretch.end} bytes in it are no sound; they are left out"
        place = following


@dataclass(frozen=True)
class _Stretch:
    start: int
    end: int
    frames: int


def _walked(file: BinaryIO, start: int, end: int, tries: Tries) -> tuple[_Stretch, int]:
    """The frames from a position on that follow one another, and how many bit rates they have."""
    count, rates = 0, set()
    place = base = start
    chunk, size = b"", FIRST_CHUNK
    while place + 4 <= end:
        if place + 4 > base + len(chunk):
            base = place
            file.seek(base)
            chunk = file.read(min(size, end - base))
            size = min(2 * size, CHUNK)
        head = chunk[place - base : place - base + 4]
        length = frame_length(head)
        if length is None:
            near = _next_frames(file, place, min(end, place + REACH), tries)
            if near is None:
                break
            place = near
            continue
        count += 1
        rates.add(head[2] >> 4)
        place += length
    return _Stretch(start, min(place, end), count), len(rates)


def _piece(file: BinaryIO, piece: Piece, stretch: _Stretch, *, alone: bool, varied: bool, note: str) -> Piece:
    """A stretch as a piece; `alone` where it is all of the recording, which may then say its own length."""
    file.seek(stretch.start)
    first = file.read(4)
    first += file.read((frame_length(first) or 4) - 4)
    says_length = any(word in first for word in LENGTHS)
    if alone and (not varied or says_length):
        return piece
    start, frames = stretch.start, stretch.frames
    if says_length and frames > 1:  # the length of all stretches, in a frame that is no sound
        start, frames = start + len(first), frames - 1
    return Piece(start, piece.end if alone else stretch.end, _info(first[:4], frames), note=note)


def _next_frames(file: BinaryIO, start: int, end: int, tries: Tries) -> int | None:
    """The next position at which frames begin that follow one another."""
    if tries.left <= 0:
        return None
    for position in find_pattern(file, BEGINNING, 3, start, end):
        if frames_follow(file, position, TOGETHER):
            return position
        if tries.failed():
            break
    return None


def _info(head: bytes, frames: int) -> bytes:
    """A frame of silence, like the one with this header, that says how many frames follow it."""
    length, header = 0, bytearray(head)
    header[1] |= 1  # without a checksum
    for bitrate in range(1, 15):  # the lowest rate with room for the count, behind the side information
        header[2] = bitrate << 4 | head[2] & 0x0C
        length = frame_length(bytes(header)) or 0
        if length >= 4 + 32 + 16:
            break
    mono, first_version = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side = (17 if mono else 32) if first_version else (9 if mono else 17)
    return (bytes(header) + bytes(side) + b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")).ljust(
        length, b"\0"
    )


def after_tag(file: BinaryIO, position: int) -> int:
    """The end of the ID3v2 tag at a position, or the position itself."""
    file.seek(position)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or head[3] > 4 or max(head[6:10]) > 0x7F:
        return position
    size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return position + 10 + size + (10 if head[5] & 0x10 else 0)


def frames_follow(file: BinaryIO, position: int, count: int = 2) -> bool:
    """Whether a frame begins here, and others behind it."""
    for _ in range(count):
        file.seek(position)
        length = frame_length(file.read(4))
        if length is None:
            return False
        position += length
    return True


def frame_length(head: bytes) -> int | None:
    """Bytes of the MPEG layer III frame that begins with a header; None where it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, bitrate = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate == 3 or bitrate in (0, 15):
        return None
    if version == 3:
        return 144_000 * BITRATES_1[bitrate] // RATES[rate] + (head[2] >> 1 & 1)
    hertz = RATES[rate] // (2 if version == 2 else 4)
    return 72_000 * BITRATES_2[bitrate] // hertz + (head[2] >> 1 & 1)
