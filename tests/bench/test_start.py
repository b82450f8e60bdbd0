"""Whole commands."""

import sys
import time
from pathlib import Path

import pytest

from sonopsis.bench.start import command, watch
from sonopsis.bench.timing import BenchError, Variant, measure


def test_help_does_without_torch() -> None:
    torch, peak = watch(["--help"])
    assert torch is False
    assert peak is None or 5 < peak < 150


def test_torch_is_seen_when_it_is_imported(tiny_model: Path, sounds: Path) -> None:
    """Otherwise the test above could not fail."""
    tag = ["tag", str(sounds / "deep" / "tone.flac"), "--model", str(tiny_model), "--engine", "torch"]
    assert watch(tag)[0] is True


def test_a_command_that_fails_is_told() -> None:
    assert watch(["info", "nowhere"]) == (None, None)
    line = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    failing = Variant("failing", "python", "", None, lambda: command(line))
    with pytest.raises(BenchError, match="failing: ValueError: it ended with status 1: no such thing"):
        measure([failing], rounds=1, warmup=0, isolated=False)


def test_time_is_that_of_the_whole_command() -> None:
    """At least what the command sleeps, at most what the test waited: bounds that hold on a busy machine."""
    lines = {seconds: [sys.executable, "-c", f"import time; time.sleep({seconds})"] for seconds in (0, 0.2)}
    variants = [Variant(f"{s}", "python", "", None, lambda line=line: command(line, 7.0)) for s, line in lines.items()]
    begun = time.perf_counter()
    nothing, slow = measure(variants, rounds=3, warmup=0, isolated=False)
    waited = time.perf_counter() - begun
    assert min(slow.seconds) >= 0.2
    assert 0 < sum(nothing.seconds + slow.seconds) <= waited
    assert (slow.peak_mib, slow.idle_mib) == (7.0, None)
