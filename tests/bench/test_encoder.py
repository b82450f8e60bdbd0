"""Variants of the encoder: the same logits by every way, and a report by the command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonopsis.bench.encoder import make_work, merging_at_equal_macs, variants
from sonopsis.bench.peers import ReferenceTagger, TransformersWhisper, transformers_ast
from sonopsis.bench.weights import AST_NORM_EPS, Subject, find_subject, read_tagger, write_random
from sonopsis.checkpoints.ast_write import huggingface_state
from sonopsis.cost import encoder_macs
from sonopsis.encoder.config import PRESETS
from sonopsis.mel import mel_input
from sonopsis.pruning import uniform

TINY = {"width": 32, "depth": 4, "heads": 4, "frames": 128}
AST_NORMS = {"norm_eps": AST_NORM_EPS, "head_norm_eps": AST_NORM_EPS}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return write_random(replace(PRESETS["ast"], **TINY, **AST_NORMS), 7, tmp_path_factory.mktemp("ast") / "tiny")


@torch.inference_mode()
@pytest.mark.parametrize("rate", [1.0, 0.9, 0.7, 0.5])
@pytest.mark.parametrize("family", ["ast", "audiomae"])
def test_the_published_way_gives_our_logits(family: str, rate: float, tmp_path: Path) -> None:
    config = replace(PRESETS[family], **TINY)
    tagger = read_tagger(write_random(config, 7, tmp_path / family).path)
    mel, pruning = torch.randn(2, 128, 128), uniform(config.depth, rate)
    expected = tagger(mel, pruning)
    found = ReferenceTagger(tagger, pruning.keep if pruning else {})(mel)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    if rate < 1:
        assert (
            found - tagger(mel, None)
        ).abs().max() > 1e-2 * expected.abs().max()  # and not those of the unpruned model


def test_the_published_way_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    eat = read_tagger(write_random(replace(PRESETS["eat"], **TINY), 7, tmp_path / "eat").path)
    with pytest.raises(ValueError, match="pre-norm"):
        ReferenceTagger(eat, {})


@torch.inference_mode()
@pytest.mark.parametrize("stride", [16, 10])
def test_transformers_has_the_same_weights(stride: int, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    config = replace(PRESETS["ast"], **TINY, **AST_NORMS, stride=(stride, stride))
    tagger = read_tagger(write_random(config, 7, tmp_path / "ast").path)
    mel = torch.randn(2, 128, 128)
    expected = tagger(mel)
    for attention in ("sdpa", "eager"):
        found = transformers_ast(tagger, attention)(mel).logits
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


WHISPER = {**TINY, "frames": 130}


@torch.inference_mode()
@pytest.mark.parametrize("changes", [{}, {"pooling": "attention", "token_norm": False}], ids=str)
def test_whisper_of_transformers_and_the_published_way(changes: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    config = replace(PRESETS["whisper-tiny"], **WHISPER, **changes)
    tagger = read_tagger(write_random(config, 7, tmp_path / "whisper").path)
    for pooling in filter(None, [tagger.encoder.pooling]):
        pooling.score.weight.normal_()
    mel = torch.randn(2, 130, 80)
    expected = tagger(mel)
    ways = [TransformersWhisper(tagger, "sdpa"), TransformersWhisper(tagger, "eager"), ReferenceTagger(tagger, {})]
    for way in ways:
        torch.testing.assert_close(way(mel), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    pruning = uniform(4, 0.7)
    assert pruning is not None
    pruned = tagger(mel, pruning)
    found = ReferenceTagger(tagger, pruning.keep)(mel)
    torch.testing.assert_close(found, pruned, rtol=0, atol=1e-4 * expected.abs().max().item())
    assert ways[0](mel[:, :60]).shape == (2, 7)  # as if silence followed


def test_every_tensor_has_a_name_of_transformers(tiny: Subject) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers_ast(read_tagger(tiny.path))
    assert isinstance(theirs, transformers.ASTForAudioClassification)
    ours = huggingface_state(read_tagger(tiny.path).state_dict(), tiny.config, modern=True)
    assert ours.keys() == theirs.state_dict().keys()


@torch.inference_mode()
def test_attention_of_random_weights_is_not_flat(tiny: Subject) -> None:
    """Otherwise all patches score alike, and pruning would have nothing to rank."""
    tagger = read_tagger(tiny.path)
    x, _ = tagger.encoder.embed(torch.randn(1, 128, 128))
    weights, _ = ReferenceTagger(tagger, {})._attention(tagger.encoder.blocks[1], tagger.encoder.blocks[1].norm1(x))
    assert weights.max() > 4 / x.shape[1]


def test_merging_costs_what_topk_costs() -> None:
    config = PRESETS["ast"]
    for rate in (0.9, 0.7, 0.5):
        merging = merging_at_equal_macs(config, 1024, rate, 527)
        ours, theirs = (encoder_macs(config, 1024, p, 527).executed for p in (uniform(12, rate), merging))
        assert theirs == pytest.approx(ours, rel=0.02)
        assert merging.reduce == "merge" and len(merging.keep) == 11


def test_variants(tiny: Subject, tmp_path: Path) -> None:
    found = variants(make_work(tiny, 1, tmp_path), ["torch", "openvino"], [1.0, 0.7], ["float32", "bfloat16"], True)
    assert len({variant.name for variant in found}) == len(found)
    assert found[0].name == "transformers AST sdpa fp32"
    counted = {variant.name: variant.extra for variant in found}
    reference, ours = counted["published way fp32, keep 0.7"], counted["sonopsis openvino bf16, keep 0.7"]
    assert reference["macs_g"] == reference["macs_reference_g"] == ours["macs_reference_g"]
    assert ours["macs_g"] <= ours["macs_reference_g"]
    assert ours["tokens"] == [66, 66, 47, 34]  # 64 patches and 2 prefix tokens; 45 and 32 patches after blocks 1 and 2
    assert {v.precision for v in found if v.engine == "openvino"} == {"float32", "bfloat16"}


def test_work_is_what_the_front_end_gives(tiny: Subject, tmp_path: Path) -> None:
    work = make_work(tiny, 3, tmp_path)
    mel = np.load(work.mel)
    assert mel.shape == (3, 128, 128) and work.frames == 128 and work.batch == 3
    assert np.abs(mel[0] - mel[1]).max() > 0.1
    assert mel_input(np.zeros(16_000, np.float32), tiny.mel).shape == (1, 128, 128)


def test_work_of_other_lengths(tiny: Subject, tmp_path: Path) -> None:
    whisper = write_random(replace(PRESETS["whisper-tiny"], **WHISPER), 7, tmp_path / "whisper")
    work = make_work(whisper, 2, tmp_path, seconds=0.6)
    assert np.load(work.mel).shape == (2, 60, 80)
    found = {variant.name: variant.extra for variant in variants(work, ["torch"], [1.0, 0.7], ["float32"], True)}
    assert list(found)[:2] == ["transformers Whisper sdpa fp32", "transformers Whisper eager fp32"]
    assert found["transformers Whisper sdpa fp32"]["tokens"] == [65] * 4  # it pads the clip to the whole window
    assert found["published way fp32, keep 0.7"]["tokens"] == found["sonopsis torch fp32, keep 0.7"]["tokens"]
    assert found["sonopsis torch fp32, keep 0.7"]["tokens"] == [30, 30, 21, 15]
    with pytest.raises(ValueError, match=r"hears 1\.28 s at once"):
        make_work(tiny, 1, tmp_path, seconds=2.0)


def test_subjects(tiny: Subject, tmp_path: Path) -> None:
    found = find_subject(str(tiny.path), tmp_path)
    assert (found.config, found.mel, found.labels) == (tiny.config, tiny.mel, tiny.labels)
    assert find_subject("default", tmp_path).config.family == "whisper"
    with pytest.raises(ValueError, match="no such model folder"):
        find_subject("nowhere", tmp_path)
