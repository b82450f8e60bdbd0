"""Work side by side: order kept, errors at their place, nothing begun for nobody."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.many import AHEAD, cores, in_order


@given(st.lists(st.floats(0, 0.002), max_size=20), st.integers(1, 4))
def test_results_come_in_the_order_of_the_items(delays: list[float], workers: int) -> None:
    def work(item: tuple[int, float]) -> int:
        time.sleep(item[1])
        return item[0]

    assert list(in_order(work, list(enumerate(delays)), workers)) == list(range(len(delays)))


def test_workers_run_side_by_side() -> None:
    meeting = threading.Barrier(3)
    assert list(in_order(lambda _: meeting.wait(timeout=10) is not None, range(3), 3)) == [True] * 3


def test_an_error_is_raised_at_its_place_and_ends_the_work() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    results = in_order(work, range(100), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) < 100


def test_little_is_begun_before_results_are_taken() -> None:
    begun: list[int] = []
    results = in_order(begun.append, range(100), 2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 2 * AHEAD + 1
    results.close()  # type: ignore[attr-defined]


def test_there_is_a_core() -> None:
    assert cores() >= 1
