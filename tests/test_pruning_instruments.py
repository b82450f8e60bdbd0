"""The notes of the pruning study: fonts are apart, and so are the programs that choose."""

import struct
from pathlib import Path

import numpy as np
import pruning_instruments
import pytest
import soundfile
from pruning_instruments import COMPARED, FAMILIES, FONTS, IN_A_FAMILY, NOTES, PROGRAMS, alike, split_of

from sonopsis.audio import SAMPLE_RATE


def test_a_font_never_teaches_where_it_is_tested() -> None:
    for fold, tested in enumerate(FONTS):
        for font in FONTS:
            splits = [split_of(f"{font} {program}", fold) for program in range(PROGRAMS)]
            if font == tested:
                assert set(splits) == {"test"}
            else:
                assert set(splits) == {"train", "validation"}
                first = splits[:IN_A_FAMILY]
                assert splits == first * len(FAMILIES), "each family has as many programs that choose"


def test_programs_that_play_the_same_recording(tmp_path: Path) -> None:
    """A recording that begins later and is louder is the same; another noise is not; a note alone tells nothing."""
    noise, other = np.random.default_rng(0).standard_normal((2, 2 * SAMPLE_RATE)) * 0.1
    for name, note, samples in (
        ("one", COMPARED[1], noise),
        ("later", COMPARED[1], np.roll(noise, 400) * 2),
        ("other", COMPARED[1], other),
        ("alone", COMPARED[0], noise),
    ):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{note}.flac", samples, SAMPLE_RATE)
    assert alike(tmp_path / "one", tmp_path / "later")
    assert not alike(tmp_path / "one", tmp_path / "other")
    assert not alike(tmp_path / "one", tmp_path / "alone")


def font() -> bytes:
    """A sound font of one program, whose sample is a loop of one period of a sine of 441 Hz."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    period = (12000 * np.sin(2 * np.pi * np.arange(100) / 100)).astype("<i2")
    samples = np.concatenate([np.tile(period, 20), np.zeros(46, "<i2")])
    header = struct.Struct("<20sHHHIII")
    headers = header.pack(b"sine", 0, 0, 0, 0, 0, 0) + header.pack(b"EOP", 0, 0, 1, 0, 0, 0)
    sample = struct.Struct("<20s5IBbHH")
    lists = {
        b"phdr": headers,
        b"pbag": struct.pack("<4H", 0, 0, 1, 0),
        b"pmod": b"\0" * 10,
        b"pgen": struct.pack("<HH", 41, 0) + b"\0" * 4,  # instrument 0
        b"inst": struct.pack("<20sH", b"sine", 0) + struct.pack("<20sH", b"EOI", 1),
        b"ibag": struct.pack("<4H", 0, 0, 2, 0),
        b"imod": b"\0" * 10,
        b"igen": struct.pack("<HHHH", 54, 1, 53, 0) + b"\0" * 4,  # looped, sample 0
        b"shdr": sample.pack(b"sine", 0, 2000, 100, 1900, 44100, 69, 0, 0, 1) + sample.pack(b"EOS", *[0] * 9),
    }
    info = chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)))
    data = chunk(b"LIST", b"sdta" + chunk(b"smpl", samples.tobytes()))
    articulation = chunk(b"LIST", b"pdta" + b"".join(chunk(name, content) for name, content in lists.items()))
    return chunk(b"RIFF", b"sfbk" + info + data + articulation)


def test_notes_are_rendered_at_their_pitch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIDI 69 is 440 Hz, and 48 is 21 semitones below: 130.8 Hz. Programs that the font lacks leave nothing."""
    pytest.importorskip("tinysoundfont", reason="make instruments installs it")
    monkeypatch.setattr(pruning_instruments, "font_file", lambda name, root: font())
    pruning_instruments.render("any", tmp_path, tmp_path / "instruments" / "any")
    samples, rate = soundfile.read(tmp_path / "instruments" / "any" / "00" / "48.flac")
    assert rate == SAMPLE_RATE and len(samples) == 2 * SAMPLE_RATE
    spectrum = np.abs(np.fft.rfft(samples[:SAMPLE_RATE]))  # bins of 1 Hz
    assert abs(int(spectrum.argmax()) - 131) <= 1
    assert len(list((tmp_path / "instruments" / "any").glob("00/*.flac"))) == len(NOTES)
