"""The work of many requests on a few threads, one window at a time, so that a long recording never blocks short ones.

Each accepted request has a place; there are only so many. Of each, one step (a window) waits or is computed at a time,
and steps are taken in the order in which they were asked for.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sonopsis.serve.errors import ServiceError

Step = TypeVar("Step")
Result = TypeVar("Result")

SHARE = 0.1  # of the latest request in the running mean of how long one takes


class Desk:
    """A number of places and of threads; to be used from one event loop."""

    def __init__(self, places: int, workers: int) -> None:
        self.places = places
        self.taken = 0
        self.seconds = 1.0  # for which a request holds its place, a running mean
        self._pool = ThreadPoolExecutor(workers, "sonopsis-serve")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for a request while it is served; raises ServiceError where all are taken."""
        if self.taken >= self.places:
            wait = str(max(1, math.ceil(self.seconds)))
            message = f"all {self.places} places are taken; try again in {wait} s"
            raise ServiceError(429, "overloaded", message, {"Retry-After": wait})
        self.taken += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.taken -= 1
            self.seconds += SHARE * (time.monotonic() - begun - self.seconds)

    async def steps(self, iterator: Generator[Step, Any, Any]) -> AsyncIterator[Step]:
        """What a generator yields, computed by the threads; it is closed at the end, or when nobody wants the rest."""
        end: Any = object()
        future: Future[Step] | None = None
        try:
            while True:
                future = self._pool.submit(next, iterator, end)
                step = await asyncio.wrap_future(future)
                if step is end:
                    return
                yield step
        finally:
            if future is None:
                iterator.close()
            else:  # a step that nobody waits for any more may still be computed
                future.add_done_callback(lambda _: iterator.close())

    async def result(self, function: Callable[[], Result]) -> Result:
        """What a function returns, computed by one of the threads."""
        return await asyncio.wrap_future(self._pool.submit(function))

    def close(self) -> None:
        """Wait for what is computed, and end the threads."""
        self._pool.shutdown()
