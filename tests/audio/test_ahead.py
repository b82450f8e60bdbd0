"""What a thread makes before it is asked for: the same items, errors in their place, and nothing left behind."""

import threading
import time
from collections.abc import Generator
from itertools import islice

import pytest

from sonopsis.audio.ahead import read_ahead


class Source:
    """Numbers, of which it is known how many were made, and whether the generator was closed."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made = 0
        self.closed = False

    def items(self) -> Generator[int, None, None]:
        try:
            for n in range(self.count):
                self.made += 1
                yield n
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def threads() -> int:
    return sum(thread.name == "sonopsis-read-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_items_are_the_same(count: int) -> None:
    source = Source(count)
    assert list(read_ahead(source.items(), 2)) == list(range(count))
    assert source.closed and threads() == 0


def test_a_few_are_made_before_they_are_asked_for_and_no_more() -> None:
    source = Source(50)
    ahead = read_ahead(source.items(), 2)
    assert source.made == 0  # nothing is read of what nobody wants
    assert next(ahead) == 0
    for _ in range(1000):
        if source.made == 4:  # one was taken, two wait, and one waits for room
            break
        time.sleep(0.001)
    time.sleep(0.02)
    assert source.made == 4
    ahead.close()


def test_an_error_comes_after_what_was_made_before_it() -> None:
    for error in (ValueError("is damaged"), KeyboardInterrupt()):
        found = []
        with pytest.raises(type(error)):
            for item in read_ahead(Source(3, error).items(), 2):
                found.append(item)
        assert found == [0, 1, 2] and threads() == 0


def test_nothing_is_left_behind_when_no_more_is_wanted() -> None:
    source = Source(50)
    ahead = read_ahead(source.items(), 2)
    assert list(islice(ahead, 3)) == [0, 1, 2]
    ahead.close()
    assert source.closed and threads() == 0
