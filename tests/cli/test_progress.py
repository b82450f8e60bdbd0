"""How far a run is: what is counted, and what a terminal shows, with a real one."""

import io
import math
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.audio import declared_duration
from sonopsis.cli.progress import Course, progress
from sonopsis.results import FileResult, Part, WindowResult


def part(path: str, end: float | None, duration: float = 100.0, error: str | None = None) -> Part:
    result = FileResult(path, duration, "m", error=error)
    return Part(result, None if end is None else WindowResult(end - 10.0, end))


def test_recordings_and_shares_of_recordings_are_counted() -> None:
    now = iter([0.0, 2.0, 4.0, 10.0])
    course = Course(2, lambda result: 40.0, lambda: next(now))
    assert course.done == 0.0
    course.take(part("a.wav", 10.0))
    assert course.done == 0.25 and course.speed == "5.0 x real time"
    course.take(part("a.wav", 50.0))  # longer than it said
    assert course.done == 1.0 and course.speed == "12 x real time"
    course.take(part("a.wav", None))
    assert course.done == 1.0 and (course.ended, course.heard) == (1, 100.0)
    course.take(part("b.wav", None, 0.0, error="b.wav: is damaged"))
    assert course.done == 2.0 and course.speed == "10 x real time"


def test_the_time_of_a_recording_that_fails_later_counts_as_heard() -> None:
    course = Course(1, lambda result: None)
    course.take(part("a.wav", 30.0))
    assert course.done is None  # nobody knows how long it lasts
    course.take(part("a.wav", None, 0.0, error="a.wav: is damaged"))
    assert (course.done, course.heard) == (1.0, 30.0)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_16"), ("a.ogg", "VORBIS")])
def test_what_recordings_say_of_their_length(tmp_path: Path, name: str, subtype: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(33_075), 22_050, subtype=subtype)
    assert declared_duration(tmp_path / name) == pytest.approx(1.5)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_opened_again_for_its_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(1, quiet=False, results_on_terminal=False) as take:
        window = part(str(tmp_path / "pipe"), 10.0, math.nan)
        taking = threading.Thread(target=take, args=(window,), daemon=True)  # whoever opens a pipe waits for a writer
        taking.start()
        taking.join(timeout=30)
        assert not taking.is_alive()


def on_terminal(command: list[str]) -> str:
    """What a command writes to a terminal that is its standard error."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=os.environ | {"TERM": "xterm"}) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                more = os.read(master, 4096)
            except OSError:  # the other side was closed
                break
            if not more:
                break
            shown += more
        process.communicate()
    os.close(master)
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_speed_and_time_left(tiny_model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(200 * 16_000), 16_000)
    command = [sys.executable, "-m", "sonopsis", "tag", str(tmp_path / "a.wav"), "--model", str(tiny_model)]
    shown = on_terminal([*command, "-f", "csv"])
    assert "x real time" in shown and "left" in shown and "1/1 files" in shown
    assert "real time" not in on_terminal([*command, "-f", "csv", "--quiet"])
