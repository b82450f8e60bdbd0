"""Scenes as samples: excerpts brought to a common level, placed, put over a looped bed, with a floor of noise below."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.activity import Samples, active_frames, frame_powers
from sonopsis.data.clips import Read
from sonopsis.scenes.scene import Event, Scene

LEVEL_DBFS = -26.0  # active RMS of an event of 0 dB
PEAK = 0.98  # louder scenes are turned down as a whole
BOOST_DB = 60.0  # at most; an excerpt that is all but silent stays quiet
FADE_IN, FADE_OUT, LOOP_FADE = 0.004, 0.02, 0.05  # seconds


def render(scene: Scene, read: Read) -> Samples:
    """A scene's samples (S,) float32 at 16 kHz, |x| < 1; `read(path)` gives a clip's samples (S,) at 16 kHz.

    A clip that is shorter than the scene says gives its last part; ValueError for an empty one.
    """
    length = round(scene.duration * SAMPLE_RATE)
    mixed = _noise(scene.id, length, scene.noise_db)  # (S,) float64
    for event in scene.events:
        piece = _faded(_excerpt(event, read))
        first = round(event.onset * SAMPLE_RATE)
        piece = piece[: max(length - first, 0)]
        mixed[first : first + len(piece)] += piece
    if scene.bed is not None:
        mixed += _looped(_excerpt(scene.bed, read), length)
    peak = float(np.abs(mixed).max(initial=0.0))
    if peak > PEAK:
        mixed *= PEAK / peak
    return mixed.astype(np.float32)


def _excerpt(event: Event, read: Read) -> NDArray[np.float64]:
    """The event's piece of its clip (S,), its active RMS at the event's level."""
    clip = read(event.path)
    if not len(clip):
        raise ValueError(f"{event.path} holds no samples; fetch it again or leave it out of the manifest")
    first, last = round(event.start * SAMPLE_RATE), round(event.end * SAMPLE_RATE)
    first = max(0, min(first, len(clip) - (last - first)))
    piece = clip[first:last].astype(np.float64)
    power = frame_powers(piece.astype(np.float32))
    active = active_frames(power)
    rms = float(np.sqrt(power[active].mean() if active.any() else power.mean()))
    gain_db = min(LEVEL_DBFS - 20 * np.log10(max(rms, 1e-9)), BOOST_DB) + event.gain_db
    return piece * 10 ** (gain_db / 20)


def _faded(piece: NDArray[np.float64]) -> NDArray[np.float64]:
    """Short ramps at both ends; the first is too short to blunt an attack."""
    rise, fall = (min(round(fade * SAMPLE_RATE), len(piece) // 4) for fade in (FADE_IN, FADE_OUT))
    piece[:rise] *= np.arange(rise) / max(rise, 1)
    piece[len(piece) - fall :] *= np.arange(fall, 0, -1) / max(fall, 1)
    return piece


def _looped(piece: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The piece repeated to (length,), each pass faded into the next at equal power."""
    fade = min(round(LOOP_FADE * SAMPLE_RATE), len(piece) // 4)
    ramp = np.sin(0.5 * np.pi * np.arange(fade) / max(fade, 1))
    step = len(piece) - fade
    passes = max(1, -(-(length - fade) // step))
    looped = np.zeros(passes * step + fade)
    middle = piece.copy()
    middle[:fade] *= ramp
    middle[step:] *= ramp[::-1]
    for i in range(passes):
        looped[i * step : i * step + len(piece)] += middle
    return looped[:length]


def _noise(identity: str, length: int, level_dbfs: float) -> NDArray[np.float64]:
    """White noise (length,), so that pauses are not digital silence."""
    seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")
    # RandomState: the one NumPy generator whose stream is promised never to change.
    return np.random.RandomState(seed).standard_normal(length) * 10 ** (level_dbfs / 20)
