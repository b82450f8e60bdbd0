"""The language models whose times are compared: each writes a whole caption, and each learns from the same ids."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from rivals import CAPTION, MODELS, SMOLLM2, learning, variants, writing

pytest.importorskip("transformers")
Script = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize("name", MODELS)
def test_a_caption_is_written_whole_and_learned(name: str) -> None:
    assert writing(name)() == CAPTION
    step = learning(name)
    assert 5 < step() == step() < 9  # about ln 1024 = 6.9: weights are drawn, and no step moves them


def test_the_smallest_is_the_baseline_and_the_pretrained_one_is_asked_for() -> None:
    assert [len(found) for found in variants(pretrained=False).values()] == [3, 3]
    for found in variants(pretrained=True).values():
        assert found[0].name.startswith(MODELS[0]) and found[-1].name.startswith(SMOLLM2)


def test_the_script_measures_in_other_processes(script: Script) -> None:
    rows = json.loads(script("rivals", "--rounds", 1, "--json").stdout)["rows"]
    assert len(rows) == 2 * len(MODELS) and all(row["median_ms"] > 0 for row in rows)
