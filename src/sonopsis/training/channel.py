"""What lies between a sound and its recording: a device with a response of its own, a coder, a level.

NumPy and soxr only: this runs in data workers. `change_recording` is applied to a whole example, after its clips are
mixed, because one device hears all of them.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.training.config import DataConfig

Samples = NDArray[np.float32]

TAPS = 512  # of a device's response
RESPONSE_DB = 6.0  # how uneven a device is between its cuts, in either direction
LOW_CUT, HIGH_CUT = (40.0, 600.0), (2500.0, 9000.0)  # Hz, between which the cuts are drawn
DEEPEST_DB = -60.0  # of a response
RATES = (16_000, 11_025, 8_000)  # of old and of telephone recordings; the first leaves the samples as they are
FRAME = 512  # samples of a frame of the transform coder


def change_recording(samples: Samples, config: DataConfig, rng: np.random.Generator) -> Samples:
    """An example (S,) as another device, coder and level would have it; all off: the samples themselves."""
    if config.device and rng.random() < config.device:
        samples = through_device(samples, rng)
    if config.codec and rng.random() < config.codec:
        samples = low_quality(samples, rng)
    if config.quieter_db:
        samples = samples * np.float32(10 ** (-rng.uniform(0, config.quieter_db) / 20))
    return samples


def through_device(samples: Samples, rng: np.random.Generator) -> Samples:
    """Samples (S,) filtered by a random response, without delay and of the same length."""
    taps = minimum_phase(response_db(rng))
    size = 1 << (len(samples) + TAPS - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(taps, size), size)
    return heard[: len(samples)].astype(np.float32)


def response_db(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random gain curve (TAPS + 1,) in dB from 0 Hz to half the sampling rate; its highest point is 0 dB.

    A low cut, a high cut, each of random steepness, and a smooth curve over the logarithm of frequency between them.
    """
    hertz = np.maximum(np.fft.rfftfreq(2 * TAPS, 1 / SAMPLE_RATE), 10.0)
    octaves = np.log2(hertz)
    knots = rng.uniform(-RESPONSE_DB, RESPONSE_DB, size=7)
    curve = np.interp(octaves, np.linspace(octaves[0], octaves[-1], 7), knots)
    low, high = (2 ** rng.uniform(*np.log2(cut)) for cut in (LOW_CUT, HIGH_CUT))
    low_order, high_order = rng.integers(1, 5), rng.integers(2, 7)
    curve -= 10 * np.log10(1 + (low / hertz) ** (2 * low_order))  # Butterworth
    curve -= 10 * np.log10(1 + (hertz / high) ** (2 * high_order))
    return np.maximum(curve - curve.max(), DEEPEST_DB)


def minimum_phase(gain_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """The causal filter (TAPS,) of a gain curve (TAPS + 1,) in dB whose energy comes earliest.

    From the folded cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing, section 13.4): a filter that is
    symmetric in time would sound before the event does.
    """
    cepstrum = np.fft.irfft(gain_db * np.log(10) / 20)  # (2 * TAPS,)
    cepstrum[1:TAPS] *= 2
    cepstrum[TAPS + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:TAPS]


def low_quality(samples: Samples, rng: np.random.Generator) -> Samples:
    """Samples (S,) at a lower rate, in eight bits (linear or mu-law) or with few frequencies, or some of these."""
    rate = RATES[rng.integers(len(RATES))]
    if rate != SAMPLE_RATE:
        low = soxr.resample(samples, SAMPLE_RATE, rate, quality="MQ")
        samples = _of_length(soxr.resample(low, rate, SAMPLE_RATE, quality="MQ"), len(samples))
    coder = rng.integers(3 if rate == SAMPLE_RATE else 4)  # the last: none
    if coder == 0:
        return in_eight_bits(samples)
    if coder == 1:
        return in_eight_bits(samples, mu_law=True)
    return fewer_frequencies(samples, rng.uniform(0.5, 0.9)) if coder == 2 else samples


def in_eight_bits(samples: Samples, *, mu_law: bool = False) -> Samples:
    """Samples (S,) rounded to 8 bits of their own peak, as such recordings are loud; mu-law (G.711) has finer steps
    where it is quiet."""
    peak = float(np.abs(samples).max())
    if not peak:
        return samples
    scaled = samples / peak
    if mu_law:
        scaled = np.sign(scaled) * np.log1p(255 * np.abs(scaled)) / np.log(256)
    scaled = np.round(scaled * 127) / 127
    if mu_law:
        scaled = np.sign(scaled) * np.expm1(np.abs(scaled) * np.log(256)) / 255
    return (scaled * peak).astype(np.float32)


def fewer_frequencies(samples: Samples, dropped: float) -> Samples:
    """Samples (S,) of which each frame keeps its strongest frequencies, as coders of a low bit rate do.

    `dropped` is the share of frequencies left out of a frame of 32 ms.
    """
    half = FRAME // 2
    count = -(-len(samples) // half) + 1  # frames, each half over the next
    padded = np.zeros((count + 1) * half, np.float32)
    padded[half : half + len(samples)] = samples
    window = np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME)  # its square and that of the next frame add up to 1
    frames = np.concatenate([padded[:-half].reshape(count, half), padded[half:].reshape(count, half)], axis=1)
    spectrum = np.fft.rfft(frames * window)  # (frames, FRAME / 2 + 1)
    strength = np.abs(spectrum)
    spectrum[strength < np.quantile(strength, dropped, axis=1, keepdims=True)] = 0
    frames = np.fft.irfft(spectrum) * window
    whole = np.zeros_like(padded)
    whole[:-half] += frames[:, :half].reshape(-1)
    whole[half:] += frames[:, half:].reshape(-1)
    return whole[half : half + len(samples)]


def _of_length(samples: Samples, length: int) -> Samples:
    """Samples (S,) cut or padded with zeros to (length,)."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
