"""Threads and Ctrl-C: whatever the moment of an interrupt, everything ends."""

import subprocess
import sys
import threading
from itertools import count

import pytest

from sonopsis.handover import Handover, in_a_thread

INTERRUPTED = """
import itertools, random, signal
from sonopsis.handover import in_a_thread, in_order
from sonopsis.many import side_by_side
from sonopsis.audio.ahead import read_ahead

signal.signal(signal.SIGALRM, signal.default_int_handler)  # as Ctrl-C does
made = {
    "side by side": lambda: side_by_side(itertools.repeat, range(2), 2),
    "in order": lambda: in_order(abs, itertools.count(), 2),
    "in a thread": lambda: in_a_thread(abs, itertools.count()),
    "ahead": lambda: read_ahead((n for n in itertools.count()), 4),
}
for name, make in made.items():
    for seed in range(100):
        results = make()
        next(results)  # all threads run
        try:
            signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(0.001, 0.004))
            for _ in results:
                pass
        except KeyboardInterrupt:
            pass
        results.close()
    print(name, flush=True)
"""


def test_an_interrupt_at_any_moment_ends_everything() -> None:
    """With `queue.Queue` and `Future.result` this hangs in most runs."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["side by side", "in order", "in a thread", "ahead"]


def test_a_handover_holds_so_many_items_and_a_closed_one_lets_go() -> None:
    queue: Handover[int] = Handover(2)
    taken: list[bool] = []

    def fill() -> None:
        for number in range(4):
            taken.append(queue.put(number))

    thread = threading.Thread(target=fill)
    thread.start()
    assert [queue.get(), queue.get()] == [0, 1]
    queue.close()
    thread.join(10)
    assert not thread.is_alive() and taken[:2] == [True, True] and len(taken) == 4


def test_in_a_thread_takes_the_next_item_after_the_result() -> None:
    begun: list[int] = []
    results = in_a_thread(begun.append, count())
    assert next(results) is None and begun == [0]
    assert next(results) is None and begun == [0, 1]


def test_errors_are_raised_at_their_place() -> None:
    results = in_a_thread(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
