"""Interleaved measurement, with real processes."""

import os
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from sonopsis.bench.timing import CAN_STOP, BenchError, Measured, Variant, measure, orders

# `prepare` must be importable by the child: partial(partial, function, ...) returns what calls function(...).


# In the child, a clock that only its calls move, by a quarter of a second for each step.
CLOCK = """(lambda now: (
    setattr(__import__("sys").modules["sonopsis.bench.child"], "perf_counter", lambda: now[0]),
    lambda: now.__setitem__(0, now[0] + 0.25 * {steps}),
)[1])([0.0])"""


def ticker(name: str, steps: int, **fields: object) -> Variant:
    return Variant(name, "clock", "float32", None, partial(eval, CLOCK.format(steps=steps)), **fields)  # type: ignore[arg-type]


def sleeper(name: str, seconds: float, **fields: object) -> Variant:
    return Variant(name, "clock", "float32", None, partial(partial, time.sleep, seconds), **fields)  # type: ignore[arg-type]


def test_processes_report_the_time_of_their_call_alone() -> None:
    """Without the start of the process, during which the clock of this test stands still."""
    fast, slow = measure([ticker("fast", 1), ticker("slow", 4)], rounds=10, warmup=1)
    assert [*fast.seconds, *slow.seconds] == [0.25] * 10 + [1.0] * 10
    assert fast.quantile(0.1) == fast.quantile(0.5) == 250


def test_time_is_the_clocks() -> None:
    """A real call takes at least as long as it sleeps; how much longer is the machine's business."""
    (measured,) = measure([sleeper("real", 0.01)], rounds=2)
    assert min(measured.seconds) >= 0.01


def test_times_are_for_one_unit() -> None:
    (measured,) = measure([ticker("four clips", 4, units=4)], rounds=10)
    assert measured.quantile(0) == measured.quantile(1) == 250


def test_every_round_runs_every_variant_once_in_a_new_order(tmp_path: Path) -> None:
    log: list[str] = []
    variants = [Variant(name, "list", "float32", None, partial(partial, log.append, name)) for name in "abc"]
    measure(variants, rounds=20, warmup=2, seed=3, isolated=False)
    rounds = [tuple(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert len(rounds) == 22
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len(set(rounds)) == 6  # every order occurs
    assert rounds == [tuple(order) for order in orders("abc", 22, seed=3)]
    assert rounds != [tuple(order) for order in orders("abc", 22, seed=4)]


def test_orders_favour_no_place() -> None:
    firsts = Counter(order[0] for order in orders("abcd", 4000, seed=0))
    assert all(900 < firsts[name] < 1100 for name in "abcd")


def test_each_variant_has_a_process_and_an_environment_of_its_own(tmp_path: Path) -> None:
    def variant(name: str) -> Variant:
        command = f"open({str(tmp_path / name)!r}, 'w').write(f'{{os.getpid()}} {{os.environ[\"GREETING\"]}}')"
        return Variant(
            name, "", "", None, partial(partial, exec, f"import os\n{command}"), environment={"GREETING": name}
        )

    measure([variant("one"), variant("two")], rounds=1, warmup=0)
    (pid_one, one), (pid_two, two) = ((tmp_path / name).read_text().split() for name in ("one", "two"))
    assert (one, two) == ("one", "two")
    assert len({pid_one, pid_two, str(os.getpid())}) == 3


SPIN = """
import threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
"""


@pytest.mark.skipif(not CAN_STOP or sys.platform != "linux", reason="reads /proc, and stops processes by signal")
def test_idle_processes_take_no_time(tmp_path: Path) -> None:
    """A library whose threads spin after work would slow down every other variant."""
    pid = tmp_path / "pid"
    code = f"{SPIN}\nimport os\nopen({str(pid)!r}, 'w').write(str(os.getpid()))"
    # it starts its spinning thread in its first call; then the others work
    spinning = Variant("spinning", "", "", None, partial(partial, exec, code, {}))
    watching = f"""
import time
def used():
    fields = open('/proc/' + open({str(pid)!r}).read() + '/stat').read().rsplit(')', 1)[1].split()
    return int(fields[11]) + int(fields[12])
before = used()
time.sleep(0.3)
if used() - before > 3: raise RuntimeError('it works while others are timed')
"""
    first = {seed: next(orders(["spinning", "watching"], 1, seed))[0] for seed in range(10)}
    seed = next(seed for seed in first if first[seed] == "spinning")
    watcher = Variant("watching", "", "", None, partial(partial, exec, watching, {}))
    measure([spinning, watcher], rounds=1, warmup=0, seed=seed)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux only")
def test_memory_is_the_peak_of_a_call_above_what_is_held_between_calls() -> None:
    variant = Variant("64 MiB", "", "", None, partial(partial, bytearray, 64 * 2**20))
    large, small = measure([variant, sleeper("nothing", 0)], rounds=2)
    assert above_idle(large) == pytest.approx(64, abs=8)
    assert above_idle(small) < 8


def above_idle(measured: Measured) -> float:
    assert measured.peak_mib is not None and measured.idle_mib is not None
    return measured.peak_mib - measured.idle_mib


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("prepare", [partial(int, "x"), partial(partial, int, "x")])
def test_an_error_names_its_variant(isolated: bool, prepare: object) -> None:
    bad = Variant("the bad one", "", "", None, prepare)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="the bad one: ValueError: invalid literal"):
        measure([sleeper("good", 0), bad], rounds=1, isolated=isolated)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(BenchError, match="dying: its process ended with status 7"):
        measure([Variant("dying", "", "", None, partial(partial, os._exit, 7))], rounds=1)


def test_what_a_library_prints_is_no_answer() -> None:
    (measured,) = measure([Variant("chatty", "", "", None, partial(partial, os.system, "echo hello"))], rounds=2)
    assert len(measured.seconds) == 2


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, -1)])
def test_rounds_are_checked(rounds: int, warmup: int) -> None:
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        measure([sleeper("a", 0)], rounds=rounds, warmup=warmup)


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        measure([sleeper("a", 0), sleeper("a", 0)])
