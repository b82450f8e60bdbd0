"""A recording as its parts: blocks of frames of one rate and number of channels, from an array or an open file."""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from io import BufferedReader
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sonopsis.audio.excerpt import Excerpt, Interruptible, Piece
from sonopsis.audio.joined import pieces
from sonopsis.audio.media import Say, media_parts
from sonopsis.audio.mono import BLOCK
from sonopsis.audio.source import AudioError, LiveAudio, Watched, as_float

LOWEST_RATE = 1_000  # Hz; below it a header is wrong more often than a recording is that dull
MOST_CHANNELS = 256  # more than the largest recorders and microphone arrays have; a WAV header may say 65,535

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A stretch of a recording that was stored as one: its rate in Hz, channels, and blocks (n, channels) float32.

    `frames` is what its header declares, None where it does not. `blocks` are read once. `reaches_end` tells whether
    the last declared frame is surely there; it moves the read position. `note` is what the listener must be told.
    `lasts` is how many seconds its container declares for it and all parts after it.
    """

    rate: int
    channels: int
    format: str
    frames: int | None
    blocks: Iterator[NDArray[np.float32]]
    reaches_end: Callable[[], bool]
    note: str = ""
    lasts: float | None = None


def open_parts(
    source: Any,
    name: str,
    sample_rate: int | None,
    say: Say = lambda note: None,
    go_on: Callable[[], object] | None = None,
) -> Generator[Part, None, None]:
    """The parts of what `reopenable` returned, in order, each to be read before the next is asked for.

    `say` is told what the listener must know of the recording as a whole. `go_on` is called again and again while a
    file is searched for the recordings in it, and what it raises ends that. Files are closed at the end, or with the
    generator. Raises AudioError.
    """
    if isinstance(source, np.ndarray):
        rate = 16_000 if sample_rate is None else sample_rate
        blocks = (as_float(source[first : first + BLOCK]) for first in range(0, len(source), BLOCK))
        yield Part(_checked_rate(rate, name), source.shape[1], "array", len(source), blocks, lambda: True)
        return
    if isinstance(source, LiveAudio):
        rate, channels = _checked_rate(source.rate, name), _checked_channels(source.channels, name)
        yield Part(rate, channels, "live", source.frames or None, source.read(), lambda: False)
        return
    if isinstance(source, Watched):
        yield from _watched(source, name)
        return
    with ExitStack() as stack:
        file = stack.enter_context(open(source, "rb")) if isinstance(source, bytes | str) else source
        searched: Any = file if go_on is None else Interruptible(file, go_on)
        found = pieces(searched)
        for number, piece in enumerate(found):
            content = source
            if len(found) > 1 or piece.head:
                content = BufferedReader(Excerpt(file, piece), BLOCK)
            elif content is file:
                file.seek(0)
            try:
                sound = soundfile.SoundFile(content)
            except (soundfile.SoundFileError, TypeError):  # TypeError: a headerless .raw file
                if number:
                    say(f"what follows byte {piece.start} cannot be read, and is left out")
                    return
                yield from _media(file, name, say)
                return
            with sound:
                yield _sound_part(sound, piece, name)


def _watched(source: Watched, name: str) -> Iterator[Part]:
    heard = 0.0  # seconds, of all parts

    def blocks(part: Part) -> Iterator[NDArray[np.float32]]:
        nonlocal heard
        for block in part.blocks:
            heard += len(block) / part.rate
            source.watch(heard)
            yield block

    with closing(open_parts(source.opened, name, None, go_on=lambda: source.watch(heard))) as parts:
        for part in parts:
            source.watch(heard)  # a part may have no block at all
            yield replace(part, blocks=blocks(part))


def _media(file: Any, name: str, say: Say) -> Generator[Part, None, None]:
    for found in media_parts(file, name, say):
        rate, channels = found.kind
        _checked_channels(channels, name)
        yield Part(
            _checked_rate(rate, name), channels, found.format, None, found.blocks, lambda: False, lasts=found.lasts
        )


def _sound_part(sound: soundfile.SoundFile, piece: Piece, name: str) -> Part:
    def blocks() -> Iterator[NDArray[np.float32]]:
        """Frames until the end, or until the first that does not decode."""
        left = sound.frames  # a short recording of many channels has no room for a whole block
        while left > 0:
            space = np.full((min(BLOCK, left), channels), np.nan, np.float32)
            try:
                block = sound.read(out=space, always_2d=True)
            except soundfile.LibsndfileError as error:  # what it decoded before the error is in `space`
                _log.debug("%s: %s", name, error)
                written = np.flatnonzero(~np.isnan(space[:, 0]))
                yield space[: written[-1] + 1 if len(written) else 0]
                return
            if not len(block):
                return
            left -= len(block)
            yield block

    def reaches_end() -> bool:
        if sound.format == "MP3":  # its frames lean on earlier ones: after a jump, the decoder complains on stderr
            return False
        try:
            sound.seek(sound.frames - 1)
            return len(sound.read(1)) == 1
        except soundfile.LibsndfileError:
            return False

    rate, channels = _checked_rate(sound.samplerate, name), _checked_channels(sound.channels, name)
    frames = sound.frames if piece.frames_known else None
    return Part(rate, channels, sound.format, frames, blocks(), reaches_end, piece.note)


def _checked_rate(rate: int, name: str) -> int:
    if not rate >= LOWEST_RATE:
        raise AudioError(f"{name}: a sample rate of {rate} Hz is too low to hear anything; correct it")
    return rate


def _checked_channels(channels: int, name: str) -> int:
    if channels > MOST_CHANNELS:
        raise AudioError(
            f"{name}: has {channels} channels by its header; give a recording with at most {MOST_CHANNELS}"
        )
    return channels
