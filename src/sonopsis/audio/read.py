"""`load_audio`, `probe` and `iter_windows`: parts of a recording, mixed to one channel, resampled, cut into windows."""

import logging
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from sonopsis.audio.ahead import read_ahead
from sonopsis.audio.mono import Mixer
from sonopsis.audio.parts import Part, open_parts
from sonopsis.audio.source import AudioError, AudioSource, LiveAudio, nothing_decoded, reopenable, source_name

SAMPLE_RATE = 16_000  # Hz, what every model here hears
NOTED = 3  # places at which something is wrong with a recording, of which each gets a warning of its own
SHORTEST = 0.1  # seconds; a last window with less than this of new sound joins the one before
SILENCE = 10 ** (-70 / 20)  # peak, relative to full scale
AHEAD = 2  # windows that are decoded before they are asked for

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is, before resampling: seconds, Hz, channel count, container ("WAV", ..., or "array")."""

    duration: float
    sample_rate: int
    channels: int
    format: str


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a recording: start and end in seconds, samples (S,) float32 at 16 kHz.

    There may be samples beyond the end, if they were asked for.
    """

    start: float
    end: float
    samples: NDArray[np.float32]


def load_audio(
    source: AudioSource, *, sample_rate: int | None = None, seconds: float | None = None
) -> NDArray[np.float32]:
    """A whole recording as mono float32 samples (S,) at 16 kHz, S = round(frames * 16000 / rate).

    With `seconds`, the first so many of it (one sample at least), and it is decoded no further.

    Files (WAV, FLAC, OGG, MP3 and whatever else libsndfile reads) know their own rate; `sample_rate` (Hz, None: 16 kHz)
    is that of an array or tensor of shape (S,), (channels, S) or (S, channels). Floats are taken as [-1, 1], integers
    are scaled by their type. A seekable file object is read from its beginning. Of a truncated file, the part that
    decodes is used, with a warning in the log. Raises AudioError.
    """
    most = None if seconds is None else max(1, round(seconds * SAMPLE_RATE))
    chunks, held = list[NDArray[np.float32]](), 0
    with closing(_resampled(source, sample_rate)) as decoded:
        for chunk in decoded:
            chunks.append(chunk)
            held += len(chunk)
            if most is not None and held >= most:
                break
    return np.concatenate(chunks)[:most]


def probe(source: AudioSource, *, sample_rate: int | None = None) -> AudioInfo:
    """Duration, rate, channels and format of a recording, without decoding it unless it is MP3, damaged, or read by
    PyAV.

    The arguments are those of `load_audio`. Raises AudioError.
    """
    name, opened = source_name(source), reopenable(source)
    found = list[tuple[Part, int]]()
    whole = True
    with closing(open_parts(opened, name, sample_rate)) as parts:
        for part in parts:
            if not part.frames or not part.reaches_end():  # the next part would only be found by decoding this one
                whole = False
                break
            found.append((part, part.frames))
    if not whole:
        with closing(open_parts(opened, name, sample_rate)) as parts:
            found = [(part, sum(map(len, part.blocks))) for part in parts]
    if not any(frames for _, frames in found):
        raise nothing_decoded(name)
    first = found[0][0]
    duration = sum(frames / part.rate for part, frames in found)
    return AudioInfo(duration, first.rate, first.channels, first.format)


def declared_duration(source: AudioSource, *, sample_rate: int | None = None) -> float | None:
    """Seconds that a recording says it lasts, right or wrong, without decoding it; None if it does not say.

    The arguments are those of `load_audio`. Raises AudioError.
    """
    seconds = 0.0
    with closing(open_parts(reopenable(source), source_name(source), sample_rate)) as parts:
        for part in parts:
            if part.lasts is not None:
                return seconds + part.lasts
            if not part.frames:
                return None
            seconds += part.frames / part.rate
    return seconds


def iter_windows(
    source: AudioSource,
    *,
    window: float,
    hop: float | None = None,
    sample_rate: int | None = None,
    beyond: int = 0,
) -> Iterator[Window]:
    """Windows of `window` seconds every `hop` seconds (None: no overlap), decoded as they are asked for.

    Memory does not grow with the recording. A thread decodes ahead, unless the source is live. Windows have `beyond`
    more samples behind their end, at most 0.1 s, as far as the recording has them; silent windows stay silent. The last
    window ends where the recording does: it may be short, and a rest of less than 0.1 s is appended to the window
    before it. Raises ValueError for a bad window, hop or number of samples at once, and AudioError (arguments as in
    `load_audio`) while iterating.
    """
    hop = window if hop is None else hop
    check_windows(window, hop)
    if not 0 <= beyond <= SHORTEST * SAMPLE_RATE:
        raise ValueError(f"beyond must be from 0 to {round(SHORTEST * SAMPLE_RATE)} samples, not {beyond!r}")
    windows = _windows(source, round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE), sample_rate, beyond)
    return windows if isinstance(source, LiveAudio) else read_ahead(windows, AHEAD)


def check_windows(window: float, hop: float) -> None:
    """Raise ValueError for a window or a hop, in seconds, that no recording can be cut with."""
    if not (math.isfinite(window * SAMPLE_RATE) and window >= SHORTEST):
        raise ValueError(f"window must be at least {SHORTEST} s, not {window!r}")
    if not (math.isfinite(hop * SAMPLE_RATE) and hop * SAMPLE_RATE >= 1):
        raise ValueError(f"hop must be a positive number of seconds, not {hop!r}")


def is_silent(samples: NDArray[np.floating]) -> bool:
    """Whether samples (S,) in [-1, 1] never leave 70 dB below full scale, a constant offset apart."""
    return samples.size == 0 or float(np.ptp(samples)) / 2 < SILENCE


# ---- windows over 16 kHz chunks


def _windows(
    source: AudioSource, window: int, hop: int, sample_rate: int | None, beyond: int
) -> Generator[Window, None, None]:
    """`iter_windows` in samples: without a gap behind it, a window is let go once the next one is known to bring enough
    new sound, which would be its own otherwise; with a gap, as soon as all its samples are there."""
    shortest, gaps = round(SHORTEST * SAMPLE_RATE), hop > window
    enough = window + (beyond if gaps else shortest)
    start, held, waiting = 0, 0, list[NDArray[np.float32]]()
    unheard = 0  # samples still to come before the next window begins
    for chunk in _resampled(source, sample_rate):
        passed = min(unheard, len(chunk))
        unheard -= passed
        if passed == len(chunk):  # nothing of it is kept, not even as the base of an empty array
            continue
        waiting.append(chunk[passed:])
        held += len(chunk) - passed
        if held < enough:
            continue
        ahead = np.concatenate(waiting)
        while len(ahead) >= enough:
            yield _window(start, ahead[: window + beyond], window)
            unheard = max(0, hop - len(ahead))
            start, ahead = start + hop, ahead[hop:]
        waiting, held = [ahead], len(ahead)
    rest = np.concatenate(waiting)
    if gaps and start and len(rest) < shortest:
        return
    length = min(len(rest), window) if gaps else len(rest)
    yield _window(start, rest[: length + beyond], length)


def _window(start: int, samples: NDArray[np.float32], length: int) -> Window:
    own = samples[:length]
    heard = own if len(samples) == length or is_silent(own) else samples
    return Window(start / SAMPLE_RATE, (start + length) / SAMPLE_RATE, heard.copy())


def _resampled(source: AudioSource, sample_rate: int | None) -> Generator[NDArray[np.float32], None, None]:
    """A recording as 16 kHz mono chunks, round(frames * 16000 / rate) samples of each part."""
    name = source_name(source)
    seconds = 0.0
    samples = noted = 0
    with closing(open_parts(reopenable(source), name, sample_rate, partial(_warn, name))) as parts:
        for part in parts:
            mixer = Mixer(name, part.rate, part.channels, seconds)
            for chunk in _at_16_khz(part, mixer):
                samples += len(chunk)
                yield chunk
            noted += bool(part.note)
            _say(part, mixer, noted <= NOTED)
            seconds += mixer.frames / part.rate
    if noted > NOTED:
        _warn(name, f"{noted - NOTED} more such places in it are not listed")
    if not seconds:
        raise nothing_decoded(name)
    if not samples:
        raise AudioError(f"{name}: {seconds:.6f} s is too short; use a longer recording")


def _at_16_khz(part: Part, mixer: Mixer) -> Iterator[NDArray[np.float32]]:
    stream = None
    if part.rate != SAMPLE_RATE:
        stream = soxr.ResampleStream(part.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    samples = 0
    for block in part.blocks:
        mono = mixer(block)
        chunk = stream.resample_chunk(mono) if stream else mono
        samples += len(chunk)
        yield chunk
    if stream:
        missing = round(mixer.frames * SAMPLE_RATE / part.rate) - samples
        last = stream.resample_chunk(np.empty(0, np.float32), last=True)[:missing]
        yield np.pad(last, (0, missing - len(last)))


def _warn(name: str, note: str) -> None:
    _log.warning("%s: %s", name, note)


def _say(part: Part, mixer: Mixer, with_note: bool) -> None:
    """What the listener must be told of a part that has been read."""
    mixer.report()
    if part.note and with_note:
        _warn(mixer.name, part.note)
    if part.frames is not None and part.frames - mixer.frames > SHORTEST * part.rate:
        has, said = mixer.frames / part.rate, part.frames / part.rate
        _log.warning("%s: decodes for %.2f s of the %.2f s in its header; using those", mixer.name, has, said)
