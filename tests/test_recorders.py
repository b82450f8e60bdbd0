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


def with_chunks(path: Path, *chunks: tuple[bytes, bytes], large: bool = False) -> Path:
    """A recording with these chunks behind its sound; `large` gives it the header of RF64."""
    sound = np.zeros(1601, np.uint8).tobytes()
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 16_000, 1, 8)
    data = b"data" + struct.pack("<I", 0xFFFF_FFFF if large else len(sound)) + sound + b"\0"
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 0, len(sound), len(sound), 0) if large else b""
    body = b"WAVE" + sizes + form + data
    for name, content in chunks:
        body += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    path.write_bytes((b"RF64" if large else b"RIFF") + struct.pack("<I", len(body)) + body)
    return path


def field(number: int, content: bytes) -> bytes:
    return struct.pack("<HI", number, len(content)) + content


ZONED = HALF_PAST_FIVE.replace(tzinfo=timezone(timedelta(hours=2)))
GUANO = b"GUANO|Version: 1.0\nNote: a walk\nTimestamp: %s\nMake: Anybody\n"


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        (b"2024-05-01T05:30:00+02:00", ZONED),
        (b"2024-05-01T03:30:00Z", ZONED),
        (b"2024-05-01 05:30:00", HALF_PAST_FIVE),
        (b"2024-05-01T05:30:00.250", HALF_PAST_FIVE + timedelta(milliseconds=250)),
        (b"2024-05-01 05:30:00 -03:30", HALF_PAST_FIVE.replace(tzinfo=timezone(timedelta(hours=-3.5)))),
        (b"yesterday", None),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_chunks_have_time_and_zone(tmp_path: Path, time: bytes, moment: datetime | None, large: bool) -> None:
    wamd = field(0, b"\1\0") + field(1, b"SM4") + field(5, time) + field(0xFFFF, b"\0\0")
    for name, content in ((b"guan", GUANO % time), (b"wamd", wamd)):
        path = with_chunks(tmp_path / "meadow.wav", (b"JUNK", b"abc"), (name, content), large=large)
        found = began(path)
        assert found == moment
        assert (found and found.utcoffset()) == (moment and moment.utcoffset()) or time.endswith(b"Z")
    assert soundfile.read(path)[0].shape == (1601,)


def test_guano_holds_before_wamd_and_both_before_the_name(tmp_path: Path) -> None:
    wamd = (b"wamd", field(5, b"2024-05-01 05:30:00+02:00"))
    guano = (b"guan", GUANO % b"2024-05-02T05:30:00")
    assert began(with_chunks(tmp_path / "20230101_000000.wav", wamd)) == ZONED
    both = with_chunks(tmp_path / "20230101_000000.wav", wamd, guano)
    assert began(both) == HALF_PAST_FIVE + timedelta(days=1)
    without = with_chunks(tmp_path / "20240501_053000.wav", (b"guan", b"GUANO|Version: 1.0\nNote: none\n"))
    assert began(without) == HALF_PAST_FIVE


@pytest.mark.parametrize("kept", [8, 13, 20, 30])
def test_chunks_that_are_cut_off_or_lie_are_not_read(tmp_path: Path, kept: int) -> None:
    path = with_chunks(tmp_path / "20240501_053000.wav", (b"wamd", field(5, b"2020-01-01 00:00:00")))
    path.write_bytes(path.read_bytes()[: -(26 + 8) + kept])
    assert began(path) == HALF_PAST_FIVE
    lying = with_chunks(tmp_path / "20240501_053000.wav", (b"wamd", struct.pack("<HI", 3, 1 << 31) + b"2020-01-01"))
    assert began(lying) == HALF_PAST_FIVE
