"""Waveform -> Whisper's log-Mel (T, M): the front end of OpenAI's speech recogniser, in NumPy.

    samples (S,) -> reflected at the start, zeros at the end -> frames (T, 400) -> Hann -> FFT 400 -> power
    -> 80 or 128 Mel bands (Slaney) -> log, at most 80 dB below the clip's loudest band

Whisper fills every clip with zeros up to 30 s. Here a clip has only its own frames; their values are the same, because
zeros are never louder than the clip. The numbers are natural logarithms of energies, as in mel.py: Whisper's own
(log10(energy) + 4) / 4 is the normalisation with MEAN and STD below.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE

FRAME, SHIFT = 400, 160  # samples: 25 ms, 10 ms
LONGEST = 3000  # frames, 30 s
MEAN, STD = -4 * math.log(10), 2 * math.log(10)  # (x - MEAN) / (2 * STD) == (x / log(10) + 4) / 4
RANGE = 8 * math.log(10)  # what lies further below the loudest band is raised to this: 80 dB
FLOOR = 1e-10  # energy under which the logarithm is not taken
LINEAR_UP_TO = 1000.0  # Hz; the Mel scale of Slaney's Auditory Toolbox is linear below, logarithmic above
MELS_PER_HERTZ = 3 / 200
LOG_STEP = math.log(6.4) / 27
BLOCK = 64  # frames transformed at once


def whisper_log_mel(
    samples: NDArray[np.floating], frames: int, mels: int = 80, *, whole: bool = True
) -> NDArray[np.float32]:
    """Samples (S,) in [-1, 1] at 16 kHz -> natural-log Mel energies (frames, mels) float32.

    A clip shorter than `frames` * 160 samples is followed by zeros, a longer one is cut. The floor is set by the
    loudest band of what is kept. The end is reflected where this is the `whole` input of a model; otherwise zeros
    follow, with which Whisper would fill its input. `samples` must hold at least one number and `frames` be at least 2.
    """
    size = frames * SHIFT
    signal = np.asarray(samples[:size], np.float64)
    signal = np.pad(signal, (0, size - len(signal)))
    end = signal[-2 : -FRAME // 2 - 2 : -1] if whole else np.zeros(FRAME // 2)
    padded = np.concatenate([signal[FRAME // 2 : 0 : -1], signal, end])
    windows = sliding_window_view(padded, FRAME)[::SHIFT][:frames]  # (T, 400)
    hann = np.hanning(FRAME + 1)[:-1]  # periodic
    filters = whisper_filters(mels)  # (201, M)
    energy = np.empty((frames, mels))
    for first in range(0, frames, BLOCK):
        spectrum = np.fft.rfft(windows[first : first + BLOCK] * hann)  # (t, 201)
        energy[first : first + BLOCK] = (spectrum.real**2 + spectrum.imag**2) @ filters
    logarithm = np.log(np.maximum(energy, FLOOR))  # (T, M)
    return np.maximum(logarithm, logarithm.max() - RANGE).astype(np.float32)


@lru_cache(maxsize=2)
def whisper_filters(mels: int) -> NDArray[np.float64]:
    """Triangular filters (201, mels) on Slaney's Mel scale from 0 Hz to 8 kHz, each of area 1 per Hz."""
    edges = _hertz(np.linspace(0, _mel(SAMPLE_RATE / 2), mels + 2))  # (M + 2,)
    bins = np.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1)[:, None]  # (201, 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)  # (201, M)


def _mel(hertz: float) -> float:
    if hertz < LINEAR_UP_TO:
        return hertz * MELS_PER_HERTZ
    return LINEAR_UP_TO * MELS_PER_HERTZ + math.log(hertz / LINEAR_UP_TO) / LOG_STEP


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = LINEAR_UP_TO * MELS_PER_HERTZ
    return np.where(mel < knee, mel / MELS_PER_HERTZ, LINEAR_UP_TO * np.exp(LOG_STEP * (mel - knee)))
