"""WAV from a pipe, decoded as it comes: a microphone, a converter, or anything else that may never end.

    arecord -f S16_LE -r 48000 - | sonopsis tag -

A WAV needs no look at its end, so a stretch of its data under a header of its own is a small recording that libsndfile
decodes. Other containers have to be there as a whole.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sonopsis.audio import LiveAudio
from sonopsis.handover import in_a_thread

BLOCK_SECONDS = 0.25  # of sound that is decoded at once
LONGEST_CHUNK = 1 << 20  # bytes of a chunk before the data; a longer one is no header
PLAIN = {1, 3, 6, 7, 0xFFFE}  # PCM, floats, A-law, mu-law, extensible: a frame has as many bytes everywhere
# What programs write that do not know how much will come: nothing, or as much as fits into 31 or 32 bits, a little less
# for the header.
UNKNOWN = ((0, 0), (0x7FFF_0000, 0x8000_0000), (0xFFFF_0000, 0xFFFF_FFFF))


def live_wav(stream: BinaryIO, path: str, name: str) -> tuple[LiveAudio | None, bytes]:
    """The recording that a stream of bytes begins with, if it is a WAV of a plain kind, and the bytes that were read.

    `path` is what results call it, and `name` what messages call it. Without a recording, the bytes belong in front of
    what is still to come.
    """
    seen = io.BytesIO()

    def take(count: int) -> bytes:
        taken = stream.read(count)
        seen.write(taken)
        return taken

    mark = take(12)
    if mark[:4] not in (b"RIFF", b"RF64") or mark[8:] != b"WAVE":
        return None, seen.getvalue()
    form, sizes = b"", b""
    while len(head := take(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return _opened(stream, form, size, sizes, path, name), seen.getvalue()
        if size > LONGEST_CHUNK:
            break
        body = take(size + size % 2)  # chunks begin at even places
        form = body if head[:4] == b"fmt " else form
        sizes = body if head[:4] == b"ds64" else sizes
    return None, seen.getvalue()


def _opened(stream: BinaryIO, form: bytes, size: int, sizes: bytes, path: str, name: str) -> LiveAudio | None:
    """The recording whose `fmt ` chunk is `form`; its data begin here, and have `size` bytes, or those of `ds64`."""
    if len(form) < 16:
        return None
    kind, channels, rate, _, width, bits = struct.unpack("<HHIIHH", form[:16])
    if kind not in PLAIN or not (channels and rate and bits) or width * 8 != channels * bits:
        return None
    if size == 0xFFFF_FFFF and len(sizes) >= 16:
        size = struct.unpack("<Q", sizes[8:16])[0]
    unknown = any(low <= size <= high for low, high in UNKNOWN)
    header = b"fmt " + struct.pack("<I", len(form)) + form
    blocks = _blocks(stream, header, width * max(1, round(rate * BLOCK_SECONDS)), None if unknown else size, width)
    return LiveAudio(path, name, rate, channels, 0 if unknown else size // width, blocks)


def _blocks(
    stream: BinaryIO, header: bytes, length: int, left: int | None, width: int
) -> Iterator[NDArray[np.float32]]:
    """Frames (n, channels) of the next `left` bytes (None: all), `length` bytes at a time; a frame has `width`."""
    # Decoding has a thread of its own: libsndfile calls Python to read, and a Ctrl-C during such a call would be lost.
    return in_a_thread(_decoded, _recordings(stream, header, length, left, width))


def _recordings(stream: BinaryIO, header: bytes, length: int, left: int | None, width: int) -> Iterator[io.BytesIO]:
    """The same as small WAV files."""
    while left is None or left > 0:
        data = stream.read(length if left is None else min(length, left))
        data = data[: len(data) // width * width]  # a last frame that was cut off
        if not data:
            return
        left = None if left is None else left - length
        body = b"WAVE" + header + b"data" + struct.pack("<I", len(data)) + data
        yield io.BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def _decoded(wav: io.BytesIO) -> NDArray[np.float32]:
    frames: NDArray[np.float32] = soundfile.read(wav, dtype="float32", always_2d=True)[0]
    return frames
