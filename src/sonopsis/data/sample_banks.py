"""Readers of the banks that games and synthesizers keep samples in: Doom WAD, 7kaa RES, SoundFont (SF2, SF3), GUS PAT.

Each yields (name, content), where the content is a complete WAV or Ogg file.  Whatever a damaged bank holds, reading it
gives its samples or raises DataError, in time and memory that the bank's length limits.
"""

import io
import struct
import wave
from collections.abc import Iterator
from itertools import pairwise

from sonopsis.data.catalogue import DataError
from sonopsis.data.containers import AGAIN, bytes_at, fields_at

_DMX_PADDING = 16  # bytes before and after the samples of a Doom sound
_DMX_HEADER = 8
_RES_ENTRY = 13  # bytes: a name of 9 with its NUL, and an offset
_PAT_HEADERS = 129 + 63  # bytes: of the file and of its first instrument
_PAT_LAYER, _PAT_SAMPLE = 47, 96
_SHDR = struct.Struct("<20s5IBbHH")  # a sample header of a SoundFont
_SF_COMPRESSED, _SF_ROM = 0x10, 0x8000
_HIGHEST_RATE = 1_000_000  # Hz
_MOST = 4  # samples may share bytes, but all together are not longer than so many times the bank


def read_wad(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds (lumps DS...) of a Doom WAD as (name, WAV file).

    The header points to a directory of (offset, size, name); a sound is its format (3), its rate, its length, then
    unsigned bytes between two paddings.  Lumps of other formats are skipped.
    """
    magic, lumps, directory = fields_at(data, 0, "<4sII")
    left = _MOST * len(data)
    if magic not in (b"IWAD", b"PWAD"):
        raise DataError("not a Doom WAD")
    for entry in range(directory, directory + 16 * lumps, 16):
        offset, size, label = fields_at(data, entry, "<II8s")
        name = _text(label)
        if not name.upper().startswith("DS") or size < _DMX_HEADER:
            continue
        left = _less(left, size)
        lump = bytes_at(data, offset, size)
        kind, rate, length = fields_at(lump, 0, "<HHI")
        if kind == 3 and rate and length > 2 * _DMX_PADDING:
            padded = bytes_at(lump, _DMX_HEADER, length)
            yield _safe(name), _wav(padded[_DMX_PADDING:-_DMX_PADDING], rate, 1)


def read_res(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds of a 7kaa resource file as (name, RIFF file).

    The number of entries, then (name, offset) for each and for the end; entries that are no RIFF files are skipped.
    """
    (count,) = fields_at(data, 0, "<H")
    entries = [fields_at(data, 2 + _RES_ENTRY * i, "<9sI") for i in range(count + 1)]
    for (label, start), (_, end) in pairwise(entries):
        if end < start:
            raise DataError(f"the resource file is damaged (its offsets do not grow); {AGAIN}")
        content = bytes_at(data, start, end - start)
        if content[:4] == b"RIFF":
            yield _safe(_text(label)), content


def read_soundfont(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Samples of a SoundFont as (name, suffix, WAV or Ogg file), the names made unique by a number.

    A RIFF file whose chunk `shdr` lists the samples in the chunk `smpl`: 16-bit values (SF2), or Ogg files (SF3).
    """
    magic, _, form = fields_at(data, 0, "<4sI4s")
    if (magic, form) != (b"RIFF", b"sfbk"):
        raise DataError("not a SoundFont")
    chunks = dict(_chunks(data))
    if not {b"smpl", b"shdr"} <= chunks.keys():
        raise DataError(f"the SoundFont is damaged (it has no samples); {AGAIN}")
    samples, headers = chunks[b"smpl"], chunks[b"shdr"]
    seen: dict[str, int] = {}
    left = _MOST * len(data)
    for at in range(0, len(headers) - 2 * _SHDR.size + 1, _SHDR.size):  # the last one only marks the end
        label, start, end, _, _, rate, _, _, _, kind = _SHDR.unpack_from(headers, at)
        if kind & _SF_ROM or end <= start:
            continue
        left = _less(left, end - start)
        name = _safe(_text(label))
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}_{seen[name]}"
        if kind & _SF_COMPRESSED:
            yield name, ".ogg", bytes_at(samples, start, end - start)
        elif rate:
            yield name, ".wav", _wav(bytes_at(samples, 2 * start, 2 * (end - start)), rate, 2)


def read_pat(data: bytes) -> Iterator[bytes]:
    """Samples of a Gravis Ultrasound patch, one instrument, as WAV files.

    The headers of the file and of the instrument, then for each layer a header with its number of samples, and for each
    sample a header (length in bytes, rate, mode: bit 0 for 16 bits, bit 1 for unsigned) and the values.
    """
    if data[:9] != b"GF1PATCH1":
        raise DataError("not a GUS patch")
    (layers,) = fields_at(data, 129 + 22, "<B")
    at = _PAT_HEADERS
    for _ in range(layers):
        (count,) = fields_at(data, at + 6, "<B")
        at += _PAT_LAYER
        for _ in range(count):
            size, _, _, rate = fields_at(data, at + 8, "<IIIH")
            (mode,) = fields_at(data, at + 55, "<B")
            values = bytes_at(data, at + _PAT_SAMPLE, size)
            at += _PAT_SAMPLE + size
            width = 1 + (mode & 1)
            if rate and size >= width:
                yield _wav(_signs(values[: size - size % width], width, unsigned=bool(mode & 2)), rate, width)


def _signs(values: bytes, width: int, *, unsigned: bool) -> bytes:
    """The values as WAV has them: bytes unsigned, 16 bits signed."""
    if unsigned == (width == 1):
        return values
    changed = bytearray(values)
    changed[width - 1 :: width] = bytes(byte ^ 0x80 for byte in values[width - 1 :: width])
    return bytes(changed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a RIFF file, those in lists as well, as (name, content)."""
    at = 12
    while at + 8 <= len(data):
        name, size = fields_at(data, at, "<4sI")
        if name == b"LIST":
            at += 12  # what it holds comes next
            continue
        yield name, bytes_at(data, at + 8, size)
        at += 8 + size
        at += size % 2 and data[at : at + 1] == b"\0"  # some writers of SF3 leave the padding out


def _wav(values: bytes, rate: int, width: int) -> bytes:
    """A mono WAV file of values of `width` bytes."""
    if rate > _HIGHEST_RATE:
        raise DataError(f"the bank is damaged (a sample of {rate} Hz); {AGAIN}")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(values)
    return stream.getvalue()


def _less(left: int, size: int) -> int:
    """`left` without `size`; DataError when nothing is left."""
    if size > left:
        raise DataError(f"the bank is damaged (its samples are longer than it); {AGAIN}")
    return left - size


def _text(label: bytes) -> str:
    return label.split(b"\0")[0].decode("latin-1").strip()


def _safe(name: str) -> str:
    """A name that every file system takes: no spaces, slashes, backslashes or control characters."""
    kept = "".join("_" if c in ' /\\:*?"<>|' or not c.isprintable() else c for c in name)
    return kept.strip(".") or "sample"
