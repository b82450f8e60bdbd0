"""Standard input as a recording: WAV is described as it comes, anything else from a file when it has ended."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sonopsis.cli.console import fail
from sonopsis.cli.inputs import STDIN

if TYPE_CHECKING:
    from sonopsis.audio import LiveAudio
    from sonopsis.results import Part

NAME = "standard input"  # in messages


@dataclass(frozen=True)
class Source:
    """What the model reads: a stream that still comes, or the path of a file that holds it."""

    audio: "LiveAudio | str"

    def named(self, part: "Part") -> "Part":
        """A part of the results under the name `-`, and not that of the file."""
        result = part.result
        if not isinstance(self.audio, str):
            return part
        error = None if result.error is None else result.error.replace(self.audio, NAME)
        return part._replace(result=replace(result, path=STDIN, error=error))


@contextmanager
def standard_input(wanted: bool) -> Iterator[Source | None]:
    """Standard input, if it is wanted; what cannot be decoded as it comes is copied into a file, for its size."""
    if not wanted:
        yield None
        return
    from sonopsis.live import live_wav

    if sys.stdin is None:
        fail(f"{NAME} cannot be read (it is closed); give a recording through a pipe")
    with _readable():
        audio, seen = live_wav(sys.stdin.buffer, STDIN, NAME)
    if audio is not None:
        yield Source(audio)
        return
    with tempfile.NamedTemporaryFile(suffix=".stdin") as spooled:
        with _readable():
            spooled.write(seen)
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            spooled.flush()
        yield Source(spooled.name)


@contextmanager
def _readable() -> Iterator[None]:
    """Ends the program in one line if standard input is no source of bytes."""
    try:
        yield
    except OSError as error:
        fail(f"{NAME} cannot be read ({error.strerror or error}); give a recording through a pipe")
