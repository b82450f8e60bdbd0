"""Blocks of frames -> what is heard of them: no invalid numbers, no offset, one channel.

Everything is decided for one block at a time, and a block of a file is always BLOCK frames (but the last), so results
depend neither on the windows that are asked for nor on how a decoder groups its frames. What still comes in is judged a
quarter of a second at a time, so that nobody waits for it. A recording without faults comes out
as the plain mean of its channels, bit for bit.
"""

import logging
import math

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio.source import AudioError

BLOCK = 1 << 16  # frames decoded, and judged, at once
LOUDEST = 1_000.0  # peak of float samples; beyond it they are surely integers that were never scaled
INVALID_SHARE, INVALID_FRAMES = 100, 10  # at most one frame in a hundred of a block, or ten
TIMES_NAMED = 5  # of the invalid numbers, in the warning
LEAST_OFFSET = 0.01  # full scale; recordings without a fault stay below it
OFFSET_RATIO = 3.0  # an offset is a fault where it is so many times the deviation of the sound around it
CANCELLED = 0.1  # power of the mean, relative to that of unrelated channels
SHORTEST = 0.1  # s; shorter blocks do not tell an offset, nor a change of phase
FEWEST = 32  # frames of a shorter recording; of fewer, unrelated channels may cancel by chance
FADE = 0.02  # s, between what was heard and what is heard from now on

_log = logging.getLogger(__name__)


class Mixer:
    """Blocks (n, channels) float32 of one part of a recording -> (n,) float32; AudioError for what is no sound."""

    def __init__(self, name: str, rate: int, channels: int, start: float) -> None:
        """`start` is where the part begins in the recording, in seconds."""
        self.name, self.rate, self.start = name, rate, start
        self.frames = 0
        self._invalid = 0
        self._times: list[float] = []
        self._offset = np.zeros(channels)  # subtracted at the end of the last block
        self._faulty = np.zeros(channels, bool)  # channels with an offset
        self._heard: int | None = None  # None: the mean
        self._preferred: int | None = None
        self._one_channel = 0  # frames in which the mean is not heard

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        invalid = ~np.isfinite(block)
        if not invalid.any():
            mono = self._mix(self._centre(block))
        else:
            self._note_invalid(block, invalid)
            centred = self._centre(np.where(invalid, np.float32(0), block))
            mono = self._mix(np.where(invalid, np.float32(0), centred))
        loud = np.flatnonzero(np.abs(mono) > LOUDEST)
        if len(loud):
            raise AudioError(
                f"{self.name}: the sample at {self._time(loud[0]):.3f} s is {float(mono[loud[0]]):g}; "
                "full scale is 1.0: divide by 32768 (or the range of the original integers)"
            )
        self.frames += len(block)
        return mono

    def report(self) -> None:
        """Say in the log what was mended, once the last block is through."""
        if self._invalid:
            times = ", ".join(f"{time:.3f}" for time in self._times) + (" ..." if self._invalid > TIMES_NAMED else "")
            _log.warning("%s: %d sample(s) that are no numbers, silenced (at %s s)", self.name, self._invalid, times)
        if self._faulty.any():
            _log.warning("%s: a constant offset was removed; have a look at the recorder", self.name)
        if self._one_channel:
            seconds = self._one_channel / self.rate
            _log.warning(
                "%s: its channels cancel each other (opposite phase); for %.2f s only the louder is heard",
                self.name,
                seconds,
            )

    def _time(self, frame: int) -> float:
        """Seconds of a frame of this block in the recording."""
        return self.start + (self.frames + int(frame)) / self.rate

    def _note_invalid(self, block: NDArray[np.float32], invalid: NDArray[np.bool_]) -> None:
        frames = np.flatnonzero(invalid.any(axis=1))
        if len(frames) > min(len(block) - 1, max(INVALID_FRAMES, len(block) // INVALID_SHARE)):
            value = float(block[frames[0]][invalid[frames[0]]][0])
            raise AudioError(
                f"{self.name}: {len(frames)} of {len(block)} samples are not numbers one can hear, the first is "
                f"{value:g} at {self._time(frames[0]):.3f} s; repair it or export the recording again"
            )
        self._invalid += len(frames)
        self._times += [self._time(frame) for frame in frames[: TIMES_NAMED - len(self._times)]]

    def _centre(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames without the constant offset of a faulty recorder; a channel that has one is watched to its end."""
        before = now = self._offset
        if len(block) >= SHORTEST * self.rate:
            mean = block.mean(axis=0, dtype=np.float64)  # (channels,)
            large = (np.abs(mean) > LEAST_OFFSET) & ~self._faulty
            if large.any():
                starts = large & (np.abs(mean) > OFFSET_RATIO * (block - mean).std(axis=0))
                self._faulty |= starts
                before = np.where(starts, mean, before)
            now = np.where(self._faulty, mean, 0.0)
        if not self._faulty.any():
            return block
        self._offset = now
        rise = np.linspace(0.0, 1.0, len(block), endpoint=False)[:, None]  # (n, 1): no step between two blocks
        centred: NDArray[np.float32] = (block - (before + (now - before) * rise)).astype(np.float32)
        return centred

    def _mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the channels, or one channel where they cancel."""
        if block.shape[1] == 1:
            return block[:, 0]
        mean: NDArray[np.float32] = block.mean(axis=1)  # (n,)
        heard = self._heard
        if len(block) >= SHORTEST * self.rate or (not self.frames and len(block) >= FEWEST):
            heard = self._judge(block, mean)
        mono = mean if heard is None else block[:, heard]
        if heard != self._heard and self.frames:
            fade = min(len(block), math.ceil(FADE * self.rate))
            rise = np.linspace(0.0, 1.0, fade, dtype=np.float32)
            old = mean if self._heard is None else block[:, self._heard]
            mono = np.concatenate([(1 - rise) * old[:fade] + rise * mono[:fade], mono[fade:]])
        self._heard = heard
        self._one_channel += 0 if heard is None else len(block)
        return mono

    def _judge(self, block: NDArray[np.float32], mean: NDArray[np.float32]) -> int | None:
        """The channel to hear where the channels cancel in their mean, else None.

        Unrelated channels leave sum(power) / channels^2 in their mean, equal ones more; opposite ones nothing.
        """
        power = block.var(axis=0, dtype=np.float64)  # (channels,)
        if mean.var(dtype=np.float64) >= CANCELLED * power.sum() / len(power) ** 2:
            return None
        loudest = int(power.argmax())
        if self._preferred is None or power[self._preferred] < power[loudest] / 2:
            self._preferred = loudest
        return self._preferred
