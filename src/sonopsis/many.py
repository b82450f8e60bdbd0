"""Many recordings, several at once, one for each core; results come in the order of the recordings.

Threads are used and not processes: decoding, the Mel front end and every engine release Python's lock while they
compute, and the model is in memory once.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sonopsis.audio import SAMPLE_RATE, LiveAudio, probe
from sonopsis.audio.source import Watched, source_name
from sonopsis.files import ModelError
from sonopsis.handover import Handover
from sonopsis.results import FileResult, Part, WindowResult

Recording = str | os.PathLike[str] | LiveAudio
Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # recordings begun per worker before the results of earlier ones are taken
HELD = 4096  # windows of a recording that wait for the results of earlier ones; its worker pauses beyond them


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parts_of(
    source: Recording,
    windows: Callable[[Recording], Iterable[WindowResult]],
    model: str,
    *,
    gaps: bool,
    declared: bool,
) -> Iterator[Part]:
    """The parts of one recording, of which `windows` gives the windows, with gaps or none, under a model's name.

    With `declared`, windows come with the duration that the recording declares, those of a pipe that is given by its
    path when it has ended. Raises AudioError.
    """
    path, seconds = _path(source), 0.0
    once = not isinstance(source, LiveAudio) and not os.path.isfile(source)  # a pipe given by its path
    whole = declared and once

    def watch(heard: float) -> None:
        nonlocal seconds
        seconds = heard

    length = _declared(source, gaps) if declared and not whole else math.nan
    head, held, end = FileResult(path, length, model), list[WindowResult](), 0.0
    for window in windows(Watched(path, watch) if once and gaps else source):
        end = window.end
        if whole:
            held.append(window)
        else:
            yield Part(head, window)
    if gaps and once:  # what came through a pipe cannot be opened again
        end = seconds
    elif gaps:  # windows without gaps end where the recording does
        end = source.heard if isinstance(source, LiveAudio) else probe(source).duration
    result = replace(head, duration=end)
    yield from (Part(result, window) for window in held)
    yield Part(result, None)


def is_stream(source: Recording) -> bool:
    """Whether a recording can be read once, as it comes: standard input, or a pipe that is given by its path."""
    return isinstance(source, LiveAudio) or (os.path.exists(source) and not os.path.isfile(source))


def _path(source: Recording) -> str:
    return source.path if isinstance(source, LiveAudio) else os.fspath(source)


def _declared(source: Recording, gaps: bool) -> float:
    """Seconds that a recording declares, as long as its windows will say it is; NaN if it does not declare it."""
    if isinstance(source, LiveAudio):
        rate, frames = source.rate, source.frames or math.nan
    else:
        info = probe(source)
        rate, frames = info.sample_rate, round(info.duration * info.sample_rate)
    if gaps or math.isnan(frames):
        return frames / rate
    return round(frames * SAMPLE_RATE / rate) / SAMPLE_RATE


def follow_many(
    follow: Callable[[Recording], Iterator[Part]],
    sources: Sequence[Recording],
    model: str,
    divide: Callable[[int], Callable[[], None]],
    *,
    workers: int | None = None,
) -> Iterator[Part]:
    """The parts of each source in turn, as they come; of one that fails, the last part has its error.

    `workers` recordings are described at once (None: one for each core). `divide` gives each call of `follow` so many
    cores from now on, and returns what undoes this. ModelError, which would be the same for every source, is raised.
    """

    def work(source: Recording) -> Iterator[Part]:
        try:
            yield from follow(source)
        except ModelError:
            raise
        except Exception as error:
            path = _path(source)
            yield Part(FileResult(path, 0.0, model, error=error_line(error, path)), None)

    if not sources:
        return
    wanted = cores() if workers is None else workers
    undo = divide(max(1, wanted // min(wanted, len(sources))))
    try:
        yield from side_by_side(work, sources, min(wanted, len(sources)))
    finally:
        undo()


def counted(results: Iterator[FileResult], files: int, progress: Callable[[int, int], object]) -> Iterator[FileResult]:
    """The results; `progress(done, files)` is called after each of them has been taken."""
    for done, result in enumerate(results, 1):
        yield result
        progress(done, files)


def error_line(error: Exception, name: str) -> str:
    """An error's text as one line that names the file; an error of a kind that is not expected is called internal."""
    name = source_name(name)
    lines = [line.strip() for line in str(error).splitlines()]
    text = " ".join(line for line in lines if line) or type(error).__name__
    if isinstance(error, ValueError) and str(error).startswith((name, "standard input")):
        return text
    if not isinstance(error, ValueError | OSError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    return f"{name}: {text}"


def side_by_side(stream: Callable[[Item], Iterable[Result]], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """What `stream` yields for each item, in the order of the items, `workers` streams at a time.

    A stream's errors are raised at their place. Only a few items ahead of the one whose results are taken are begun,
    and each is at most `HELD` results ahead, so memory is bounded.
    """
    if workers < 2 or len(items) < 2:
        for item in items:
            yield from stream(item)
        return

    def fill(item: Item, queue: Handover[Any]) -> None:
        try:
            for result in stream(item):
                if not queue.put(result):
                    return
            queue.put(_End())
        except BaseException as error:
            queue.put(_End(error))

    waiting: deque[Handover[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(Handover(HELD))
                pool.submit(fill, item, waiting[-1])
                if len(waiting) >= AHEAD * workers:
                    yield from _drained(waiting[0])
                    waiting.popleft()
            while waiting:
                yield from _drained(waiting[0])
                waiting.popleft()
        finally:
            for queue in waiting:
                queue.close()
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _End:
    """The end of a stream, and what ended it."""

    error: BaseException | None = None


def _drained(queue: Handover[Any]) -> Iterator[Any]:
    """What a worker puts into its queue, until its end."""
    while not isinstance(found := queue.get(), _End):
        yield found
    if found.error is not None:
        raise found.error
