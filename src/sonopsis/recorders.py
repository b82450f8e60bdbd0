"""When a recording began, from what field recorders write into files and their names.

    guan                 a chunk of lines such as "Timestamp: 2024-05-01T05:30:00+02:00": GUANO 1.0, which recorders and
                         programs for bats write
    wamd                 a chunk of numbered fields, of which number 5 is "2024-05-01 05:30:00+02:00": Song Meter
    comment              "Recorded at 05:30:00 01/05/2024 (UTC+1) by AudioMoth ...", which has the time zone too
    20240501_053000.WAV, 20240501_053000T.WAV     AudioMoth; T: started by a sound
    MEADOW_20240501_053000.wav                    Song Meter, and AudioMoth with its name in front

The first of these that is there holds. GUANO is published by D. Riggs, the fields of wamd by Wildlife Acoustics; the
comment is that of the firmware AudioMoth-Firmware-Basic; the names are in the manuals of both recorders.
"""

import os
import re
import struct
from datetime import datetime, timedelta, timezone
from typing import BinaryIO

import soundfile

NAME = re.compile(r"(?:^|_)(\d{8})_\$?(\d{6})(?:T|_(\d{3}))?$")
GUANO, WAMD = b"guan", b"wamd"  # the names of chunks
WAMD_TIME = 5  # the number of the field with the time
LONGEST_CHUNK = 1 << 20  # bytes; what claims to be longer is no description
COMMENT = re.compile(
    r"Recorded at (\d\d:\d\d:\d\d)(?:\.(\d{3}))? (\d\d/\d\d/\d{4}) \(UTC(?:([+-])(\d{1,2})(?::?(\d\d))?)?\)"
)


def began(path: str | os.PathLike[str]) -> datetime | None:
    """Date and time at which a recording began, with its time zone where the recorder wrote that; None if unknown."""
    name = os.fspath(path)
    return _from_header(name) or began_by_name(name)


def began_by_name(path: str) -> datetime | None:
    """Date and time in the name of a file, without a time zone; None if there is none."""
    found = NAME.search(os.path.splitext(os.path.basename(path))[0])
    return None if found is None else _read(f"{found[1]} {found[2]}", "%Y%m%d %H%M%S", found[3])


def began_by_comment(comment: str) -> datetime | None:
    """Date, time and time zone in the comment that an AudioMoth writes; None if it is another one."""
    found = COMMENT.search(comment)
    if found is None:
        return None
    time, milliseconds, date, sign, hours, minutes = found.groups()
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    moment = _read(f"{date} {time}", "%d/%m/%Y %H:%M:%S", milliseconds)
    return moment and moment.replace(tzinfo=timezone(-ahead if sign == "-" else ahead))


def began_by_guano(chunk: bytes) -> datetime | None:
    """Date, time and time zone (if there is one) in a chunk of GUANO metadata; None if they are not there."""
    for line in chunk.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Timestamp":
            return _read_iso(value)
    return None


def began_by_wamd(chunk: bytes) -> datetime | None:
    """Date, time and time zone (if there is one) in the chunk that a Song Meter writes; None if they are not there."""
    place = 0
    while place + 6 <= len(chunk):
        number, size = struct.unpack_from("<HI", chunk, place)
        if number == WAMD_TIME:
            return _read_iso(chunk[place + 6 : place + 6 + size].decode("ascii", "replace"))
        place += 6 + size
    return None


def _from_header(path: str) -> datetime | None:
    if not path.lower().endswith(".wav") or not os.path.isfile(path):
        return None
    encoded = os.fsencode(path) if os.name == "posix" else path
    try:
        with open(encoded, "rb") as file:
            chunks = _chunks(file)
        moment = began_by_guano(chunks.get(GUANO, b"")) or began_by_wamd(chunks.get(WAMD, b""))
        if moment is not None:
            return moment
        with soundfile.SoundFile(encoded) as sound:
            return began_by_comment(sound.comment)
    except (soundfile.SoundFileError, ValueError, OSError):  # the reader of the recording says what is wrong with it
        return None


def _chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks of a WAV file, RIFF or RF64, that describe it; one that is cut off is not there."""
    found: dict[bytes, bytes] = {}
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return found
    end = file.seek(0, os.SEEK_END)
    place, sound = 12, 0
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"ds64" and size >= 16:
            sound = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        elif name in (GUANO, WAMD) and size <= min(LONGEST_CHUNK, end - place - 8):
            found[name] = file.read(size)
        if name == b"data" and size == 0xFFFF_FFFF and sound:
            size = sound
        place += 8 + size + size % 2
    return found


def _read_iso(text: str) -> datetime | None:
    """ISO 8601, also with spaces before and after the time; None for what is no moment."""
    date, _, time = text.strip(" \t\r\n\0").replace("T", " ").partition(" ")
    try:
        return datetime.fromisoformat(f"{date}T{time.replace(' ', '')}")
    except ValueError:
        return None


def _read(text: str, form: str, milliseconds: str | None) -> datetime | None:
    try:
        return datetime.strptime(text, form) + timedelta(milliseconds=int(milliseconds or 0))
    except ValueError:  # digits that are no date
        return None
