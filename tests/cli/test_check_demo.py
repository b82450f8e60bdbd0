"""The check of the demo finds what is missing from it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_demo.py"


def entry(**changes: Any) -> dict[str, Any]:
    window = {"start": 0.0, "end": 1.0, "status": "heard", "labels": [{"label": "dog", "score": 0.5}]}
    window |= {"caption": "a dog", "score": -1.0}
    return {
        "path": "a.wav",
        "duration": 1.0,
        "model": "default",
        "windows": [window | changes.pop("window", {})],
    } | changes


def check(results: list[dict[str, Any]], *expected: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *expected], input=json.dumps(results), capture_output=True, text=True
    )


def test_a_whole_demo_passes() -> None:
    unclear = {"status": "unclear", "labels": [], "caption": "An unclear sound."}
    done = check([entry(), entry(path="b.wav", window=unclear)], "a.wav", "b.wav")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "2 recordings, 2 windows described\n")


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "no result"),
        ([entry(error="broken")], "broken"),
        ([entry(windows=[])], "no windows"),
        ([entry(window={"end": 2.0})], "outside"),
        ([entry(window={"labels": []})], "no labels"),
        ([entry(window={"labels": [{"label": "dog", "score": None}]})], "no labels"),
        ([entry(window={"caption": ""})], "no caption"),
    ],
)
def test_what_is_missing_fails_and_is_named(results: list[dict[str, Any]], said: str) -> None:
    done = check(results, "a.wav")
    assert done.returncode == 1
    assert done.stderr.startswith("error: a.wav") and said in done.stderr
