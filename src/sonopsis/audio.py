"""Recordings in, mono float32 at 16 kHz out: whole, or as windows over files of any length.

    path | file object | array -> decoder (blocks of frames) -> mono -> soxr -> samples (S,) -> windows

Decoding and resampling run block by block, so a day-long file needs no more memory than a short one. What cannot be
used raises AudioError, in one line that names the source and says how to fix it.
"""

import io
import logging
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, what every model here hears
LOWEST_RATE = 1_000  # Hz; below it a header is wrong more often than a recording is that dull
BLOCK = 1 << 16  # frames decoded at once
SHORTEST = 0.1  # seconds; a last window with less than this of new sound joins the one before
SILENCE = 10 ** (-70 / 20)  # peak, relative to full scale
LOUDEST = 1_000.0  # peak of float samples; beyond it they are surely integers that were never scaled

AudioSource = str | os.PathLike[str] | BinaryIO | NDArray[Any] | Any

_log = logging.getLogger(__name__)


class AudioError(ValueError):
    """A recording that cannot be used; the message names it and says how to fix it, in one line."""


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is, before resampling: seconds, Hz, channel count, container ("WAV", ..., or "array")."""

    duration: float
    sample_rate: int
    channels: int
    format: str


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a recording: start and end in seconds, samples (S,) float32 at 16 kHz."""

    start: float
    end: float
    samples: NDArray[np.float32]


@dataclass(eq=False)
class LiveAudio:
    """A recording that still comes in: what results (`path`) and messages (`name`) call it, Hz, channels, the frames
    that it declares (0: it does not), and its frames (n, channels) float32 in blocks, which can be read once."""

    path: str
    name: str
    rate: int
    channels: int
    frames: int
    blocks: Iterator[NDArray[np.float32]]
    heard: float = 0.0  # seconds that were read so far

    def read(self) -> Iterator[NDArray[np.float32]]:
        """The blocks, counted."""
        for block in self.blocks:
            self.heard += len(block) / self.rate
            yield block


def load_audio(source: AudioSource, *, sample_rate: int | None = None) -> NDArray[np.float32]:
    """A whole recording as mono float32 samples (S,) at 16 kHz, S = round(frames * 16000 / rate).

    Files (WAV, FLAC, OGG, MP3 and whatever else libsndfile reads) know their own rate; `sample_rate` (Hz, None: 16 kHz)
    is that of an array or tensor of shape (S,), (channels, S) or (S, channels). Floats are taken as [-1, 1], integers
    are scaled by their type. A seekable file object is read from its beginning. Of a truncated file, the part that
    decodes is used, with a warning in the log. Raises AudioError.
    """
    with _decoder(_reopenable(source), _name(source), sample_rate) as decoder:
        return np.concatenate(list(_resampled(decoder)))


def probe(source: AudioSource, *, sample_rate: int | None = None) -> AudioInfo:
    """Duration, rate, channels and format of a recording, without decoding it unless it is MP3 or damaged.

    The arguments are those of `load_audio`. Raises AudioError.
    """
    name, source = _name(source), _reopenable(source)
    with _decoder(source, name, sample_rate) as decoder:
        frames = decoder.frames if decoder.reaches_end() else 0
    if not frames:
        with _decoder(source, name, sample_rate) as decoder:
            frames = sum(len(block) for block in decoder.blocks())
    if not frames:
        raise _nothing_decoded(name)
    return AudioInfo(frames / decoder.rate, decoder.rate, decoder.channels, decoder.format)


def iter_windows(
    source: AudioSource, *, window: float, hop: float | None = None, sample_rate: int | None = None
) -> Iterator[Window]:
    """Windows of `window` seconds every `hop` seconds (None: no overlap), decoded as they are asked for.

    Memory does not grow with the recording. The last window ends where the recording does: it may be short, and a
    rest of less than 0.1 s is appended to the window before it. Raises ValueError for a bad window or hop at once, and
    AudioError (arguments as in `load_audio`) while iterating.
    """
    hop = window if hop is None else hop
    if not (math.isfinite(window) and window >= SHORTEST):
        raise ValueError(f"window must be at least {SHORTEST} s, not {window!r}")
    if not (math.isfinite(hop) and hop * SAMPLE_RATE >= 1):
        raise ValueError(f"hop must be a positive number of seconds, not {hop!r}")
    return _windows(source, round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE), sample_rate)


def is_silent(samples: NDArray[np.floating]) -> bool:
    """Whether samples (S,) in [-1, 1] never leave 70 dB below full scale, a constant offset apart."""
    return samples.size == 0 or float(np.ptp(samples)) / 2 < SILENCE


# ---- windows over 16 kHz chunks


def _windows(source: AudioSource, window: int, hop: int, sample_rate: int | None) -> Iterator[Window]:
    """`iter_windows` in samples: a window is let go once the next one is known to bring enough new sound."""
    enough = max(window, hop) + round(SHORTEST * SAMPLE_RATE)
    start, held, waiting = 0, 0, list[NDArray[np.float32]]()
    with _decoder(_reopenable(source), _name(source), sample_rate) as decoder:
        for chunk in _resampled(decoder):
            waiting.append(chunk)
            held += len(chunk)
            if held < enough:
                continue
            ahead = np.concatenate(waiting)
            while len(ahead) >= enough:
                yield _window(start, ahead[:window])
                start, ahead = start + hop, ahead[hop:]
            waiting, held = [ahead], len(ahead)
    rest = np.concatenate(waiting)
    yield _window(start, rest if hop <= window else rest[:window])


def _window(start: int, samples: NDArray[np.float32]) -> Window:
    return Window(start / SAMPLE_RATE, (start + len(samples)) / SAMPLE_RATE, samples.copy())


def _resampled(decoder: "_Decoder") -> Iterator[NDArray[np.float32]]:
    """A decoder's frames as 16 kHz mono chunks, round(frames * 16000 / rate) samples in all."""
    stream = None
    if decoder.rate != SAMPLE_RATE:
        stream = soxr.ResampleStream(decoder.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    frames = samples = 0
    for block in decoder.blocks():
        mono = _mono(block, decoder, frames)
        frames += len(mono)
        chunk = stream.resample_chunk(mono) if stream else mono
        samples += len(chunk)
        yield chunk
    if not frames:
        raise _nothing_decoded(decoder.name)
    if decoder.frames - frames > SHORTEST * decoder.rate:
        has, said = frames / decoder.rate, decoder.frames / decoder.rate
        _log.warning("%s: decodes for %.2f s of the %.2f s in its header; using those", decoder.name, has, said)
    total = round(frames * SAMPLE_RATE / decoder.rate)
    if not total:
        raise AudioError(f"{decoder.name}: {frames} frame(s) at {decoder.rate} Hz is too short; use a longer recording")
    if stream:
        last = stream.resample_chunk(np.empty(0, np.float32), last=True)[: total - samples]
        yield np.pad(last, (0, total - samples - len(last)))


def _mono(block: NDArray[np.float32], decoder: "_Decoder", offset: int) -> NDArray[np.float32]:
    """Frames (n, channels) -> their mean over channels (n,), checked; `offset` counts the frames before them."""
    mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    bad = np.flatnonzero(~(np.abs(mono) <= LOUDEST))
    if not len(bad):
        return mono
    value, second = float(mono[bad[0]]), (offset + int(bad[0])) / decoder.rate
    if math.isfinite(value):
        fix = "full scale is 1.0: divide by 32768 (or the range of the original integers)"
    else:
        fix = "not a number one can hear: repair it or export the recording again"
    raise AudioError(f"{decoder.name}: the sample at {second:.3f} s is {value:g}; {fix}")


# ---- decoders


@dataclass(frozen=True)
class _Decoder:
    """Blocks of frames (n, channels) float32 from an array or an open file, which is read once."""

    name: str
    rate: int
    channels: int
    format: str
    frames: int  # as declared by the header
    origin: Any  # SoundFile, LiveAudio, or array (frames, channels)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Frames until the end, or until the first that does not decode."""
        if isinstance(self.origin, LiveAudio):
            yield from self.origin.read()
            return
        if isinstance(self.origin, np.ndarray):
            for first in range(0, self.frames, BLOCK):
                yield _as_float(self.origin[first : first + BLOCK])
            return
        try:
            while len(block := self.origin.read(BLOCK, dtype="float32", always_2d=True)):
                yield block
        except soundfile.LibsndfileError as error:
            _log.debug("%s: %s", self.name, error)

    def reaches_end(self) -> bool:
        """Whether the last frame that the header declares is surely there; moves the read position."""
        if isinstance(self.origin, np.ndarray):
            return True
        if self.format == "MP3":  # its frames lean on earlier ones: after a jump, the decoder complains on stderr
            return False
        try:
            self.origin.seek(self.frames - 1)
            return len(self.origin.read(1)) == 1
        except soundfile.LibsndfileError:
            return False


@contextmanager
def _decoder(source: Any, name: str, sample_rate: int | None) -> Iterator[_Decoder]:
    """A decoder of what `_reopenable` returned, with its rate checked."""
    if isinstance(source, LiveAudio):
        rate = _checked_rate(source.rate, name)
        yield _Decoder(name, rate, source.channels, "live", source.frames, source)
        return
    if isinstance(source, np.ndarray):
        rate = SAMPLE_RATE if sample_rate is None else sample_rate
        yield _Decoder(name, _checked_rate(rate, name), source.shape[1], "array", len(source), source)
        return
    if not isinstance(source, bytes | str):
        source.seek(0)
    try:
        sound = soundfile.SoundFile(source)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless .raw file
        raise AudioError(
            f"{name}: not a recording that can be read, or cut off in its header; "
            "convert it to WAV, FLAC, OGG or MP3 (for example: ffmpeg -i INPUT output.wav)"
        ) from error
    with sound:
        rate = _checked_rate(sound.samplerate, name)
        yield _Decoder(name, rate, sound.channels, sound.format, sound.frames, sound)


def _reopenable(source: AudioSource) -> Any:
    """A source as something `_decoder` can open more than once: path, seekable file object, or 2-D array."""
    name = _name(source)
    if isinstance(source, LiveAudio):
        return source
    if isinstance(source, str | os.PathLike):
        return _checked_path(os.fsencode(source), name)
    if hasattr(source, "read"):
        return _checked_stream(source, name)
    if hasattr(source, "detach"):  # a torch tensor, perhaps on a GPU, perhaps of a type NumPy does not know
        source = source.detach().cpu()
        source = source.float() if source.is_floating_point() else source
    if hasattr(source, "__array__"):
        return _frames_first(np.asarray(source), name)
    raise AudioError(f"{name}: cannot be read as audio; give a path, a binary file object, an array or a tensor")


def _checked_path(path: bytes, name: str) -> bytes | str | BinaryIO:
    """The path of a readable, non-empty file; what comes through a pipe is read into memory."""
    if b"\0" in path:
        raise AudioError(f"{name}: no such file; check the path")
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name}: is a directory; give the recordings in it")
        with open(path, "rb") as file:
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                return _checked_stream(file, name)
            if not file.read(1):
                raise AudioError(f"{name}: the file is empty; copy or record it again")
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the path") from error
    except OSError as error:
        raise AudioError(f"{name}: cannot be opened ({error.strerror}); check its permissions and its disk") from error
    return path if os.name == "posix" else os.fsdecode(path)  # bytes keep names that are not UTF-8


def _checked_stream(stream: Any, name: str) -> BinaryIO:
    """A seekable binary file object; what cannot seek (standard input) is read into memory."""
    if isinstance(stream, io.TextIOBase):
        raise AudioError(f'{name}: is open as text; open it with mode "rb" (standard input: sys.stdin.buffer)')
    if not (hasattr(stream, "seekable") and stream.seekable()):
        stream = io.BytesIO(stream.read())
    if stream.seek(0, os.SEEK_END) == 0:
        raise AudioError(f"{name}: the file is empty; copy or record it again")
    return stream


def _frames_first(array: NDArray[Any], name: str) -> NDArray[Any]:
    """An array (S,), (channels, S) or (S, channels) as (S, channels); the longer axis is time."""
    if array.ndim not in (1, 2):
        raise AudioError(f"{name}: has shape {array.shape}; give samples (S,), (channels, S) or (S, channels)")
    if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 4):
        raise AudioError(f"{name}: has type {array.dtype}; give floats in [-1, 1], or 8, 16 or 32-bit integers")
    if array.size == 0:
        raise _nothing_decoded(name)
    if array.ndim == 1:
        return array[:, None]
    return array.T if array.shape[0] <= array.shape[1] else array


def _as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Integers over their type's range -> [-1, 1); floats as they are."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes inf, which is reported with its position
            return samples.astype(np.float32)
    half = float(2 ** (8 * samples.dtype.itemsize - 1))
    middle = half if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - middle) / half).astype(np.float32)


def _checked_rate(rate: int, name: str) -> int:
    if not rate >= LOWEST_RATE:
        raise AudioError(f"{name}: a sample rate of {rate} Hz is too low to hear anything; correct it")
    return rate


def _name(source: AudioSource) -> str:
    """What messages call a source: one printable line."""
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
    elif isinstance(source, LiveAudio):
        name = source.name
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "<stream>"))
    else:
        name = f"<{type(source).__name__}>"
    return name if name.isprintable() else ascii(name)[1:-1]


def _nothing_decoded(name: str) -> AudioError:
    return AudioError(f"{name}: holds no audio that decodes; record or export it again")
