"""The language models whose times are compared: each writes a whole caption, and each learns from the same ids."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from captioning_times import CAPTION, MODELS, PRETRAINED, learning, variants, writing

pytest.importorskip("transformers")
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", MODELS)
def test_a_caption_is_written_whole_and_learned(name: str) -> None:
    assert writing(name)() == CAPTION
    step = learning(name)
    assert 5 < step() == step() < 9  # about ln 1024 = 6.9: weights are drawn, and no step moves them


def test_the_smallest_is_the_baseline_and_the_pretrained_one_is_asked_for() -> None:
    assert [len(found) for found in variants(pretrained=False).values()] == [3, 3]
    for found in variants(pretrained=True).values():
        assert found[0].name.startswith(MODELS[0]) and found[-1].name.startswith(PRETRAINED)


def test_the_script_measures_in_other_processes() -> None:
    command = [sys.executable, "scripts/captioning_times.py", "--rounds", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 2 * len(MODELS) and all(row["median_ms"] > 0 for row in rows)
