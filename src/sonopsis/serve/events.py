"""POST /v1/events: what is heard in a long recording as server-sent events, while it is computed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from sonopsis.events import Joiner
from sonopsis.moments import Along, Timed, tells_times, timed
from sonopsis.results import Part, WindowResult
from sonopsis.serve.bodies import skimmed
from sonopsis.serve.errors import ServiceError
from sonopsis.serve.lacking import no_captions
from sonopsis.serve.openapi import ERRORS, RECORDING, STREAM
from sonopsis.serve.queries import EventQuery
from sonopsis.serve.service import Service, Serving

router = APIRouter(prefix="/v1")


@router.post("/events", openapi_extra=RECORDING, response_class=StreamingResponse, responses={**STREAM, **ERRORS})
async def events(request: Request, query: Annotated[EventQuery, Query()], service: Serving) -> StreamingResponse:
    """Hear a recording while it is computed: a `window` as soon as it is described, an `event` when a sound has ended.

    Events begin and end where the model's time axis says so (`end` has `"times": "axis"`); those of a model without one
    are windows of one label, joined (`"windows"`). The last one is `end`, or `error` if the rest of the recording
    cannot be described.
    """
    if query.captions and not service.model.engine.captions:
        service.authorise(request)
        await skimmed(request)
        raise no_captions(service.model)
    async with AsyncExitStack() as stack:
        upload = await stack.enter_async_context(service.upload(request))
        describe = partial(timed, service.model) if tells_times(service.model) else None
        parts = service.parts(upload, query.question(), declared=True, describe=describe)
        first = await _next(service, parts)  # what is wrong from the start is a status, not an event
        return _Held(_stream(service, first, parts, upload.notes), stack.pop_all(), service.settings.timeout)
    raise AssertionError("an exit stack hides no error")


class _Held(StreamingResponse):
    """A stream with what it needs, which is let go at its end, also when it never began, or nobody reads it."""

    def __init__(self, content: AsyncIterator[bytes], stack: AsyncExitStack, patience: float) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._content, self._stack, self._patience = content, stack, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                await asyncio.wait_for(send(message), self._patience)
            except TimeoutError as error:
                raise ClientDisconnect from error

        try:
            with suppress(ClientDisconnect):  # the server closes a connection whose answer has no end
                await super().__call__(scope, receive, send_in_time)
        finally:
            await self._stack.aclose()


async def _stream(service: Service, first: Part, parts: AsyncIterator[Part], notes: list[str]) -> AsyncIterator[bytes]:
    sounds, part, windows, said = _Sounds(), first, 0, 0
    try:
        while True:
            for note in notes[said:]:
                yield _event("warning", {"message": note})
            said = len(notes)
            if part.window is None:
                break
            windows += 1
            yield _event("window", part.window.to_dict())
            for found in sounds.take(part.window):
                yield _event("event", _sound(found))
            part = await _next(service, parts)
        for found in sounds.end():
            yield _event("event", _sound(found))
        times = "axis" if tells_times(service.model) else "windows"
        yield _event("end", part.result.head() | {"windows": windows, "times": times})
    except ServiceError as error:
        yield _event("error", error.to_dict())


class _Sounds:
    """Takes windows in the order of time, and gives the events of their stretches, where they have any, or of them."""

    def __init__(self) -> None:
        self._along, self._joiner = Along(), Joiner()

    def take(self, window: WindowResult) -> Iterator[WindowResult]:
        """The events that are certain now that there is this window."""
        for stretch in self._along.take(window) if isinstance(window, Timed) else [window]:
            yield from self._joiner.take(stretch)

    def end(self) -> Iterator[WindowResult]:
        """The events that the end of the recording ends."""
        for stretch in self._along.end():
            yield from self._joiner.take(stretch)
        yield from self._joiner.end()


async def _next(service: Service, parts: AsyncIterator[Part]) -> Part:
    async with service.in_time():
        return await anext(parts)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()


def _sound(found: WindowResult) -> dict[str, Any]:
    return {"start": found.start, "end": found.end} | found.to_dict()["labels"][0]
