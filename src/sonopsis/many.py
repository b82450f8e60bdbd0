"""Many recordings, several at once, one for each core; results come in the order of the recordings.

Threads are used and not processes: decoding, the Mel front end and every engine release Python's lock while they
compute, and the model is in memory once.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sonopsis.files import ModelError
from sonopsis.results import FileResult

Recording = str | os.PathLike[str]
Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # recordings begun per worker before the results of earlier ones are taken


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_many(
    describe: Callable[[Recording], FileResult],
    paths: Sequence[Recording],
    *,
    model: str,
    use_threads: Callable[[int], int],
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[FileResult]:
    """The results of `Model.describe_many`: `describe` of each path, or a result with its error, under a model's name.

    `use_threads` sets the threads that one call of `describe` computes with, and returns their number before.
    ModelError, which would be the same for every file, is raised.
    """

    def work(path: Recording) -> FileResult:
        try:
            return describe(path)
        except ModelError:
            raise
        except Exception as error:
            name = os.fspath(path)
            return FileResult(name, 0.0, model, error=error_line(error, name))

    if not paths:
        return
    wanted = cores() if workers is None else workers
    at_once = min(wanted, len(paths))
    threads = use_threads(max(1, wanted // at_once))
    try:
        for done, result in enumerate(in_order(work, paths, at_once), 1):
            yield result
            if progress is not None:
                progress(done, len(paths))
    finally:
        use_threads(threads)


def error_line(error: Exception, name: str) -> str:
    """An error's text as one line that names the file; an error of a kind that is not expected is called internal."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ValueError | OSError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    return text if isinstance(error, ValueError) and text.startswith((name, "standard input")) else f"{name}: {text}"


def in_order(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """`work` of each item, `workers` at a time, in the order of the items; its errors are raised at their place.

    Only a few items ahead of the last result that was taken are begun.
    """
    if workers < 2 or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
