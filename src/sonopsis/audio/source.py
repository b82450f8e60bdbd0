"""What a caller may hand over as a recording, checked, as something that can be opened more than once."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

AudioSource = str | os.PathLike[str] | BinaryIO | NDArray[Any] | Any


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


@dataclass(frozen=True)
class Watched(os.PathLike[str]):
    """A file that is watched while it is decoded: `watch` is called with the seconds that have come so far, again and
    again, in the thread that decodes. What it raises ends decoding.

    `opened` is what `reopenable` found at the path: what came through a pipe cannot be read there again.
    """

    path: str
    watch: Callable[[float], object]
    opened: bytes | str | BinaryIO | None = None

    def __fspath__(self) -> str:
        return self.path


class AudioError(ValueError):
    """A recording that cannot be used; the message names it and says how to fix it, in one line."""


def reopenable(source: AudioSource) -> Any:
    """A source as something `_decoder` can open more than once: path, seekable file object, or 2-D array."""
    name = source_name(source)
    if isinstance(source, LiveAudio):
        return source
    if isinstance(source, str | os.PathLike):
        path = _checked_path(os.fsencode(source), name)
        return replace(source, opened=path) if isinstance(source, Watched) else path
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
        raise nothing_decoded(name)
    if array.ndim == 1:
        return array[:, None]
    return array.T if array.shape[0] <= array.shape[1] else array


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Integers over their type's range -> [-1, 1); floats as they are."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes inf, which is reported with its position
            return samples.astype(np.float32)
    half = float(2 ** (8 * samples.dtype.itemsize - 1))
    middle = half if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - middle) / half).astype(np.float32)


def source_name(source: AudioSource) -> str:
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


def nothing_decoded(name: str) -> AudioError:
    return AudioError(f"{name}: holds no audio that decodes; record or export it again")
