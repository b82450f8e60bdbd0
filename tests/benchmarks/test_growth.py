"""One more token behind longer contexts: what the caches hold, and that a call leaves the peer's as it was."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

import growth
from growth import Shape, append, append_and_rewind, fill, read_prompt, transformer, variants
from sonopsis.bench.report import make_report, split
from sonopsis.bench.timing import measure

Script = Callable[..., CompletedProcess[str]]
TINY = Shape(width=64, depth=2, vocabulary=97)
IDS = torch.arange(growth.TOKENS)


def held(cache: Any) -> int:
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def test_every_variant_runs() -> None:
    pytest.importorskip("transformers")
    measured = measure(variants(TINY, [64, 16, 64], peers=True), rounds=1, isolated=False)
    report = make_report({}, measured, measured[0].variant.name)
    assert [(row["model"], row["context"]) for row in report.rows] == [
        ("sonopsis Mamba-2", 16),
        ("sonopsis Mamba-2", 64),
        ("transformer, growing cache", 16),
        ("transformer, growing cache", 64),
        ("transformer, preallocated cache", 16),
        ("transformer, preallocated cache", 64),
    ]
    sizes = [row["cache_mib"] for row in report.rows]
    assert sizes[0] == sizes[1] and sizes[3] == sizes[5] == 4 * sizes[2] == 4 * sizes[4]
    assert not any(str(split(report, row)) for row in report.rows)  # other contexts and models are other work


def test_our_cache_keeps_its_size_and_holds_what_was_read() -> None:
    decoder = read_prompt(TINY, 16)
    told = variants(TINY, [16])[0].extra["cache_mib"]
    before = decoder.cache.ssm.clone()
    for _ in range(3):
        logits = append(decoder, IDS)
        assert decoder.cache.nbytes == told * 2**20
    assert before.abs().sum() > 0 and not torch.equal(before, decoder.cache.ssm)
    assert logits.shape == (1, 97) and logits.isfinite().all()


@pytest.mark.parametrize("preallocated", [False, True])
def test_the_cache_of_the_peer_is_as_long_after_a_call(preallocated: bool) -> None:
    pytest.importorskip("transformers")
    lm = transformer(TINY, 16)
    cache = fill(lm, 16, preallocated)
    told = variants(TINY, [16], peers=True)[1].extra["cache_mib"]
    room = growth.TOKENS if preallocated else 0
    assert held(cache) * 16 / (16 + room) == told * 2**20
    first, second = (append_and_rewind(lm, cache, IDS).clone() for _ in range(2))
    assert int(cache.get_seq_length()) == 16
    assert held(cache) * 16 / (16 + room) == told * 2**20
    assert first.shape == (1, 1, 97) and first.isfinite().all()
    torch.testing.assert_close(first, second)


def test_both_caches_give_the_same_logits() -> None:
    pytest.importorskip("transformers")
    lm, found = transformer(TINY, 16), []
    for preallocated in (False, True):
        torch.manual_seed(1)
        found.append(append_and_rewind(lm, fill(lm, 16, preallocated), IDS))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_taking_tokens_out_copies_nothing() -> None:
    pytest.importorskip("transformers")
    lm = transformer(TINY, 16)
    cache = fill(lm, 16, preallocated=False)
    append_and_rewind(lm, cache, IDS)
    keys = cache.layers[0].keys
    assert keys.shape[2] == 16 and keys.untyped_storage().nbytes() == keys.nbytes * (16 + len(IDS)) // 16


def test_the_models_are_of_equal_size() -> None:
    pytest.importorskip("transformers")
    ours, _, theirs = variants(Shape(), [64], peers=True)
    assert ours.extra["parameters_m"] == 129.0
    assert theirs.extra["parameters_m"] == pytest.approx(129, rel=0.05)


def test_long_contexts_are_left_to_the_faster_cache() -> None:
    pytest.importorskip("transformers")
    found = [v.extra["model"] for v in variants(TINY, [2048, 2049], peers=True)]
    assert found.count(growth.GROWING) == 1 and found.count(growth.PREALLOCATED) == 2


@pytest.mark.parametrize("sizes", [{"width": 96}, {"depth": 3}])
def test_shapes_that_no_transformer_has(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a Transformer of equal size"):
        Shape(**sizes)


def test_the_script_measures_in_other_processes(script: Script) -> None:
    few = ("--context", 16, "--width", 64, "--depth", 2, "--rounds", 1)
    found = json.loads(script("growth", *few, "--json").stdout)
    (row,) = found["rows"]
    assert row["name"] == found["baseline"] == "sonopsis Mamba-2, 16 tokens" and row["median_ms"] > 0
    assert row["model"] == "sonopsis Mamba-2" and row["context"] == 16
    assert row["cache_mib"] > 0 and row["parameters_m"] > 3  # the vocabulary alone


@pytest.mark.slow
def test_the_table_beside_a_transformer(script: Script) -> None:
    pytest.importorskip("transformers")
    few = ("--context", 16, "--peers", "--width", 64, "--depth", 2, "--rounds", 1)
    heading, _, *rows = script("growth", *few, "--markdown").stdout.splitlines()[2:]
    assert "× baseline" in heading and heading.endswith("| context | cache MiB |") and "of which" not in heading
    assert [row.split(" | ")[0] for row in rows] == [
        "| sonopsis Mamba-2, 16 tokens",
        "| transformer, growing cache, 16 tokens",
        "| transformer, preallocated cache, 16 tokens",
    ]


def test_a_depth_that_no_transformer_has_is_one_line(script: Script) -> None:
    done = script("growth", "--depth", 3, status=1)
    assert "a Transformer of equal size has whole heads and layers" in done.stderr and done.stderr.count("\n") == 1
