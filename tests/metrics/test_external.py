"""Metrics of other programs: their values where they run, one line on what is missing where they do not."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from sonopsis.metrics.external import score_elsewhere

CAPTIONS = ["a dog barks twice", "rain falls on a roof"]
REFERENCES = [["a dog is barking", "the dog barks loudly"], ["rain falls on a roof"]]


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java
    found = score_elsewhere(CAPTIONS, REFERENCES, 1.0)
    assert list(found) == ["meteor", "spice", "spider", "fense"]
    assert "needs Java" in str(found["meteor"])
    assert found["spider"] == found["spice"] and str(found["spice"]).startswith("not computed: ")
    if find_spec("aac_metrics") is None:
        assert "aac-metrics" in str(found["fense"])
    assert all("\n" not in str(value) for value in found.values())


@pytest.mark.slow
def test_meteor_runs_where_java_does() -> None:
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("there is no Java")
    good, bad = (score_elsewhere(some, REFERENCES, 1.0)["meteor"] for some in (CAPTIONS, CAPTIONS[::-1]))
    assert isinstance(good, float) and isinstance(bad, float) and 1 >= good > 0.3 > bad >= 0
