"""The training steps that are compared: the same work, and gradients for what is said to be trained."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from sonopsis.bench.report import make_report, split
from sonopsis.bench.timing import Measured
from train_step import Shape, sonopsis_step, transformers_step, variants

Script = Callable[..., CompletedProcess[str]]
TINY = Shape(width=64, depth=2, vocabulary=97, batch=2, length=17, caption=5)


@pytest.mark.parametrize("targets", [(), ("in_proj",)])
def test_both_learn_from_the_same_loss(targets: tuple[str, ...]) -> None:
    pytest.importorskip("transformers")
    if targets:
        pytest.importorskip("peft")
    ours, theirs = sonopsis_step(TINY, targets), transformers_step(TINY, targets)
    assert ours() == pytest.approx(theirs(), rel=1e-5)
    assert ours() == pytest.approx(theirs(), rel=1e-5)  # nothing has moved, nothing is left over


def test_the_baseline_comes_first() -> None:
    assert [v.name for v in variants(TINY, peers=True)] == [
        "transformers, all parameters",
        "transformers, LoRA r=8 on in_proj",
        "sonopsis, all parameters",
        "sonopsis, LoRA r=8 on in_proj",
        "sonopsis, LoRA r=8 on in_proj and out_proj",
    ]
    assert [v.name for v in variants(TINY, ["lora"])] == [
        "sonopsis, LoRA r=8 on in_proj",
        "sonopsis, LoRA r=8 on in_proj and out_proj",
    ]


def test_what_a_speed_up_is_made_of() -> None:
    measured = [Measured(v, ((1 + i) / 10,), None, None) for i, v in enumerate(variants(TINY, ["lora"], peers=True))]
    report = make_report({}, measured, measured[0].variant.name)
    assert [str(split(report, row)) for row in report.rows] == ["", "0.50 (sonopsis)", "0.33 (sonopsis)"]


@pytest.mark.parametrize("caption", [0, 17])
def test_captions_that_do_not_fit(caption: int) -> None:
    with pytest.raises(ValueError, match="tokens"):
        Shape(length=17, caption=caption)


def test_the_script_measures_in_other_processes(script: Script) -> None:
    few = ("--width", 64, "--depth", 1, "--batch", 2, "--length", 12, "--caption", 4, "--rounds", 1)
    found = json.loads(script("train_step", "--trained", "all", *few, "--json").stdout)
    (row,) = found["rows"]
    assert row["name"] == found["baseline"] == "sonopsis, all parameters" and row["median_ms"] > 0
    assert (row["batch"], row["length"], row["caption"]) == (2, 12, 4)


def test_a_caption_that_does_not_fit_is_one_line(script: Script) -> None:
    done = script("train_step", "--length", 20, status=1)
    assert "needs more tokens before it" in done.stderr and done.stderr.count("\n") == 1
