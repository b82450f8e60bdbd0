"""The recording of a request, raw or in the field `file` of a form, into a temporary file of limited size."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from sonopsis.serve.desk import Place
from sonopsis.serve.errors import ServiceError

FIELD = b"file"  # of a form
UNNAMED = "upload"  # what results call a recording that came without a name
LONGEST_NAME = 200  # characters
SKIMMED = 1 << 21  # bytes of a refused body that are read
SKIM_SECONDS = 2.0
LEAST_RATE = 32_000  # bytes a second that must come once an upload has lasted the time that each may
FRAME = 65_536  # bytes that a form may have besides the recording


@dataclass(frozen=True)
class Upload:
    """What was sent: the file that holds it, the name that the client gave it, and the place of the request."""

    path: Path
    name: str
    place: Place
    notes: list[str] = field(default_factory=list)  # what the listener must be told of it

    def named(self, text: str) -> str:
        """A message about the file, about the name instead."""
        return text.replace(str(self.path), self.name)


@asynccontextmanager
async def received(request: Request, place: Place, folder: Path, limit: int, patience: float) -> AsyncIterator[Upload]:
    """What a request with a place sends, in a file of `folder` that is gone afterwards.

    Raises ServiceError, among others for more than `limit` bytes, and for an upload that is slow (`_chunks`).
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        message = f"Content-Encoding: {encoding[:40]} is not decoded here; send the recording uncompressed"
        raise ServiceError(415, "content_encoding", message, {"Accept-Encoding": "identity"})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit + FRAME:
        raise _too_large(limit)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    with NamedTemporaryFile(dir=folder, prefix="upload-") as file:
        sink: _Sink
        if kind == b"multipart/form-data":
            sink = _Form(file, limit, options.get(b"boundary", b""))
        else:
            sink = _Raw(file, limit, request.query_params.get("name", ""))
        async for chunk in _chunks(request, patience):
            sink.write(chunk)
        sink.finish()
        file.flush()
        yield Upload(Path(file.name), safe_name(sink.name), place)


def safe_name(given: str) -> str:
    """The last part of a client's path, as one printable line."""
    name = PurePosixPath(given.replace("\\", "/")).name
    name = "".join(letter if letter.isprintable() else "_" for letter in name).strip()
    return name[-LONGEST_NAME:] or UNNAMED


async def skimmed(request: Request) -> None:
    """Read a body that is refused, if it is small: a client that still sends may not see the answer."""
    left = SKIMMED
    with suppress(TimeoutError):
        async with asyncio.timeout(SKIM_SECONDS):
            while left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def _chunks(request: Request, patience: float) -> AsyncIterator[bytes]:
    """The body as it comes; raises ServiceError when it comes too slowly, or is cut off.

    No pause may last `patience` seconds, and all together `patience` seconds and one for each LEAST_RATE bytes.
    """
    stream, size, begun = request.stream(), 0, time.monotonic()
    while True:
        lasted = time.monotonic() - begun
        try:
            chunk = await asyncio.wait_for(anext(stream, None), min(patience, patience + size / LEAST_RATE - lasted))
        except TimeoutError as error:
            lasted = time.monotonic() - begun
            message = f"the upload is too slow: {size:,} bytes in {lasted:.0f} s; send it without pauses, or compressed"
            raise ServiceError(408, "upload_stalled", message, {"Connection": "close"}) from error
        except ClientDisconnect as error:  # nobody reads the answer
            raise ServiceError(400, "upload_cut_off", "the upload was cut off; send it again") from error
        if chunk is None:
            return
        size += len(chunk)
        yield chunk


class _Sink(Protocol):
    name: str

    def write(self, chunk: bytes) -> None: ...

    def finish(self) -> None: ...


class _Raw:
    """A body that is the recording."""

    def __init__(self, file: IO[bytes], limit: int, name: str) -> None:
        self.name = name
        self._file, self._limit, self._size = file, limit, 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the recording."""
        self._size += len(chunk)
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._file.write(chunk)

    def finish(self) -> None:
        """Raise ServiceError where nothing came."""
        if not self._size:
            raise ServiceError(422, "empty_upload", "the body is empty; send the content of a file")


class _Form:
    """A form whose field `file` is the recording; other fields are refused, because options belong into the query."""

    def __init__(self, file: IO[bytes], limit: int, boundary: bytes) -> None:
        self.name = ""
        self._recording = _Raw(file, limit, "")
        self._limit, self._beside = limit, 0
        self._header, self._value, self._found, self._whole = b"", b"", False, False
        with _form_errors():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the form."""
        self._beside += len(chunk)
        if self._beside > self._limit + FRAME:
            raise _too_large(self._limit)
        with _form_errors():
            self._parser.write(chunk)

    def finish(self) -> None:
        """Raise ServiceError where the form has no end or no recording."""
        if not self._whole:
            raise _bad_form("it has no end")
        if not self._found:
            raise _bad_form("it has no field 'file'")
        self._recording.finish()

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode(errors="replace")
        if field.encode() != FIELD:
            raise _bad_form(f"it has a field {field!r}; send the recording as 'file', and options in the query")
        if self._found:
            raise _bad_form("it has several recordings; send one in each request")
        self._found = True
        self.name = options.get(b"filename", b"").decode(errors="replace")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._recording.write(data[start:end])

    def _on_end(self) -> None:
        self._whole = True


@contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise _bad_form(" ".join(str(error).split())) from error


def _bad_form(why: str) -> ServiceError:
    return ServiceError(400, "bad_form", f"the form cannot be read: {why}")


def _too_large(limit: int) -> ServiceError:
    message = f"the upload has more than {limit:,} bytes; send that of a shorter or compressed recording"
    return ServiceError(413, "too_large", message)
