"""Variants of the language model: real processes on a tiny shape, bytes of a step, what rows are compared to."""

from pathlib import Path

import pytest

from sonopsis.bench.lm import Work, add_comparisons, find_lm, step_bytes, variants, works, write_random
from sonopsis.bench.timing import measure
from sonopsis.mamba2.config import Mamba2Config

TINY = Mamba2Config(32, 2, 64, state=16, head_dim=16)


def test_bytes_of_a_step() -> None:
    weights = 2 * 32 * (2 * 64 + 2 * 16 + 4 + 64) + 64 * 32
    state = 2 * (64 * 16 + 3 * 96)
    assert step_bytes(TINY, 3, "float32") == 4 * weights + 2 * 4 * 3 * state
    assert step_bytes(TINY, 3, "int8") == weights + 2 * 4 * 3 * state


def test_works_are_prompts_and_steps() -> None:
    assert [work.name for work in works([64, 512], [1])] == ["prefill 64", "prefill 512", "decode batch 1"]


@pytest.mark.slow
@pytest.mark.parametrize("work", [Work("prefill", 1, 8), Work("decode", 2, 1)])
def test_every_variant_runs(tmp_path: Path, work: Work) -> None:
    pytest.importorskip("transformers")
    found = variants(write_random(TINY, tmp_path), work, ["float32"], peers=True, threads=1)
    measured = measure(found, rounds=1, threads=1)
    assert [m.variant.name for m in measured] == [variant.name for variant in found]
    assert {"transformers", "torch", "plain torch", "onnx", "openvino"} <= {variant.engine for variant in found}


def test_rows_are_compared_to_the_floor() -> None:
    row = {"work": "decode batch 1", "engine": "torch", "precision": "int8", "batch": 1, "length": 1, "median_ms": 4.0}
    add_comparisons([row], TINY, read=step_bytes(TINY, 1, "int8") / 0.002)  # 2 ms
    assert row["over_floor"] == pytest.approx(2) and row["tokens_per_s"] == 250


def test_only_models_that_caption_have_one(tmp_path: Path) -> None:
    folder = find_lm("default", tmp_path)
    assert (folder / "step.onnx").is_file() and (folder / "config.json").is_file()
