"""Recordings in the less common containers and codecs that libsndfile reads, and in chunks that recorders add."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.audio import load_audio, probe

RATE = 8_000  # Hz; GSM 06.10 has no other
MIDDLE = slice(1_000, 15_000)  # of a second at 16 kHz, away from the edges, which resampling and coding smear

# Container, codec, suffix, and how near the samples are to those that were written.
CODED = [
    ("W64", "PCM_16", "w64", 1e-3),
    ("W64", "GSM610", "w64", 0.1),
    ("WAV", "GSM610", "wav", 0.1),
    ("RAW", "GSM610", "gsm", 0.1),
    ("AIFF", "PCM_16", "aiff", 1e-3),
    ("AIFF", "PCM_24", "aif", 1e-3),
    ("AIFF", "ULAW", "aifc", 0.05),
    ("CAF", "PCM_16", "caf", 1e-3),
    ("CAF", "FLOAT", "caf", 1e-3),
    ("CAF", "ALAC_16", "caf", 1e-3),
]


def tone(rate: int) -> np.ndarray:
    """A second of 440 Hz."""
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)


@pytest.mark.parametrize(("container", "codec", "suffix", "near"), CODED)
def test_a_container_is_read(tmp_path: Path, container: str, codec: str, suffix: str, near: float) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(RATE), RATE, subtype=codec, format=container)
    info, samples = probe(path), load_audio(path)
    assert (info.sample_rate, info.channels) == (RATE, 1)
    assert info.duration == pytest.approx(1.0, abs=0.041)  # GSM has whole blocks, of 40 ms in WAV
    np.testing.assert_allclose(samples[MIDDLE], tone(16_000)[MIDDLE], atol=near)


@pytest.mark.parametrize("place", ["before the format", "before the samples", "after the samples"])
@pytest.mark.parametrize("size", [601, 70_000])
def test_a_chunk_of_xmp_is_passed_over(tmp_path: Path, place: str, size: int) -> None:
    """Editors write XMP into the chunk `_PMX`; one of an odd size is followed by a byte more."""
    path = tmp_path / "edited.wav"
    soundfile.write(path, tone(16_000), 16_000, subtype="PCM_16")
    whole = path.read_bytes()
    text = b"<?xpacket?><x:xmpmeta>data fmt </x:xmpmeta>".ljust(size)
    chunk = b"_PMX" + struct.pack("<I", size) + text + bytes(size % 2)
    at = {"before the format": 12, "before the samples": whole.index(b"data"), "after the samples": len(whole)}[place]
    content = whole[:4] + struct.pack("<I", len(whole) - 8 + len(chunk)) + whole[8:at] + chunk + whole[at:]
    path.write_bytes(content)
    samples = load_audio(path)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[MIDDLE], tone(16_000)[MIDDLE], atol=1e-3)
