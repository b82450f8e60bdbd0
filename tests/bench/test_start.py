"""Whole commands."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sonopsis.bench.start import command, variants, watch
from sonopsis.bench.timing import BenchError, Variant, measure
from sonopsis.files import WEIGHTS
from sonopsis.folder import describe, write_description


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


def test_a_model_that_captions_is_measured_captioning_and_another_only_tagging(
    sounds: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("sonopsis.bench.start.watch", lambda line: asked.append(line) or (False, 1.0))
    captions = describe(tiny_model)
    write_description(tmp_path, replace(captions.config, connector=None, lm=None), captions.mel)
    (tmp_path / WEIGHTS).touch()
    clip = sounds / "deep" / "tone.flac"
    tag, caption = "sonopsis tag tone.flac, onnx", "sonopsis caption tone.flac, onnx"
    found = {str(model): [v.name for v in variants(str(model), clip, ["onnx"])] for model in (tiny_model, tmp_path)}
    first = ["python -c pass", "sonopsis --help"]
    assert found == {str(tiny_model): [*first, tag, caption], str(tmp_path): [*first, tag]}
    assert [line[0] for line in asked] == ["--help", "tag", "caption", "--help", "tag"]
