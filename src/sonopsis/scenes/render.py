"""Scenes as samples: excerpts brought to a common level, placed, put over a looped bed, with a floor of noise below."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
LEVEL_DBFS = -26.0  # active RMS of an event of 0 dB
PEAK = 0.98  # louder scenes are turned down as a whole
BOOST_DB = 60.0  # at most; an excerpt that is all but silent stays quiet
FADE_IN, FADE_OUT, LOOP_FADE = 0.004, 0.02, 0.05  # seconds
HOP = SAMPLE_RATE // 100  # the activity is measured in frames of 10 ms
ACTIVE_DB = 35.0  # a frame is active when it lies less than this below the clip's loudest
SILENT_DBFS = -75.0  # a clip whose loudest frame is below this holds no sound
BRIDGE = 20  # frames; shorter pauses do not interrupt a stretch

Samples = NDArray[np.float32]
Read = Callable[[str], Samples]


def render(scene: Mapping[str, Any], read: Read) -> Samples:
    """A scene's samples (S,) float32 at 16 kHz, |x| < 1; `read(path)` gives a clip's samples (S,) at 16 kHz.

    A clip that is shorter than the scene says gives its last part; ValueError for an empty one.
    """
    length = round(scene["duration"] * SAMPLE_RATE)
    mixed = _noise(scene["id"], length, scene["noise_db"])  # (S,) float64
    for event in scene["events"]:
        piece = _faded(_excerpt(event, read))
        first = round(event["onset"] * SAMPLE_RATE)
        piece = piece[: max(length - first, 0)]
        mixed[first : first + len(piece)] += piece
    if scene["bed"] is not None:
        mixed += _looped(_excerpt(scene["bed"], read), length)
    peak = float(np.abs(mixed).max(initial=0.0))
    if peak > PEAK:
        mixed *= PEAK / peak
    return mixed.astype(np.float32)


def with_activity(rows: Iterable[Mapping[str, Any]], read: Read) -> Iterator[dict[str, Any]]:
    """Manifest rows with "active" added: [[start, end], ...] in s where a clip sounds; silent rows are left out."""
    for row in rows:
        first = round(row["start"] * SAMPLE_RATE)
        stretches = active_stretches(read(row["path"])[first : round(row["end"] * SAMPLE_RATE)])
        if stretches:
            yield {**row, "active": [[round(row["start"] + a, 2), round(row["start"] + b, 2)] for a, b in stretches]}


def active_stretches(samples: Samples) -> list[tuple[float, float]]:
    """Where a clip (S,) sounds: (start, end) in s, to 10 ms, pauses under 0.2 s bridged."""
    active = np.flatnonzero(_active(_power(samples)))
    if not len(active):
        return []
    breaks = np.flatnonzero(np.diff(active) > BRIDGE)
    starts, ends = active[np.r_[0, breaks + 1]], active[np.r_[breaks, len(active) - 1]] + 1
    length = len(samples) / SAMPLE_RATE
    return [(float(a) / 100, min(float(b) / 100, length)) for a, b in zip(starts, ends, strict=True)]


def _power(samples: Samples) -> NDArray[np.float64]:
    """Mean square of each frame of 10 ms, (frames,); the last frame may be short."""
    squares = np.square(samples, dtype=np.float64)
    starts = np.arange(0, len(squares), HOP)
    if not len(starts):
        return np.zeros(0)
    return np.add.reduceat(squares, starts) / np.minimum(HOP, len(squares) - starts)


def _active(power: NDArray[np.float64]) -> NDArray[np.bool_]:
    loudest = power.max(initial=0.0)
    return (power > loudest * 10 ** (-ACTIVE_DB / 10)) & (loudest > 10 ** (SILENT_DBFS / 10))


def _excerpt(event: Mapping[str, Any], read: Read) -> NDArray[np.float64]:
    """The event's piece of its clip (S,), its active RMS at the event's level."""
    clip = read(event["path"])
    if not len(clip):
        raise ValueError(f"{event['path']} holds no samples; fetch it again or leave it out of the manifest")
    first, last = round(event["start"] * SAMPLE_RATE), round(event["end"] * SAMPLE_RATE)
    first = max(0, min(first, len(clip) - (last - first)))
    piece = clip[first:last].astype(np.float64)
    power = _power(piece.astype(np.float32))
    active = _active(power)
    rms = float(np.sqrt(power[active].mean() if active.any() else power.mean()))
    gain_db = min(LEVEL_DBFS - 20 * np.log10(max(rms, 1e-9)), BOOST_DB) + event["gain_db"]
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
