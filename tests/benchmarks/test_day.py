"""The recording of a day, and what is checked of its results."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import day as bench


def test_a_day_has_sounds_pauses_and_its_length(tmp_path: Path) -> None:
    hours = 0.21  # 12.6 minutes
    minutes = list(bench.day(hours))
    assert sum(map(len, minutes)) == round(hours * 3600 * bench.RATE) and len(minutes) == 13
    assert any(not minute.any() for minute in minutes) and max(np.abs(minute).max() for minute in minutes) > 0.1
    again = list(bench.day(hours))
    assert all(np.array_equal(a, b) for a, b in zip(minutes, again, strict=True))
    bench.write(tmp_path / "day.flac", 0.02)
    assert soundfile.info(tmp_path / "day.flac").duration == pytest.approx(72.0)
    before = (tmp_path / "day.flac").stat().st_mtime_ns
    bench.write(tmp_path / "day.flac", 0.02)
    assert (tmp_path / "day.flac").stat().st_mtime_ns == before


def test_rows_are_in_order_and_reach_the_end(tmp_path: Path) -> None:
    cues = "WEBVTT\n\n00:00:00.000 --> 00:00:10.000\n[rain]\n\n24:00:00.000 --> 24:00:10.000\n[rain]\n\n"
    (tmp_path / "day.vtt").write_text(cues)
    row = "1\tSpectrogram 1\t1\t{}\t{}\t0\t8000\train\t0.5\tday.flac\t0.0\n"
    text = "header\n" + row.format("0.0", "10.0") + row.format("86400.000000", "86410.000000")
    (tmp_path / "day.selections.txt").write_text(text)
    assert bench.checked(tmp_path, 86_410.0) == (2, 2)
    with pytest.raises(ValueError, match="end before the recording does"):
        bench.checked(tmp_path, 86_420.0)
    (tmp_path / "day.selections.txt").write_text("header\n" + row.format("10.0", "86410.0") + row.format("0.0", "10.0"))
    with pytest.raises(ValueError, match="out of order"):
        bench.checked(tmp_path, 86_410.0)


@pytest.mark.slow
def test_a_short_day_is_described_from_beginning_to_end(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    hours = 0.02  # 72 s
    done = script("day", tmp_path, "--hours", hours)
    head, _, row = (line for line in done.stdout.splitlines() if line.startswith("|"))
    names, values = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, row))
    found = dict(zip(names, map(float, values), strict=True))
    assert found["hours"] == hours and found["x real time"] > 0 and found["peak MiB"] > 0
    whole = bench.checked(tmp_path / "out", hours * 3600)
    assert (found["cues"], found["selections"]) == whole
    assert soundfile.info(tmp_path / "day.flac").duration == pytest.approx(hours * 3600)
    script("day", tmp_path, "--hours", hours)  # the recording is there; the results are written anew
    assert bench.checked(tmp_path / "out", hours * 3600) == whole
