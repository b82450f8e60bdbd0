"""Work that threads hand over to a thread which Ctrl-C may interrupt anywhere.

`queue.Queue`, `Future.result` and `Condition` are written in Python. An interrupt between two of their lines, just
after one of them has taken its lock, leaves that lock taken for ever, and the process hangs. `SimpleQueue` is written
in C: taking something from it has either happened or has not.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Handover(Generic[Item]):
    """A queue from one thread to another, which holds at most `size` items."""

    def __init__(self, size: int) -> None:
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        for _ in range(size):
            self._room.put(None)

    def put(self, item: Item) -> bool:
        """Hand an item over as soon as there is room; False when nobody takes items any more."""
        self._room.get()
        if self._closed:
            self._room.put(None)
            return False
        self._items.put(item)
        return True

    def get(self) -> Item:
        """The next item, once it is there."""
        item = self._items.get()
        self._room.put(None)
        return item

    def close(self) -> None:
        """Take nothing any more; a thread that waits for room goes on."""
        self._closed = True
        self._room.put(None)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work` of each item, `workers` at a time, in the order of the items; errors, also those of `items`, are raised at
    their place.

    At most one item more than there are workers is taken before the first result of these is. What is being worked on
    when this generator is closed is ended, and its result is lost.
    """
    if workers < 2:
        yield from map(work, items)
    else:
        yield from _apart(work, items, workers)


def in_a_thread(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`work` of each item in a thread of its own, while this one waits; the next item is taken after it."""
    return _apart(work, items, 1, ahead=0)


def _apart(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int | None = None
) -> Iterator[Result]:
    ahead = workers if ahead is None else ahead
    tasks: SimpleQueue[tuple[Item, SimpleQueue[Any]] | None] = SimpleQueue()

    def worker() -> None:
        while (task := tasks.get()) is not None:
            item, answer = task
            try:
                answer.put((work(item), None))
            except BaseException as error:
                answer.put((None, error))
            del task, item, answer  # nothing is kept while the next one is waited for

    threads = [threading.Thread(target=worker, name="sonopsis-worker", daemon=True) for _ in range(workers)]
    waiting, source = deque[SimpleQueue[Any]](), iter(items)
    failed: Exception | None = None
    try:
        for thread in threads:
            thread.start()
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failed = error
                break
            waiting.append(SimpleQueue())
            tasks.put((item, waiting[-1]))
            if len(waiting) > ahead:
                yield _answer(waiting.popleft())
        while waiting:
            yield _answer(waiting.popleft())
    finally:
        _empty(tasks)
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join()
    if failed is not None:
        raise failed


def _answer(queue: SimpleQueue[Any]) -> Any:
    result, error = queue.get()
    if error is not None:
        raise error
    return result


def _empty(queue: SimpleQueue[Any]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        pass
