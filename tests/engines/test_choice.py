"""Which engine and precision a model gets, on processors of every kind."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sonopsis
from sonopsis.engines import choice
from sonopsis.files import ModelError
from sonopsis.graphs.names import STAMP, stamp
from sonopsis.processor import Processor

AVX2 = Processor("an old laptop", "AuthenticAMD", frozenset({"avx2"}))
AVX512 = Processor("a new server", "GenuineIntel", frozenset({"avx2", "avx512f", "avx512_bf16"}))


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, which captions, with its graphs, the one in int8 too."""
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    sonopsis.load(tiny_model, engine="torch").export(folder, to="int8")
    return folder


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, with every warning still to be given."""
    monkeypatch.setattr(choice, "_said", set())
    caplog.set_level(logging.INFO, logger="sonopsis")
    return caplog


def runs_on(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "processor", lambda: processor)


def lines(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.message for record in log.records if record.levelno == level]


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_precision_without_hardware_is_replaced_with_one_warning(
    exported: Path,
    engine: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
    warnings: pytest.LogCaptureFixture,
) -> None:
    runs_on(AVX2, monkeypatch)
    for _ in range(2):
        found = sonopsis.load(exported, engine=engine, dtype=precision).engine
    expected = sonopsis.load(exported, engine=engine).engine
    assert found.name == expected.name
    if engine == "torch":
        assert {str(p.dtype) for p in found.module.parameters()} == {"torch.float32"}  # type: ignore[attr-defined]
    else:
        assert found.precision == "float32"  # type: ignore[attr-defined]
    (line,) = lines(warnings, logging.WARNING)
    assert "an old laptop" in line and precision in line and "computing in float32" in line and "\n" not in line


def test_a_precision_with_hardware_is_kept(
    exported: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture
) -> None:
    runs_on(AVX512, monkeypatch)
    found = sonopsis.load(exported, dtype="bfloat16").engine
    assert (found.name, found.precision) == ("openvino", "bfloat16")  # type: ignore[attr-defined]
    found = sonopsis.load(tiny_model, dtype="bfloat16").engine
    assert {str(p.dtype) for p in found.module.parameters()} == {"torch.bfloat16"}  # type: ignore[attr-defined]
    assert lines(warnings, logging.WARNING) == []


def test_an_engine_that_was_named_refuses_what_it_cannot_compute(
    exported: Path, monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture
) -> None:
    runs_on(AVX2, monkeypatch)
    with pytest.raises(ValueError, match="float32 or int8, not 'bfloat16'"):
        sonopsis.load(exported, engine="onnx", dtype="bfloat16")
    assert lines(warnings, logging.WARNING) == []


@pytest.mark.parametrize(
    ("processor", "engine", "expected"),
    [
        (AVX2, "auto", ("onnx", "float32")),
        (AVX2, "openvino", ("openvino", "float32")),
        (AVX2, "onnx", ("onnx", "float32")),
        (AVX512, "auto", ("openvino", "bfloat16")),
        (AVX512, "openvino", ("openvino", "bfloat16")),
        (AVX512, "onnx", ("onnx", "float32")),
    ],
)
def test_the_fastest_precision_of_a_model_that_captions(
    exported: Path, processor: Processor, engine: str, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its graph in int8 only tags, so that it is not chosen."""
    runs_on(processor, monkeypatch)
    found = sonopsis.load(exported, engine=engine, dtype="auto").engine
    assert (found.name, found.precision) == expected  # type: ignore[attr-defined]


def test_the_precision_of_no_choice_is_float32(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_on(AVX512, monkeypatch)
    found = sonopsis.load(exported).engine
    assert (found.name, found.precision) == ("onnx", "float32")  # type: ignore[attr-defined]


def test_the_reason_is_logged_in_one_line(
    exported: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture
) -> None:
    runs_on(AVX2, monkeypatch)
    sonopsis.load(exported)
    sonopsis.load(tiny_model)
    sonopsis.load(exported, engine="torch")
    small, without, named = lines(warnings, logging.INFO)
    assert small.startswith("engine onnx in float32: ") and small.endswith("processor an old laptop with AVX2")
    assert without.startswith("engine torch in float32: ") and "has no graphs" in without
    assert "as asked for" in named


def test_auto_takes_graphs_if_they_can_be_run(
    exported: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert sonopsis.load(tiny_model).engine.name == "torch"  # no graphs
    assert sonopsis.load(exported).engine.name == "onnx"  # small
    assert sonopsis.load(exported, device="cpu").engine.name == "onnx"
    monkeypatch.setattr(choice, "installed", lambda engine: engine == "openvino")
    assert sonopsis.load(exported).engine.name == "openvino"
    monkeypatch.setattr(choice, "installed", lambda engine: False)
    with caplog.at_level(logging.WARNING):
        assert sonopsis.load(exported).engine.name == sonopsis.load(exported).engine.name == "torch"
    assert [record.message.count("sonopsis[openvino]") for record in caplog.records] == [1]  # once
    with pytest.raises(ValueError, match=r"pip install .*sonopsis\[openvino\]"):
        sonopsis.load(exported, engine="openvino")


def test_what_cannot_be_is_said_in_one_line(exported: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, torch, onnx, openvino"):
        sonopsis.load(exported, engine="tensorrt")
    with pytest.raises(ValueError, match="float32 or int8, not 'bfloat16'"):
        sonopsis.load(exported, engine="onnx", dtype="bfloat16")
    with pytest.raises(ValueError, match="computes on the CPU"):
        sonopsis.load(exported, engine="onnx", device="cuda")
    with pytest.raises(ValueError, match="not 'int3'"):
        sonopsis.load(exported, engine="torch", dtype="int3")
    with pytest.raises(ModelError, match="engine='torch'"):
        _ = sonopsis.load(exported, engine="onnx").module


def test_graphs_of_other_weights_are_refused(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    state = load_file(copy / "model.safetensors")
    save_file(dict(sorted({**state, "extra": torch.zeros(3)}.items())), copy / "model.safetensors")
    with pytest.raises(ModelError, match="other weights"):
        sonopsis.load(copy, engine="onnx")
    (copy / STAMP).write_text(json.dumps(stamp(copy / "model.safetensors")))
    (copy / "tag.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"tag\.onnx.*export the model again"):
        sonopsis.load(copy, engine="onnx").tag(0.1 * np.random.default_rng(0).standard_normal(16_000))
