"""How loud a sound is heard, and mixing two sounds at a ratio of it (between-class learning, arXiv 1711.10282).

There, two clips of different classes are mixed at a random ratio r of what is heard, and the targets are r and 1 - r of
a softmax. Our labels have a binary cross-entropy each: the question is whether a label is heard, and the louder sound
surely is. So the ratios are divided by the greater one: the louder clip's labels have the target 1, and those of the
quieter one its loudness as a share of the louder one's, by Stevens' power law.
"""

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE

FRAME = 1600  # samples over which a level is measured: 100 ms
STEVENS = 0.6  # loudness grows with this power of the sound pressure (J. Acoust. Soc. Am. 27, 815, 1955)
SILENT_DB = -120.0


def heard_level_db(samples: NDArray[np.float32]) -> float:
    """The level of the loudest 100 ms of samples (S,) in dB, frequencies weighted as the ear does (IEC 61672, A)."""
    count = max(1, len(samples) // (FRAME // 2) - 1)
    padded = np.pad(samples, (0, max(0, (count + 1) * (FRAME // 2) - len(samples))))
    halves = padded[: (count + 1) * (FRAME // 2)].reshape(count + 1, -1)
    frames = np.concatenate([halves[:-1], halves[1:]], axis=1) * np.hanning(FRAME)
    power = (np.abs(np.fft.rfft(frames)) ** 2 * _a_weights()).sum(axis=1) / FRAME**2
    return max(SILENT_DB, float(10 * np.log10(power.max() + 1e-20)))


def quieter_gain(louder_db: float, clip_db: float, share: float) -> tuple[float, float]:
    """The gain that makes a clip heard as `share` of a mixture (0 to 1/2), and the target of its labels.

    Levels are those of `heard_level_db`, of the louder sound as it is in the mixture and of the clip before its gain.
    """
    ratio = share / (1 - share)  # of sound pressures
    return float(ratio * 10 ** ((louder_db - clip_db) / 20)), float(ratio**STEVENS)


def _a_weights() -> NDArray[np.float64]:
    """Gains of power (FRAME / 2 + 1,) of the A curve; 1 at 1 kHz."""
    squares = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE) ** 2
    gains = 12194.0**2 * squares**2 / (
        (squares + 20.6**2)
        * np.sqrt((squares + 107.7**2) * (squares + 737.9**2))
        * (squares + 12194.0**2)
    )  # fmt: skip
    weights: NDArray[np.float64] = (gains * 10 ** (2.0 / 20)) ** 2
    return weights
