"""Places and threads: who ends a request before its work keeps its place until the threads have left that work."""

import asyncio
import threading
from collections.abc import Generator

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from sonopsis.serve.desk import Desk, Stopped
from sonopsis.serve.errors import ServiceError

PATIENCE = 60  # seconds


async def until_free(desk: Desk) -> None:
    async with asyncio.timeout(PATIENCE):
        while desk.taken:
            await asyncio.sleep(0.01)


def test_a_place_is_held_until_the_thread_has_left_the_work() -> None:
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    def work() -> Generator[int, None, None]:
        try:
            begun.set()
            go.wait(PATIENCE)
            yield 1
            yield 2
        finally:
            closed.set()

    async def first_step(desk: Desk) -> int:
        with desk.place() as place:
            return await anext(desk.steps(place, work()))

    async def run() -> None:
        desk = Desk(places=1, workers=1)
        request = asyncio.create_task(first_step(desk))
        await asyncio.to_thread(begun.wait, PATIENCE)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert desk.taken == 1 and not closed.is_set()
        with pytest.raises(ServiceError, match="all 1 places are taken"), desk.place():
            pass
        go.set()
        await until_free(desk)
        assert closed.is_set()
        await desk.close()

    asyncio.run(run())


def test_work_that_nobody_wants_to_the_end_is_closed() -> None:
    closed = threading.Event()

    def work() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    async def run() -> None:
        desk = Desk(places=1, workers=1)
        with desk.place() as place:
            assert await anext(desk.steps(place, work())) == 1
        await desk.close()
        assert closed.is_set() and desk.taken == 0

    asyncio.run(run())


def test_a_step_that_takes_long_hears_that_the_request_has_ended() -> None:
    begun, stopped = threading.Event(), threading.Event()

    async def run() -> None:
        desk = Desk(places=1, workers=1)
        with desk.place() as place:

            def work() -> Generator[int, None, None]:
                begun.set()
                try:
                    while not stopped.wait(0.01):
                        place.go_on()
                except Stopped:
                    stopped.set()
                yield 1

            step = asyncio.ensure_future(anext(desk.steps(place, work())))
            await asyncio.to_thread(begun.wait, PATIENCE)
            step.cancel()
        await until_free(desk)
        assert stopped.is_set()
        await desk.close()

    asyncio.run(run())


def test_what_ends_by_itself_frees_its_place_at_once() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no more")

    async def run() -> None:
        desk = Desk(places=1, workers=2)
        with pytest.raises(ValueError, match="no more"), desk.place() as place:
            assert [step async for step in desk.steps(place, failing())]
        assert desk.taken == 0
        with desk.place() as place:
            assert [step async for step in desk.steps(place, iter_of(3))] == [0, 1, 2]
        assert desk.taken == 0
        await desk.close()

    def iter_of(count: int) -> Generator[int, None, None]:
        yield from range(count)

    asyncio.run(run())
