"""What the routes share: the model, the limits, and the way of a recording from a request to its parts."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from sonopsis.audio.source import Watched
from sonopsis.model import Model
from sonopsis.model import Request as Question
from sonopsis.request import Describe
from sonopsis.results import Part
from sonopsis.serve.bodies import Upload, received, skimmed
from sonopsis.serve.desk import Desk
from sonopsis.serve.errors import ServiceError
from sonopsis.serve.limits import check, errors_of, watched
from sonopsis.serve.metrics import Metrics
from sonopsis.serve.notes import Notes
from sonopsis.serve.settings import Settings

Step = TypeVar("Step")


@dataclass(frozen=True)
class Service:
    """The one model, its desk, the folder of temporary files, and what is known about requests."""

    model: Model
    settings: Settings
    desk: Desk
    folder: Path
    metrics: Metrics
    notes: Notes

    @asynccontextmanager
    async def upload(self, request: Request, limit: int | None = None) -> AsyncIterator[Upload]:
        """What a request with the key and a place sends, until it is answered; raises ServiceError.

        It may have `limit` bytes (None: as many as a recording).
        """
        limit = self.settings.max_bytes if limit is None else limit
        async with AsyncExitStack() as stack:
            try:
                self.authorise(request)
                place = stack.enter_context(self.desk.place())
                upload = await stack.enter_async_context(
                    received(request, place, self.folder, limit, self.settings.timeout)
                )
            except ServiceError:
                await skimmed(request)
                raise
            stack.enter_context(self.notes.of(upload))
            yield upload

    def authorise(self, request: Request) -> None:
        """Raise ServiceError for a request without the key, where there is one."""
        key = self.settings.api_key
        if key is None:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), key.encode()):
            message = "send the key of this service as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
            raise ServiceError(401, "unauthorised", message, {"WWW-Authenticate": "Bearer"})

    async def parts(
        self, upload: Upload, question: Question, *, declared: bool = False, describe: Describe | None = None
    ) -> AsyncIterator[Part]:
        """The windows of an upload as they are described, and its end, as `Model.follow`; raises ServiceError."""
        follow = partial(self.model.follow, request=question, declared=declared, describe=describe)
        async for part in self.heard(upload, follow):
            if part.window is None:
                self.metrics.audio.inc(part.result.duration)
            else:
                self.metrics.windows.inc()
            yield part._replace(result=replace(part.result, path=upload.name))

    async def heard(self, upload: Upload, hear: Callable[[Watched], Iterator[Step]]) -> AsyncIterator[Step]:
        """What `hear` yields about an upload, step by step, within the limits of a recording; raises ServiceError."""
        longest = self.settings.max_seconds

        def work() -> Generator[Step, None, None]:
            check(upload, longest)
            yield from hear(watched(upload, longest))

        async for step in self.worked(upload, work()):
            yield step

    async def worked(self, upload: Upload, work: Generator[Step, None, None]) -> AsyncIterator[Step]:
        """What a generator that works on an upload yields, computed by the threads; raises ServiceError."""
        with errors_of(upload):
            async for step in self.desk.steps(upload.place, work):
                yield step

    async def awaited(self, request: Request, steps: AsyncIterator[Step]) -> list[Step]:
        """All steps, while the client waits and the time limit allows; raises ServiceError."""
        found = []
        async with self.in_time():
            async for step in steps:
                if await request.is_disconnected():
                    raise ServiceError(499, "client_left", "the client did not wait for the answer")
                found.append(step)
        return found

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Raise ServiceError for a block that takes longer than the limit."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                yield
        except TimeoutError as error:
            message = f"no answer within {self.settings.timeout:g} s; send a shorter recording, or try again later"
            raise ServiceError(504, "timeout", message) from error


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]
