"""Waveform -> Kaldi log-Mel (T, 128) -> padded or cut, normalised: what AST, AudioMAE, EAT and our own models see.

    samples (S,) -> frames (T, 400) -> DC removal, pre-emphasis, Hann -> FFT 512 -> power -> 128 Mel bands -> log

NumPy only, so that it also runs in data workers and without torch. Front end of arXiv 2504.01690, section 4.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.whisper_mel import LONGEST, MEAN, STD, whisper_log_mel

MELS = 128
FRAME = 400  # samples in a frame, 25 ms
SHIFT = 160  # samples between frames, 10 ms
FRAME_SHIFT = SHIFT / SAMPLE_RATE  # seconds
FRAME_RATE = SAMPLE_RATE // SHIFT  # frames a second: 100
FFT = 512
LOWEST, HIGHEST = 20.0, SAMPLE_RATE / 2  # Hz, the outer edges of the Mel bands
PRE_EMPHASIS = 0.97
WINDOW = np.hanning(FRAME)  # symmetric: both ends are 0
LOUDEST = 1e9  # a peak far beyond integers that were never scaled; energies of such samples overflow
FLOOR = float(np.finfo(np.float32).eps)  # energy under which the logarithm is not taken
BLOCK = 64  # frames transformed at once; more fall out of the cache, which makes the FFT three times slower


@dataclass(frozen=True)
class MelConfig:
    """`preprocessor_config.json`: how a checkpoint wants its log-Mel.

    Raises ValueError for values no front end can have.
    """

    frames: int = 1024  # the model's input length
    mean: float = -4.2677393  # of the training set; AudioSet's by default
    std: float = 4.5689974  # normalised values are (x - mean) / (2 * std)
    padding: str = "zero"  # log-Mel value after the end: "zero", or "clip_min", the clip's own minimum
    subtract_mean: bool = True  # remove the waveform's mean first
    multiple: int | None = None  # pad only to the next multiple of this many frames; None: always to `frames`
    kind: str = "kaldi"  # how the log-Mel is computed: "kaldi" (this module) or "whisper" (whisper_mel.py)
    mels: int = MELS  # Mel bands; 80 or 128 of kind "whisper"

    def __post_init__(self) -> None:
        if self.padding not in ("zero", "clip_min"):
            raise ValueError(f"padding must be 'zero' or 'clip_min', not {self.padding!r}")
        if self.frames < 1 or not self.std > 0:
            raise ValueError(f"frames and std must be positive, not {self.frames} and {self.std}")
        if self.multiple is not None and not 1 <= self.multiple <= self.frames:
            raise ValueError(f"multiple must be None or from 1 to {self.frames} (frames), not {self.multiple}")
        bands = {"kaldi": (MELS,), "whisper": (80, 128)}.get(self.kind)
        if bands is None:
            raise ValueError(f"kind must be 'kaldi' or 'whisper', not {self.kind!r}")
        if self.mels not in bands:
            raise ValueError(f"mels of kind {self.kind!r} must be one of {bands}, not {self.mels}")

    @property
    def beyond(self) -> int:
        """Samples behind the end of a window that its last frames reach into."""
        return FRAME - SHIFT if self.kind == "kaldi" else 0

    def length(self, samples: int) -> int:
        """Frames of the input that a clip of so many samples is made into."""
        if self.multiple is None:
            return self.frames
        own = -(-samples // SHIFT) if self.kind == "whisper" else 1 + (max(samples, FRAME) - FRAME) // SHIFT
        return min(self.frames, -(-own // self.multiple) * self.multiple)


def whisper_front_end(frames: int = LONGEST, mels: int = 80) -> MelConfig:
    """Whisper's front end for clips of up to `frames` frames; its encoder needs an even number of them."""
    return MelConfig(frames, MEAN, STD, "clip_min", False, 2, "whisper", mels)


def mel_input(samples: NDArray[np.floating], config: MelConfig) -> NDArray[np.float32]:
    """Samples (S,) in [-1, 1] at 16 kHz -> a model's input (1, T, M) float32.

    Raises ValueError for samples that are not a non-empty vector of finite numbers.
    """
    if config.kind == "whisper":
        signal = _checked(samples)
        frames = config.length(len(signal))
        return prepare(whisper_log_mel(signal, frames, config.mels, whole=frames == config.frames), config)[None]
    return prepare(log_mel(samples, subtract_mean=config.subtract_mean), config)[None]


def log_mel(
    samples: NDArray[np.floating], dtype: DTypeLike = np.float32, *, subtract_mean: bool = True
) -> NDArray[Any]:
    """Samples (S,) in [-1, 1] at 16 kHz -> natural-log Mel energies (T, 128), T = 1 + (S - 400) // 160.

    Kaldi's filter bank with a symmetric Hann window and without dither or energy; bands too narrow for an FFT bin hold
    the floor, log(2**-23). `subtract_mean` removes the clip's mean first. A clip shorter than a frame (400 samples)
    has zeros appended until it fills one, after its mean is removed. Frames are transformed in double precision:
    beside a loud tone, the rounding of a float32 FFT would drown what is quieter by 100 dB. Energies and the result
    are `dtype`, float32 or float64. Raises ValueError for another dtype, and for samples that are not a non-empty
    vector of finite numbers.
    """
    filters = _filters(np.dtype(dtype))  # (256, 128)
    signal = _checked(samples)
    if subtract_mean:
        signal = signal - signal.mean()
    if len(signal) < FRAME:
        signal = np.pad(signal, (0, FRAME - len(signal)))
    frames = sliding_window_view(signal, FRAME)[::SHIFT]  # (T, 400)
    power = np.empty((len(frames), FFT // 2), dtype)  # (T, 256): no band reaches the last bin, 8 kHz
    padded = np.zeros((BLOCK, FFT))
    for first in range(0, len(frames), BLOCK):
        block = frames[first : first + BLOCK]
        block = block - block.mean(axis=1, keepdims=True)
        emphasised = padded[: len(block)]
        emphasised[:, 1:FRAME] = block[:, 1:] - PRE_EMPHASIS * block[:, :-1]
        emphasised[:, 0] = block[:, 0] - PRE_EMPHASIS * block[:, 0]  # the sample before a frame is its first again
        emphasised[:, :FRAME] *= WINDOW
        spectrum = np.fft.rfft(emphasised)[:, :-1]  # (t, 256)
        power[first : first + BLOCK] = spectrum.real**2 + spectrum.imag**2
    mel = power @ filters  # (T, 128)
    return np.log(np.maximum(mel, FLOOR, out=mel), out=mel)


def prepare(logmel: NDArray[Any], config: MelConfig) -> NDArray[np.float32]:
    """Log-Mel (T, M) -> padded at the end or cut to the model's length and normalised, (T', M) float32."""
    frames = config.frames
    if config.multiple is not None:
        frames = min(frames, -(-len(logmel) // config.multiple) * config.multiple)
    fill = 0.0 if config.padding == "zero" else float(logmel.min())
    padded = np.full((frames, logmel.shape[1]), fill, np.float32)  # (T', M)
    padded[: len(logmel)] = logmel[:frames]
    padded -= np.float32(config.mean)
    padded /= np.float32(2 * config.std)
    return padded


def _checked(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    signal = np.asarray(samples, np.float64)  # (S,)
    if signal.ndim != 1 or not signal.size:
        raise ValueError(f"log_mel takes a non-empty vector of samples, not shape {signal.shape}")
    if not np.abs(signal).max() <= LOUDEST:  # also where it is NaN
        raise ValueError("log_mel takes samples in [-1, 1]; among these are NaN, infinity or enormous numbers")
    return signal


@lru_cache(maxsize=2)
def _filters(dtype: np.dtype[Any]) -> NDArray[Any]:
    """The triangular Mel filters (256, 128).

    Their slopes are rounded step by step to float32, whatever the dtype: checkpoints were trained on a table computed
    so, and rounding moves the log energies of narrow bands by up to 1e-4.
    """
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"log_mel computes in float32 or float64, not {dtype}")
    low = _mel(LOWEST)
    step = ((_mel(HIGHEST) - low) / (MELS + 1)).astype(np.float32)
    left, centre, right = (low.astype(np.float32) + np.arange(i, MELS + i, dtype=np.float32) * step for i in range(3))
    hertz = np.arange(FFT // 2, dtype=np.float32)[:, None] * np.float32(SAMPLE_RATE / FFT)  # (256, 1)
    ratio = np.float32(1) + hertz / np.float32(700)
    bins = np.float32(1127) * np.log(ratio, dtype=np.float64).astype(np.float32)  # (256, 1) on the Mel scale
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters = np.maximum(np.float32(0), np.minimum(rising, falling))  # (256, 128)
    return filters.astype(dtype)


def _mel(hertz: float) -> np.float64:
    return np.float64(1127.0 * math.log(1.0 + hertz / 700.0))
