"""Recordings whose writer stopped before it said how long they are."""

import io
import logging
import struct

import numpy as np
import pytest
import soundfile

from sonopsis.audio import AudioError, load_audio, probe
from sonopsis.audio.cut_off import LARGEST_RIFF, wav_pieces

SAMPLES = (0.1 * np.random.default_rng(0).standard_normal(200_000)).astype(np.float32)


def coded(format: str, subtype: str) -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 16_000, format=format, subtype=subtype)
    return bytearray(file.getvalue())


def sized(wav: bytearray, size: int, riff: int = 0) -> bytes:
    """A WAV file with other sizes of its samples and of itself."""
    at = wav.index(b"data") + 4
    wav[at : at + 4], wav[4:8] = struct.pack("<I", size), struct.pack("<I", riff)
    return bytes(wav)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_without_its_size_is_read_to_its_end(subtype: str, size: int) -> None:
    whole = coded("WAV", subtype)
    expected = load_audio(io.BytesIO(bytes(whole)))
    heard = load_audio(io.BytesIO(sized(whole, size)))
    np.testing.assert_array_equal(heard[: len(expected)], expected)
    assert abs(len(heard) - len(expected)) < 1_024  # a block of ADPCM may be padded


def test_a_size_that_is_too_small_is_put_right_and_said(caplog: pytest.LogCaptureFixture) -> None:
    whole = coded("WAV", "PCM_16")
    file = io.BytesIO(sized(whole, 32_000, riff=len(whole) - 8))
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(file)) == 200_000
    assert "its header says 1.00 s of sound, and the file holds 12.50 s" in caplog.text
    assert probe(file).duration == 12.5


def test_what_follows_the_samples_is_no_sound(caplog: pytest.LogCaptureFixture) -> None:
    whole = bytes(coded("WAV", "PCM_16"))
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        for tail in (b"LIST" + struct.pack("<I", 6) + b"abcdef", bytes(9_000), b"id3 \x02\0\0\0ab"):
            assert len(load_audio(io.BytesIO(whole + tail))) == 200_000
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(whole + b"\1\2\3\4" * 99))) == 200_000
    assert "396 bytes behind it are no sound" in caplog.text


def test_a_wav_that_ends_early_is_said(caplog: pytest.LogCaptureFixture) -> None:
    whole = bytes(coded("WAV", "PCM_16"))
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(whole[:-80_000]))) == 160_000
    assert "its header says 12.50 s, and the file ends after 10.00 s" in caplog.text


def test_an_empty_wav_is_still_empty() -> None:
    whole = coded("WAV", "PCM_16")
    header = sized(whole, 0, riff=36)[: whole.index(b"data") + 8]
    for content in (header, header + b"LIST" + struct.pack("<I", 4) + b"abcd"):
        with pytest.raises(AudioError, match="holds no audio"):
            load_audio(io.BytesIO(content))


# Format, its size field: the bytes before it, its layout, and what it counts beside the samples.
SIZES = [("AU", b".snd\0\0\0\x18", ">I", 0), ("AIFF", b"SSND", ">I", 8), ("CAF", b"data", ">Q", 4)]
SIZES += [("W64", b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a"), "<Q", 24)]


def with_size(format: str, before: bytes, layout: str, size: int, subtype: str = "PCM_16") -> bytes:
    content = coded(format, subtype)
    at = content.index(before) + len(before)
    content[at : at + struct.calcsize(layout)] = struct.pack(layout, size)
    return bytes(content)


@pytest.mark.parametrize(("format", "before", "layout", "more"), SIZES, ids=[kind[0] for kind in SIZES])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "ULAW"])
def test_other_formats_without_a_size_are_read_to_their_end_and_it_is_said(
    format: str, before: bytes, layout: str, more: int, subtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    if subtype not in soundfile.available_subtypes(format):
        pytest.skip(f"{format} has no {subtype}")
    expected = load_audio(io.BytesIO(bytes(coded(format, subtype))))
    empty, unknown = "its header says 0.00 s of sound, and the file holds", "does not say how long it is"
    for size, note in ((0, empty), (more, empty), ((1 << 8 * struct.calcsize(layout)) - 1, unknown)):
        caplog.clear()
        file = io.BytesIO(with_size(format, before, layout, size, subtype))
        with caplog.at_level(logging.WARNING, "sonopsis.audio"):
            heard = load_audio(file)
        assert len(heard) == len(expected)
        np.testing.assert_array_equal(heard, expected)
        assert len(caplog.messages) == 1 and note in caplog.text
        assert format == "AIFF" or note == unknown or subtype == "ULAW" or "holds 12.50 s" in caplog.text
        assert (probe(file).duration, probe(file).format) == (12.5, format)


@pytest.mark.parametrize("format", [kind[0] for kind in SIZES])
def test_other_formats_that_end_early_are_said_and_whole_ones_are_not(
    format: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = bytes(coded(format, "PCM_16"))
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(whole))) == 200_000
        assert caplog.messages == []
        for missing in (80_000, 80_001):
            assert len(load_audio(io.BytesIO(whole[:-missing]))) == 200_000 - -(-missing // 2)
    assert caplog.text.count("its header says 12.50 s, and the file ends after 10.00 s; using those") == 2
    assert probe(io.BytesIO(whole[:-80_000])).format == format


@pytest.mark.parametrize("format", [kind[0] for kind in SIZES])
def test_other_formats_without_samples_hold_nothing(format: str) -> None:
    soundfile.write(file := io.BytesIO(), SAMPLES[:0], 16_000, format=format, subtype="PCM_16")
    empty = file.getvalue()
    name = b"MARK" + struct.pack(">I", 2) if format == "AIFF" else b"midi" + struct.pack(">Q", 2)
    for content in (empty, empty[:20], empty + name + bytes(2) if format in ("AIFF", "CAF") else empty):
        with pytest.raises(AudioError):
            load_audio(io.BytesIO(content))


class Vast(io.BytesIO):
    """A file that says it is longer than it is."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 5 << 30 if whence == 2 else super().seek(offset, whence)


def test_more_than_riff_can_count_becomes_rf64() -> None:
    content = sized(coded("WAV", "PCM_16"), 0xFFFFFFFF)
    (piece,) = wav_pieces(Vast(content), 5 << 30)
    assert piece.end - piece.start > LARGEST_RIFF
    assert piece.head[:4] == b"RF64"
    assert struct.unpack("<Q", piece.head[28:36])[0] == piece.end - piece.start
    assert content[piece.start - 8 : piece.start - 4] == b"data"


@pytest.mark.parametrize("missing", [0, 3_000])
def test_a_flac_without_a_total_is_read_as_far_as_it_goes(missing: int, caplog: pytest.LogCaptureFixture) -> None:
    flac = coded("FLAC", "PCM_16")
    expected = load_audio(io.BytesIO(bytes(flac)))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    file = io.BytesIO(bytes(flac[: len(flac) - missing]))
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        heard = load_audio(file)
    assert "does not say how long it is" in caplog.text
    assert len(heard) == 200_000 if not missing else 190_000 < len(heard) < 200_000
    np.testing.assert_array_equal(heard, expected[: len(heard)])
    assert probe(file).duration == len(heard) / 16_000
