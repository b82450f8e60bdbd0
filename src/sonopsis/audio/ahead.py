"""Reading and computing at the same time: the next windows are decoded while one is described."""

import threading
from collections.abc import Generator
from typing import Any, TypeVar

from sonopsis.handover import Handover

Item = TypeVar("Item")


class _End:
    """The end of what a thread reads, and the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The items of a generator, of which a thread makes up to `count` before they are asked for.

    Its errors are raised at their place. When this generator is closed, the other one is closed before that returns.
    """
    queue: Handover[Any] = Handover(count)

    def fill() -> None:
        end = _End()
        try:
            for item in items:
                if not queue.put(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            items.close()
        queue.put(end)

    thread = threading.Thread(target=fill, name="sonopsis-read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(found := queue.get(), _End):
            yield found
        if found.error is not None:
            raise found.error
    finally:
        queue.close()
        thread.join()
