"""The readers of sample banks against banks built here, whole, cut short and with bytes changed."""

import io
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.sample_banks import read_pat, read_res, read_soundfont, read_wad

BYTES = np.arange(100, 150, dtype=np.uint8)
WORDS = np.arange(-3000, 3000, 100, dtype="<i2")
RIFF = b"RIFF\x04\0\0\0WAVE"


def make_wad(lumps: dict[str, bytes]) -> bytes:
    body, directory = b"", b""
    for name, content in lumps.items():
        directory += struct.pack("<II8s", 12 + len(body), len(content), name.encode())
        body += content
    return struct.pack("<4sII", b"IWAD", len(lumps), 12 + len(body)) + body + directory


def dmx(samples: np.ndarray, rate: int = 11025) -> bytes:
    padded = b"P" * 16 + samples.tobytes() + b"P" * 16
    return struct.pack("<HHI", 3, rate, len(padded)) + padded


def make_res(sounds: dict[str, bytes]) -> bytes:
    start = 2 + 13 * (len(sounds) + 1)
    index, body = b"", b""
    for name, content in [*sounds.items(), ("", b"")]:
        index += struct.pack("<9sI", name.encode(), start + len(body))
        body += content
    return struct.pack("<H", len(sounds)) + index + body


def chunk(name: bytes, content: bytes, pad: bool = True) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2 if pad else 0)


def make_soundfont(samples: bytes, headers: list[tuple[str, int, int, int, int]], pad: bool = True) -> bytes:
    """The headers are (name, start, end, rate, type)."""
    shdr = b"".join(
        struct.pack("<20sIIIIIBbHH", name.encode(), start, end, start, end, rate, 60, 0, 0, kind)
        for name, start, end, rate, kind in [*headers, ("EOS", 0, 0, 0, 0)]
    )
    lists = chunk(b"LIST", b"INFO" + chunk(b"ifil", b"\2\0\1\0"))
    lists += chunk(b"LIST", b"sdta" + chunk(b"smpl", samples, pad), pad)
    lists += chunk(b"LIST", b"pdta" + chunk(b"shdr", shdr))
    return b"RIFF" + struct.pack("<I", 4 + len(lists)) + b"sfbk" + lists


def make_pat(samples: list[tuple[bytes, int, int]]) -> bytes:
    """One layer; the samples are (values, rate, mode)."""
    head = b"GF1PATCH110\0ID#000002\0".ljust(129, b"\0") + b"\0\0demo".ljust(22, b"\0") + b"\1" + bytes(40)
    layer = struct.pack("<BBIB", 0, 0, 0, len(samples)) + bytes(40)
    body = b""
    for values, rate, mode in samples:
        header = b"note\0\0\0\0" + struct.pack("<IIIH", len(values), 0, len(values), rate)
        body += header.ljust(55, b"\0") + bytes([mode]) + bytes(40) + values
    return head + layer + body


WAD = make_wad({"MAP01": b"", "DSPISTOL": dmx(BYTES), "DPPISTOL": dmx(BYTES), "DSMUSIC": b"OggS1234"})
RES = make_res({"GONG": RIFF, "NOTE": b"text", "RAIN": RIFF + b"more"})
SF2 = make_soundfont(WORDS.tobytes(), [("Flute C5", 0, 20, 44100, 1), ("Flute C5", 20, 60, 22050, 1)])
SF3 = make_soundfont(b"OggS1OggS23", [("Harp/1", 0, 5, 44100, 0x11), ("..", 5, 11, 44100, 0x11)], pad=False)
PAT = make_pat([(BYTES.tobytes(), 8000, 2), (WORDS.tobytes(), 22050, 1)])
READERS: dict[str, tuple[bytes, Callable[[bytes], Iterator]]] = {
    "wad": (WAD, read_wad),
    "res": (RES, read_res),
    "sf2": (SF2, read_soundfont),
    "sf3": (SF3, read_soundfont),
    "pat": (PAT, read_pat),
}


def heard(wav: bytes) -> tuple[list[int], int]:
    """The values of a WAV file, 8 bits from -128, and its rate."""
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    wide = soundfile.info(io.BytesIO(wav)).subtype == "PCM_16"
    return (samples if wide else samples >> 8).tolist(), rate


def test_wad_sounds_without_their_padding() -> None:
    ((name, wav),) = read_wad(WAD)
    assert name == "DSPISTOL"
    assert heard(wav) == ((BYTES.astype(int) - 128).tolist(), 11025)


def test_res_gives_riff_files_only() -> None:
    assert dict(read_res(RES)) == {"GONG": RIFF, "RAIN": RIFF + b"more"}


def test_soundfont_of_16_bits() -> None:
    (one, _, first), (other, suffix, second) = read_soundfont(SF2)
    assert (one, other, suffix) == ("Flute_C5", "Flute_C5_2", ".wav")  # names do not hide each other
    assert heard(first) == (WORDS[:20].tolist(), 44100)
    assert heard(second) == (WORDS[20:].tolist(), 22050)


def test_soundfont_of_ogg_files_without_padding() -> None:
    assert list(read_soundfont(SF3)) == [("Harp_1", ".ogg", b"OggS1"), ("sample", ".ogg", b"OggS23")]


def test_samples_in_the_memory_of_a_sound_card_are_skipped() -> None:
    assert list(read_soundfont(make_soundfont(b"\0" * 8, [("a", 0, 2, 44100, 0x8001)]))) == []


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_patch_of_every_mode(mode: int) -> None:
    values = WORDS if mode & 1 else (BYTES.astype(int) - 128).astype(np.int8)
    top = 1 << (15 if mode & 1 else 7)
    stored = (values.astype(int) + top).astype("<u2" if mode & 1 else np.uint8) if mode & 2 else values
    (wav,) = read_pat(make_pat([(stored.tobytes(), 22050, mode)]))
    assert heard(wav) == (values.tolist(), 22050)


def test_patch_of_several_samples() -> None:
    assert [heard(wav)[1] for wav in read_pat(PAT)] == [8000, 22050]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("data", [b"", b"RIFF", b"\1", bytes(400)])
def test_other_files_are_refused(kind: str, data: bytes) -> None:
    if kind == "res" and data == bytes(400):
        assert list(read_res(data)) == []  # a resource file of no entries
        return
    with pytest.raises(DataError):
        list(READERS[kind][1](data))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(READERS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=4),
    length=st.integers(0, 600),
)
def test_whatever_is_changed_it_is_samples_or_a_data_error(
    kind: str, changes: list[tuple[int, bytes]], length: int
) -> None:
    whole, read = READERS[kind]
    data = bytearray(whole)
    for at, piece in changes:
        data[at : at + len(piece)] = piece
    try:
        sounds = list(read(bytes(data[:length])))
    except DataError:
        return
    assert sum(len(sound[-1] if isinstance(sound, tuple) else sound) for sound in sounds) <= 8 * len(data) + 4096


def test_samples_that_all_claim_the_whole_bank_are_refused() -> None:
    many = [("a", 0, 5_000, 44100, 1)] * 2_000
    with pytest.raises(DataError, match="longer than it"):
        list(read_soundfont(make_soundfont(bytes(10_000), many)))


def test_lists_within_lists_take_no_depth() -> None:
    deep = b"RIFF\0\0\0\0sfbk" + struct.pack("<4sI4s", b"LIST", 1 << 30, b"deep") * 20_000
    with pytest.raises(DataError, match="no samples"):
        list(read_soundfont(deep))


def test_a_rate_that_no_file_can_have() -> None:
    with pytest.raises(DataError, match="Hz"):
        list(read_soundfont(make_soundfont(bytes(8), [("a", 0, 2, 0xFFFFFFFF, 1)])))
