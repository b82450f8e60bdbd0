"""Near-duplicates are found through coding, resampling, gain and padding, and different sounds are kept apart."""

import io

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE, load_audio
from sonopsis.data.fingerprint import BANDS, INSTANTS, THRESHOLD, fingerprint, similar_pairs

Floats = NDArray[np.float32]


def bell(rng: np.random.Generator, seconds: float = 1.0) -> Floats:
    """A struck thing: decaying partials over a burst of noise."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = rng.uniform(150, 4000, 6)
    rates = rng.uniform(2, 12, 6)
    tone = sum(np.sin(2 * np.pi * f * t) * np.exp(-r * t) for f, r in zip(partials, rates, strict=True))
    noise = rng.standard_normal(len(t)) * np.exp(-30 * t)
    return (0.1 * (tone + noise)).astype(np.float32)


def voice(rng: np.random.Generator, seconds: float = 1.2) -> Floats:
    """Something like syllables: a gliding harmonic sound, broken by pauses, over a little noise."""
    n = int(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    pitch = rng.uniform(100, 240) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    tone = sum(rng.uniform(0.1, 1) * np.sin(k * phase) for k in range(1, 16))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(1.5, 4) * t + rng.uniform(0, 6)), 0, 1)
    return (0.05 * tone * syllables + 1e-4 * rng.standard_normal(n)).astype(np.float32)


def recoded(samples: Floats, rate: int, format: str, subtype: str) -> Floats:
    stream = io.BytesIO()
    soundfile.write(stream, soxr.resample(samples, SAMPLE_RATE, rate), rate, format=format, subtype=subtype)
    stream.seek(0)
    return load_audio(stream)


ALTERATIONS = {
    "louder": lambda x: 3 * x,
    "quieter": lambda x: 0.1 * x,
    "padded": lambda x: np.concatenate([np.zeros(3000, np.float32), x, np.zeros(9000, np.float32)]),
    "ogg": lambda x: recoded(x, 16_000, "OGG", "VORBIS"),
    "ogg at 44.1 kHz": lambda x: recoded(x, 44_100, "OGG", "VORBIS"),
    "mp3": lambda x: recoded(x, 16_000, "MP3", "MPEG_LAYER_III"),
    "at 22.05 kHz": lambda x: recoded(x, 22_050, "WAV", "PCM_16"),
    "at 11.025 kHz": lambda x: recoded(x, 11_025, "WAV", "PCM_16"),
    "quieter, 22.05 kHz, ogg": lambda x: recoded(0.3 * x, 22_050, "OGG", "VORBIS"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_the_same_recording_is_found(name: str) -> None:
    rng = np.random.default_rng(7)
    originals = [make(rng) for make in (bell, voice) for _ in range(6)]
    altered = [ALTERATIONS[name](samples) for samples in originals]
    pairs = {(i, j) for i, j, _ in similar_pairs([fingerprint(x) for x in [*originals, *altered]])}
    assert pairs == {(i, i + len(originals)) for i in range(len(originals))}


def test_different_sounds_are_kept_apart() -> None:
    rng = np.random.default_rng(11)
    prints = [fingerprint(make(rng)) for make in (bell, voice) for _ in range(60)]
    assert list(similar_pairs(prints)) == []


def test_pairs_equal_those_of_all_against_all() -> None:
    """The windows over sorted durations lose no pair that a plain double loop finds."""
    rng = np.random.default_rng(3)
    base = [bell(rng, seconds) for seconds in rng.uniform(0.3, 2.0, 12)]
    sounds = [*base, *(0.5 * x for x in base), *(np.concatenate([x, x]) for x in base)]
    prints = [fingerprint(x) for x in sounds]
    known = [p for p in prints if p is not None]
    assert len(known) == len(sounds)
    loop = set()
    for i, one in enumerate(known):
        for j, other in enumerate(known[i + 1 :], start=i + 1):
            short, long = sorted((one.duration, other.duration))
            if short >= 0.97 * long and float(one.vector @ other.vector) >= THRESHOLD:
                loop.add((i, j))
    assert {(i, j) for i, j, _ in similar_pairs(prints)} >= loop >= {(i, i + 12) for i in range(12)}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0.01, 5.0), silence=st.integers(0, 5000))
def test_gain_and_silence_do_not_matter(seed: int, gain: float, silence: int) -> None:
    samples = bell(np.random.default_rng(seed), 0.5)
    padded = np.concatenate([np.zeros(silence, np.float32), np.float32(gain) * samples])
    one, other = fingerprint(samples), fingerprint(padded)
    assert one is not None and other is not None
    assert one.vector.shape == (BANDS * INSTANTS,)
    assert float(one.vector @ other.vector) > THRESHOLD
    assert abs(one.duration - other.duration) <= 0.016


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(8000), np.full(50, 1e-9)])
def test_silence_has_no_print(samples: NDArray[np.float64]) -> None:
    assert fingerprint(samples.astype(np.float32)) is None
    assert list(similar_pairs([None, None])) == []
