"""When recordings began, by names and comments that recorders write."""

import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.recorders import began, began_by_comment, began_by_name

HALF_PAST_FIVE = datetime(2024, 5, 1, 5, 30)


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("20240501_053000.WAV", HALF_PAST_FIVE),  # AudioMoth
        ("20240501_053000T.WAV", HALF_PAST_FIVE),  # AudioMoth, started by a sound
        ("24E144085F2569E4_20240501_053000.WAV", HALF_PAST_FIVE),  # AudioMoth with its number
        ("MEADOW_20240501_053000.wav", HALF_PAST_FIVE),  # Song Meter
        ("north_edge_0+1_20240501_053000.flac", HALF_PAST_FIVE),  # Song Meter with its channels
        ("BAT_20240501_$053000.wav", HALF_PAST_FIVE),  # Song Meter, a file that goes on
        ("BAT_20240501_053000_125.wav", HALF_PAST_FIVE + timedelta(milliseconds=125)),
        ("20241301_053000.WAV", None),  # no such month
        ("20240501_256000.WAV", None),
        ("120240501_053000.wav", None),  # nine digits
        ("20240501_053000_edited.wav", None),
        ("street.wav", None),
    ],
)
def test_names(name: str, moment: datetime | None) -> None:
    assert began_by_name(f"week/20230101_000000/{name}") == moment


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 0), ("UTC+1", 1), ("UTC-11", -11), ("UTC+5:45", 5.75), ("UTC-3:30", -3.5)]
)
def test_comments_have_the_time_zone(zone: str, hours: float) -> None:
    moment = began_by_comment(
        f"Recorded at 05:30:00 01/05/2024 ({zone}) by AudioMoth 24E144085F2569E4 at medium gain while battery was 4.2V"
    )
    assert moment is not None and moment.replace(tzinfo=None) == HALF_PAST_FIVE
    assert moment.utcoffset() == timedelta(hours=hours)


def test_milliseconds_of_a_comment() -> None:
    moment = began_by_comment("Recorded at 05:30:00.250 01/05/2024 (UTC) by AudioMoth")
    assert moment == (HALF_PAST_FIVE + timedelta(milliseconds=250)).replace(tzinfo=UTC)
    assert began_by_comment("A walk in the wood") is None


def with_comment(path: Path, comment: str) -> Path:
    """A recording whose header has a comment before the sound, as an AudioMoth writes it."""
    text = comment.encode() + b"\0" * (2 - len(comment) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text
    sound = np.zeros(1600, "<i2").tobytes()
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVE" + form + b"LIST" + struct.pack("<I", len(info)) + info
    body += b"data" + struct.pack("<I", len(sound)) + sound
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def test_the_comment_of_a_file_comes_before_its_name(tmp_path: Path) -> None:
    comment = "Recorded at 05:30:00 01/05/2024 (UTC+2) by AudioMoth 24E144085F2569E4"
    path = with_comment(tmp_path / "20230101_000000.WAV", comment)
    assert began(path) == HALF_PAST_FIVE.replace(tzinfo=timezone(timedelta(hours=2)))
    soundfile.write(tmp_path / "20240501_053000.wav", np.zeros(10), 16_000)
    assert began(tmp_path / "20240501_053000.wav") == HALF_PAST_FIVE


def test_files_that_cannot_be_read_have_their_name(tmp_path: Path) -> None:
    (tmp_path / "20240501_053000.wav").write_text("no recording")
    assert began(tmp_path / "20240501_053000.wav") == HALF_PAST_FIVE
    assert began(tmp_path / "missing.wav") is None
