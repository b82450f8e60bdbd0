"""The sound of everything else that FFmpeg decodes (M4A, MP4, AAC, WebM, MKV, WMA, AMR, AC-3, videos), through PyAV.

Times are those of the container: sound that begins after the picture has silence before it, and a gap between two
time stamps is a gap in what is heard. A gap that would reach beyond the container's duration is not believed; where a
container has none, one after which the times do not go on.

Files are opened by their bytes, and only as one of FORMATS, so a playlist cannot make FFmpeg open other files or
addresses.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sonopsis.audio.formats import NEEDS_MEDIA, begins_like_media, reads_media
from sonopsis.audio.mono import BLOCK
from sonopsis.audio.source import AudioError, as_float

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

# Demultiplexers, by FFmpeg's names.
FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,matroska,mlp,mov,mp3,mpeg,mpegts,nut,ogg,rm,tak,truehd"
    ",tta,voc,w64,wav,wv"
)
# Of those, by the names that a Stretch has, the ones that say no duration: FFmpeg guesses it from the first bit rates.
GUESSED = frozenset(("AAC", "AC3", "AMR", "DTS", "EAC3", "LOAS", "MLP", "MP3", "TRUEHD", "VOC"))
GAP = 0.25  # s between the end of one frame and the time of the next, below which it is rounding or padding
LONGEST = 24 * 3_600  # s of a gap in a container that does not say how long it lasts
LATE = 0.5  # s by which decoded sound may be shorter than the container says

Kind = tuple[int, int]  # Hz, channels
Say = Callable[[str], object]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stretch:
    """Sound of one kind in a container of a format: blocks (n, channels) float32.

    `lasts` is how many seconds the container says that all its sound lasts, None if it does not say.
    """

    format: str
    kind: Kind
    blocks: Iterator[NDArray[np.float32]]
    lasts: float | None


def media_parts(file: BinaryIO, name: str, say: Say) -> Iterator[Stretch]:
    """The stretches of one kind; `say` is told what the listener must know, when it is known. AudioError when there is
    no sound that FFmpeg reads, or no PyAV."""
    file.seek(0)
    if not reads_media():
        if begins_like_media(file.read(16)):
            raise AudioError(f"{name}: {NEEDS_MEDIA}; or convert it (for example: ffmpeg -i INPUT output.wav)")
        raise _unreadable(name)
    import av

    try:
        container = av.open(file, mode="r", options={"format_whitelist": FORMATS})
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(name) from error
    with container:
        if not container.streams.audio:
            raise AudioError(f"{name}: holds no sound, only pictures; give a recording with sound")
        if len(container.streams.audio) > 1:
            say(f"has {len(container.streams.audio)} sound tracks; only one is heard")
        label = container.format.name.split(",")[0].upper()
        lasts = container.duration / 1e6 if container.duration else None
        for kind, frames in groupby(_on_time(container, name, say), key=lambda pair: pair[0]):
            yield Stretch(label, kind, _blocks(samples for _, samples in frames), lasts)


def _on_time(container: "InputContainer", name: str, say: Say) -> Iterator[tuple[Kind, NDArray[np.float32]]]:
    """Kind and samples (n, channels) of every frame, and of silence where the container has none."""
    origin = (container.start_time or 0) / 1e6
    length = (container.duration or 0) / 1e6  # s; 0 where it is not known
    heard = jumped = 0.0  # s; `jumped` is the first gap that is not believed
    for frame, following in _with_next(_decoded(container, name, say)):
        kind = (frame.sample_rate, frame.layout.nb_channels)
        time = _seconds(frame)
        if time is not None and (gap := time - origin - heard) > GAP:
            if heard + gap < length if length else gap < LONGEST and _goes_on(frame, following):
                missing = round(gap * kind[0])
                heard += missing / kind[0]
                for first in range(0, missing, BLOCK):
                    yield kind, np.zeros((min(BLOCK, missing - first), kind[1]), np.float32)
            else:
                jumped = jumped or gap
        samples = as_float(frame.to_ndarray())
        heard += frame.samples / kind[0]
        yield kind, samples.T if frame.format.is_planar else samples.reshape(-1, kind[1])
    if jumped:
        say(f"its times jump by {jumped:.6g} s, which cannot be right; no silence is put there")
    if heard and length - heard > LATE:
        say(f"decodes for {heard:.2f} s of the {length:.2f} s in its header; using those")


def _with_next(frames: Iterator["AudioFrame"]) -> Iterator[tuple["AudioFrame", "AudioFrame | None"]]:
    """Every frame with the one after it."""
    before = next(frames, None)
    while before is not None:
        following = next(frames, None)
        yield before, following
        before = following


def _seconds(frame: "AudioFrame") -> float | None:
    """The time of a frame in its container, if it has one."""
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def _goes_on(frame: "AudioFrame", following: "AudioFrame | None") -> bool:
    """Whether the time of the next frame is that at which this one ends."""
    time, later = _seconds(frame), None if following is None else _seconds(following)
    return time is not None and later is not None and abs(later - time - frame.samples / frame.sample_rate) < GAP


def _decoded(container: "InputContainer", name: str, say: Say) -> Iterator["AudioFrame"]:
    """The frames of the best stream of sound; packets that do not decode are left out, with a warning at the end."""
    import av

    stream = container.streams.best("audio")
    if stream is None:  # sound of rate 0, or of no codec
        raise AudioError(f"{name}: its header does not say how its sound is to be decoded; it may be damaged")
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            _log.debug("%s: %s", name, error)
            break
        if packet is None:
            break
        try:
            yield from packet.decode()  # type: ignore[misc]  # of a stream of sound
        except av.FFmpegError as error:
            _log.debug("%s: %s", name, error)
            damaged += 1
    if damaged:
        say(f"{damaged} damaged packet(s) are left out")


def _blocks(frames: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same samples BLOCK frames at a time, the last block shorter."""
    waiting: list[NDArray[np.float32]] = []
    held = 0
    for samples in frames:
        waiting.append(samples)
        held += len(samples)
        if held >= BLOCK:
            ahead = np.concatenate(waiting)
            whole = held - held % BLOCK
            yield from np.split(ahead[:whole], whole // BLOCK)
            waiting, held = [ahead[whole:]], held - whole
    if held:
        yield np.concatenate(waiting)


def _unreadable(name: str) -> AudioError:
    return AudioError(
        f"{name}: not a recording that can be read, or cut off in its header; "
        "convert it to WAV, FLAC, OGG or MP3 (for example: ffmpeg -i INPUT output.wav)"
    )
