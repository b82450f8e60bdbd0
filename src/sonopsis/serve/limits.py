"""What a recording must be to be described here, and what is answered for one that is not."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sonopsis.audio import AudioError
from sonopsis.audio.media import GUESSED, LATE
from sonopsis.audio.parts import Part, open_parts
from sonopsis.audio.source import Watched, reopenable
from sonopsis.files import ModelError
from sonopsis.many import error_line
from sonopsis.serve.bodies import Upload
from sonopsis.serve.errors import ServiceError, internal


class NotARecording(AudioError):
    """A file of no kind that can be read."""


def check(upload: Upload, longest: float) -> None:
    """Raise NotARecording for a file of an unknown kind, ServiceError for one that says that it lasts over `longest` s.

    Nothing is decoded: what a header says can be wrong.
    """
    name = str(upload.path)
    try:
        with closing(open_parts(reopenable(watched(upload, longest)), name, None)) as parts:
            part = next(parts, None)  # None where a damaged file has no part at all: decoding it says so
    except AudioError as error:
        raise NotARecording(str(error)) from error
    if part is not None and _says_longer(part, longest):
        raise too_long(longest)


def _says_longer(part: Part, longest: float) -> bool:
    """Whether a recording says in front of its first part that it lasts over `longest` s."""
    if part.frames is not None:
        return part.frames > longest * part.rate
    if part.lasts is None or part.format in GUESSED:  # a guess can be several times too long
        return False
    return part.lasts > longest + LATE  # of a little more, all may be padding: decoding finds that out


def watched(upload: Upload, longest: float) -> Watched:
    """The recording as it is to be heard: decoding ends with ServiceError after `longest` s, whatever its header says,
    and with Stopped when the request has ended."""

    def watch(seconds: float) -> None:
        upload.place.go_on()
        if seconds > longest:
            raise too_long(longest)

    return Watched(str(upload.path), watch)


def too_long(longest: float) -> ServiceError:
    """What is answered for a recording of more than `longest` seconds."""
    return ServiceError(413, "too_long", f"the recording lasts more than {longest:g} s; send it in shorter pieces")


@contextmanager
def errors_of(upload: Upload) -> Iterator[None]:
    """Raise what goes wrong with an upload as ServiceError, with its name in place of the file's."""
    try:
        yield
    except ServiceError:
        raise
    except NotARecording as error:
        raise ServiceError(415, "not_a_recording", _message(error, upload)) from error
    except AudioError as error:
        raise ServiceError(422, "bad_audio", _message(error, upload)) from error
    except (ModelError, ValueError) as error:
        raise ServiceError(422, "bad_parameter", " ".join(str(error).split())) from error
    except Exception as error:
        raise internal(error, upload.name) from error


def _message(error: Exception, upload: Upload) -> str:
    return upload.named(error_line(error, str(upload.path)))
