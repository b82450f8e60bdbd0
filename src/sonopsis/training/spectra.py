"""Changes to log-Mel spectrograms that imitate other devices: filters by band, and styles exchanged in a batch.

NumPy only: this runs in data workers.
"""

import numpy as np
from numpy.typing import NDArray

NARROWEST = 6  # Mel bins of a band
BANDS = (3, 6)  # number of bands, the last left out
MIXSTYLE_ALPHA = 0.3  # of the beta distribution: mixtures are mostly of one style, seldom half and half


def filter_bands(mel: NDArray[np.float32], gain: float, rng: np.random.Generator) -> None:
    """FilterAugment (arXiv 2110.03282) of a log-Mel (T, M), in place: a random gain in each of 3 to 5 random bands.

    `gain` is the greatest one, in the units of `mel`. Gains are steps or, as often, join in straight lines.
    """
    bins = mel.shape[1]
    bands = int(rng.integers(*BANDS))
    inner = np.sort(rng.integers(0, bins - bands * NARROWEST + 1, bands - 1)) + NARROWEST * np.arange(1, bands)
    edges = np.concatenate([[0], inner, [bins]])
    if rng.random() < 0.5:
        curve = np.repeat(rng.uniform(-gain, gain, bands), np.diff(edges))
    else:
        curve = np.interp(np.arange(bins), edges, rng.uniform(-gain, gain, bands + 1))
    mel += curve.astype(np.float32)


def mix_styles(mels: NDArray[np.float32], share: float, rng: np.random.Generator) -> None:
    """Freq-MixStyle (arXiv 2305.07499) of a batch (B, T, M), in place, on a `share` of its examples.

    The mean and the deviation of each frequency over time, which tell the device more than the event, become a mixture
    of the example's own and those of another one of the batch. Labels stay.
    """
    mean = mels.mean(axis=1, keepdims=True)  # (B, 1, M)
    deviation = mels.std(axis=1, keepdims=True) + np.float32(1e-3)
    own = rng.beta(MIXSTYLE_ALPHA, MIXSTYLE_ALPHA, size=(len(mels), 1, 1)).astype(np.float32)
    other = rng.permutation(len(mels))
    chosen = rng.random(len(mels)) < share
    plain = (mels - mean) / deviation
    mixed = plain * (own * deviation + (1 - own) * deviation[other]) + own * mean + (1 - own) * mean[other]
    mels[chosen] = mixed[chosen]
