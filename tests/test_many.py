"""Work side by side: order kept, errors at their place, nothing begun for nobody."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonopsis import many
from sonopsis.audio import AudioError, LiveAudio, iter_windows, load_audio
from sonopsis.audio.source import source_name
from sonopsis.handover import in_order
from sonopsis.many import Recording, cores, error_line, is_stream, parts_of, side_by_side
from sonopsis.results import Part, WindowResult


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
    assert len(begun) <= 3
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_an_error_of_the_items_comes_after_the_results_before_it(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise AudioError("the rest is damaged")

    results = in_order(lambda item: item, items(), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(AudioError, match="damaged"):
        next(results)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_what_a_stream_is(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    os.mkfifo(tmp_path / "pipe")
    assert [is_stream(tmp_path / name) for name in ("a.wav", "pipe", "lost.wav")] == [False, True, False]
    assert is_stream(LiveAudio("-", "standard input", 16_000, 1, 0, iter(())))


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no paths of open files")
@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("hop", [0.5, 1.0, 1.2])
def test_a_pipe_is_read_once_also_when_windows_leave_gaps(tmp_path: Path, hop: float, declared: bool) -> None:
    def windows(source: Recording) -> Iterator[WindowResult]:
        return (WindowResult(found.start, found.end, []) for found in iter_windows(source, window=0.5, hop=hop))

    def parts(source: Recording) -> list[Part]:
        return list(parts_of(source, windows, "tiny", gaps=hop > 0.5, declared=declared))

    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(24_300), 8_000)  # 3.0375 s
    expected = parts(tmp_path / "a.wav")
    reader, writer = os.pipe()  # holds the whole recording
    os.write(writer, (tmp_path / "a.wav").read_bytes())
    os.close(writer)
    try:
        found = parts(f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert [part.window for part in found] == [part.window for part in expected]
    assert [part.result.duration for part in found[-1:]] == [3.0375]
    assert not declared or {part.result.duration for part in found} == {3.0375}


def test_there_is_a_core() -> None:
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_streams_come_one_after_the_other(workers: int) -> None:
    found = list(side_by_side(lambda item: (item * 10 + n for n in range(item)), range(5), workers))
    assert found == [item * 10 + n for item in range(5) for n in range(item)]


def test_a_stream_is_followed_while_it_goes() -> None:
    goes_on = threading.Event()

    def stream(item: int) -> Iterator[int]:
        yield item
        assert goes_on.wait(timeout=10)
        yield item + 1

    found = side_by_side(stream, [0, 10], 2)
    assert next(found) == 0  # before the stream can go on
    goes_on.set()
    assert list(found) == [1, 10, 11]


def test_a_stream_pauses_when_much_of_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "HELD", 3)
    made, begun, goes_on = list[int](), threading.Semaphore(0), threading.Event()

    def stream(item: int) -> Iterator[int]:
        if item == 0:
            yield -1
            assert goes_on.wait(timeout=10)
            return
        for n in range(50):
            made.append(n)
            begun.release()
            yield n

    found = side_by_side(stream, range(2), 2)
    next(found)
    for _ in range(4):  # three wait, and the worker holds one
        assert begun.acquire(timeout=10)
    time.sleep(0.05)
    assert len(made) == 4
    goes_on.set()
    assert list(found) == list(range(50))


def test_streams_that_wait_end_with_their_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "HELD", 1)
    before = set(threading.enumerate())  # other tests may have left threads that are not ours
    found = side_by_side(lambda item: iter(range(100)), range(4), 2)
    next(found)
    found.close()  # type: ignore[attr-defined]  # returns, although workers wait for room
    ours = set(threading.enumerate()) - before
    assert not [thread for thread in ours if thread.name.startswith("ThreadPoolExecutor")]


@pytest.mark.parametrize("name", ["li\nne.wav", "two  spaces.wav", " a.wav", "\u2028.wav"])
def test_an_error_is_one_line_that_names_the_file_once(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    with pytest.raises(AudioError) as found:
        load_audio(path)
    for error in (found.value, ValueError("is\n damaged"), RuntimeError("broken")):
        line = error_line(error, path)
        assert len(line.splitlines()) == 1 and line.count(".wav") == 1
        assert line.startswith(f"{source_name(path)}: ")
