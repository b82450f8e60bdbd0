"""The work of many requests on a few threads, one step at a time, so that a long recording never blocks short ones.

Each accepted request has a place; there are only so many. Of each, one step (a window, an answer) waits or is computed
at a time, and steps are taken in the order in which they were asked for. A request that ends before its work keeps its
place until the threads have left that work.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, TypeVar

from sonopsis.serve.errors import ServiceError

Step = TypeVar("Step")
Result = TypeVar("Result")

SHARE = 0.1  # of the latest request in the running mean of how long one takes


class Stopped(Exception):
    """Nobody waits for this work any more."""


class Place:
    """The place of one request: the work that is done there, and whether it is to stop."""

    def __init__(self) -> None:
        self.work: Generator[Any, None, None] | None = None
        self.step: Future[Any] | None = None  # the latest one of the work
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let the work end as soon as it can."""
        self._stopped.set()

    @property
    def left(self) -> bool:
        """Whether no thread will do anything for this request any more."""
        return self.work is None or getgeneratorstate(self.work) == GEN_CLOSED

    def go_on(self) -> None:
        """Raise Stopped in work that is to stop; for steps that take long, to be called again and again."""
        if self._stopped.is_set():
            raise Stopped("the request has ended")


class Desk:
    """A number of places and of threads; to be used from one event loop."""

    def __init__(self, places: int, workers: int) -> None:
        self.places = places
        self.taken = 0
        self.seconds = 1.0  # for which a request holds its place, a running mean
        self._pool = ThreadPoolExecutor(workers, "sonopsis-serve")
        self._leaving = set[asyncio.Task[None]]()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for a request until it and its work have ended; raises ServiceError where all are taken."""
        if self.taken >= self.places:
            wait = str(max(1, math.ceil(self.seconds)))
            message = f"all {self.places} places are taken; try again in {wait} s"
            raise ServiceError(429, "overloaded", message, {"Retry-After": wait})
        self.taken += 1
        begun, place = time.monotonic(), Place()
        try:
            yield place
        finally:
            place.stop()
            if place.left:
                self._free(begun)
            else:
                leaving = asyncio.get_running_loop().create_task(self._leave(place, begun))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def steps(self, place: Place, work: Generator[Step, None, None]) -> AsyncIterator[Step]:
        """What a generator yields, computed by the threads; the place closes it when nobody wants the rest."""
        end: Any = object()
        place.work = work
        while True:
            place.step = self._pool.submit(next, work, end)
            step = await asyncio.wrap_future(place.step)
            if step is end:
                return
            yield step

    async def result(self, function: Callable[[], Result]) -> Result:
        """What a function that takes no time to speak of returns, computed by one of the threads."""
        return await asyncio.wrap_future(self._pool.submit(function))

    async def close(self) -> None:
        """Wait for what is computed, and end the threads."""
        await asyncio.gather(*self._leaving)
        self._pool.shutdown()

    async def _leave(self, place: Place, begun: float) -> None:
        """Free a place when the threads have left its work: it is closed by one of them, which can take a while."""
        assert place.work is not None and place.step is not None
        await asyncio.gather(asyncio.wrap_future(place.step), return_exceptions=True)
        try:
            await asyncio.wrap_future(self._pool.submit(place.work.close))
        finally:
            self._free(begun)

    def _free(self, begun: float) -> None:
        self.taken -= 1
        self.seconds += SHARE * (time.monotonic() - begun - self.seconds)
