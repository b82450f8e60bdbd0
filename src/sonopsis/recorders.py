"""When a recording began, from what field recorders write into file names and comments.

    20240501_053000.WAV, 20240501_053000T.WAV     AudioMoth; T: started by a sound
    MEADOW_20240501_053000.wav                    Song Meter, and AudioMoth with its name in front
    "Recorded at 05:30:00 01/05/2024 (UTC+1) by AudioMoth ..."     the comment of an AudioMoth, which has the time zone

The comment is that of the firmware AudioMoth-Firmware-Basic; the names are in the manuals of both recorders.
"""

import os
import re
from datetime import datetime, timedelta, timezone

import soundfile

NAME = re.compile(r"(?:^|_)(\d{8})_\$?(\d{6})(?:T|_(\d{3}))?$")
COMMENT = re.compile(
    r"Recorded at (\d\d:\d\d:\d\d)(?:\.(\d{3}))? (\d\d/\d\d/\d{4}) \(UTC(?:([+-])(\d{1,2})(?::?(\d\d))?)?\)"
)


def began(path: str | os.PathLike[str]) -> datetime | None:
    """Date and time at which a recording began, with its time zone where the recorder wrote that; None if unknown."""
    name = os.fspath(path)
    return _from_comment(name) or began_by_name(name)


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


def _from_comment(path: str) -> datetime | None:
    if not path.lower().endswith(".wav") or not os.path.isfile(path):
        return None
    try:
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as sound:
            return began_by_comment(sound.comment)
    except (soundfile.SoundFileError, ValueError, OSError):  # the reader of the recording says what is wrong with it
        return None


def _read(text: str, form: str, milliseconds: str | None) -> datetime | None:
    try:
        return datetime.strptime(text, form) + timedelta(milliseconds=int(milliseconds or 0))
    except ValueError:  # digits that are no date
        return None
