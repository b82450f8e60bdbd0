"""One model on every engine: the same predictions, the same errors, and no torch where none is needed."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import sonopsis
from sonopsis import lora
from sonopsis.engines import choice
from sonopsis.files import ModelError
from sonopsis.folder import DEFAULT_MODEL, describe
from sonopsis.graphs.names import STAMP, stamp
from sonopsis.graphs.write import write_graphs
from sonopsis.mamba2 import Mamba2LM
from sonopsis.mamba2.prepared import PreparedLM
from sonopsis.model import Request

EXAMPLES = Path(__file__).parents[2] / "examples"
# Largest difference of a score in [0, 1] from torch in float32, on recordings; docs/engines.md states these.
TOLERANCE = {("onnx", "float32"): 1e-5, ("openvino", "float32"): 1e-5, ("openvino", "bfloat16"): 0.1}


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with its graphs."""
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    sonopsis.load(tiny_model, engine="torch").export(folder, to="onnx")
    return folder


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_model_says_the_same_on_every_engine(exported: Path, sounds: Path, engine: str) -> None:
    theirs, ours = sonopsis.load(exported, engine="torch"), sonopsis.load(exported, engine=engine)
    assert ours.engine.name == engine
    for keep_rate in (1.0, 0.5):
        for name in ("noise.wav", "deep/tone.flac", "deep/silence.ogg"):
            request = Request(captions=True, top_k=6, keep_rate=keep_rate, embeddings=True)
            expected, found = (model.describe(sounds / name, request) for model in (theirs, ours))
            assert [window.caption for window in found.windows] == [window.caption for window in expected.windows]
            for window, other in zip(found.windows, expected.windows, strict=True):
                assert dict(window.labels or []) == pytest.approx(dict(other.labels or []), abs=1e-5)
                assert window.score == pytest.approx(other.score, abs=1e-4)
                np.testing.assert_allclose(window.embedding, other.embedding, atol=1e-5)


def test_a_prepared_model_captions_by_compiled_kernels(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts stay the same."""
    pytest.importorskip("numba")
    prepared = counted(monkeypatch)
    files = [str(EXAMPLES / name) for name in ("arrow.wav", "helicopter.ogg")] + [str(sounds / "noise.wav")]
    plain = sonopsis.load(engine="torch")
    said = [plain.caption(file)[0].text for file in files]
    assert prepared == []
    model = sonopsis.load(engine="torch")
    model.prepare()
    assert [model.caption(file)[0].text for file in files] == said
    assert [lm.kernels for lm in prepared] == ["numba"]


def test_kernels_leave_the_module_as_it_is(tiny_model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be trained after any number of captions, and they are those of its weights at the time."""
    prepared = counted(monkeypatch)
    model, unprepared = sonopsis.load(tiny_model, engine="torch"), sonopsis.load(tiny_model, engine="torch")
    model.prepare()
    lm = model.module.lm
    file = str(sounds / "noise.wav")
    before = model.caption(file)[0]
    assert model.module.lm is lm and all(parameter.requires_grad for parameter in lm.parameters())
    model.module(torch.as_tensor(model.mel(file)), torch.tensor([[1, 2]]))[0].sum().backward()
    torch.optim.SGD(lm.parameters(), lr=1.0).step()
    after, again = model.caption(file)[0], model.caption(file)[0]
    assert after == again != before
    unprepared.module.load_state_dict(model.module.state_dict())
    plain = unprepared.caption(file)[0]
    assert plain.text == after.text and plain.score == pytest.approx(after.score, abs=1e-4)
    lora.attach(lm)
    assert model.caption(file)[0] == plain  # by torch again, adapters and all
    assert len(prepared) == 2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[PreparedLM]:
    """The language models that are prepared from now on."""
    prepared: list[PreparedLM] = []
    prepare = Mamba2LM.prepare

    def noted(lm: Mamba2LM) -> PreparedLM:
        prepared.append(prepare(lm))
        return prepared[-1]

    monkeypatch.setattr(Mamba2LM, "prepare", noted)
    return prepared


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_encode_gives_the_same_tokens_and_stages(exported: Path, engine: str) -> None:
    mel = np.random.default_rng(0).standard_normal((2, 128, 128)).astype(np.float32)
    theirs, ours = sonopsis.load(exported, engine="torch"), sonopsis.load(exported, engine=engine)
    for keep_rate in (0.6, 1.0):
        expected, found = theirs.encode(mel, keep_rate=keep_rate), ours.encode(mel, keep_rate=keep_rate)
        np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-5)
        np.testing.assert_allclose(found.prefix, expected.prefix, atol=1e-5)
        np.testing.assert_array_equal(found.index, expected.index)
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_array_equal(found.size, expected.size)
        assert len(found.stages) == len(expected.stages)
        for stage, other in zip(found.stages, expected.stages, strict=True):
            np.testing.assert_array_equal(stage, other)
        assert found.grid == expected.grid
    np.testing.assert_allclose(ours.logits(torch.from_numpy(mel)), theirs.logits(mel), atol=1e-5)


def test_the_bundled_graphs_are_those_of_the_bundled_weights(tmp_path: Path) -> None:
    default = describe(DEFAULT_MODEL)
    weights = Path(shutil.copy(default.weights, tmp_path))
    for file in write_graphs(default.config, weights):
        ours, bundled = (
            onnx.load(folder / file.name, load_external_data=False).graph for folder in (tmp_path, DEFAULT_MODEL)
        )
        assert list(ours.node) == list(bundled.node), f"run scripts/write_graphs.py on the default model: {file.name}"
        for tensor, other in zip(ours.initializer, bundled.initializer, strict=True):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                assert tensor == other
            else:  # tables of sines differ in the last digit between machines
                np.testing.assert_allclose(
                    onnx.numpy_helper.to_array(tensor), onnx.numpy_helper.to_array(other), atol=1e-6
                )
    assert (tmp_path / STAMP).read_text() == (DEFAULT_MODEL / STAMP).read_text()


@pytest.mark.parametrize(("engine", "dtype"), TOLERANCE)
def test_the_default_model_scores_within_the_stated_tolerance(engine: str, dtype: str) -> None:
    theirs, ours = sonopsis.load(engine="torch"), sonopsis.load(engine=engine, dtype=dtype)
    for file in sorted(EXAMPLES.glob("*.*"))[:4]:
        mel = theirs.mel(str(file))
        expected, found = (1 / (1 + np.exp(-model.logits(mel))) for model in (theirs, ours))
        assert np.abs(found - expected).max() <= TOLERANCE[engine, dtype]


def test_tagging_and_captioning_with_graphs_import_no_torch(sounds: Path) -> None:
    program = (
        "import sys; from sonopsis.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    for verb in ("tag", "caption"):
        arguments = [verb, str(sounds / "noise.wav"), "--engine", "onnx", "-f", "json", "--keep-rate", "0.5"]
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        assert result["windows"] and result["windows"][0]["labels"]


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
    with pytest.raises(ModelError, match="sonopsis export"):
        sonopsis.load(tiny_model, engine="onnx")
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


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_folder_of_links_as_the_hubs_cache_has_them(exported: Path, engine: str, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    shutil.copytree(exported, tmp_path / "blobs")
    for file in exported.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(tmp_path / "blobs" / file.name)
    mel = np.random.default_rng(0).standard_normal((1, 128, 128)).astype(np.float32)
    expected, found = (sonopsis.load(folder, engine=engine).logits(mel) for folder in (exported, tmp_path / "snapshot"))
    np.testing.assert_array_equal(found, expected)


def test_eight_bit_weights_tag(exported: Path, tiny_model: Path, tmp_path: Path) -> None:
    sonopsis.load(tiny_model, engine="torch").export(tmp_path / "small", to="int8")
    ours = sonopsis.load(tmp_path / "small", engine="onnx", dtype="int8")
    mel = np.random.default_rng(0).standard_normal((2, 128, 128)).astype(np.float32)
    expected = sonopsis.load(exported, engine="onnx").logits(mel)
    found = ours.logits(mel)
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    with pytest.raises(ModelError, match="only tags"):
        ours.encode(mel)
    with pytest.raises(ModelError, match="--to int8"):
        sonopsis.load(exported, engine="onnx", dtype="int8").logits(mel)


def test_another_programs_weights_are_exported_in_float32(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=1, intermediate_size=96, max_length=64, num_labels=3
    )
    transformers.ASTForAudioClassification(config).save_pretrained(tmp_path / "ast")
    theirs = sonopsis.load(tmp_path / "ast")
    theirs.export(tmp_path / "ours", to="onnx")
    ours = sonopsis.load(tmp_path / "ours", engine="onnx")
    mel = np.random.default_rng(0).standard_normal((1, 64, 128)).astype(np.float32)
    for keep_rate in (1.0, 0.7):
        expected = theirs.logits(mel, keep_rate=keep_rate)
        np.testing.assert_allclose(ours.logits(mel, keep_rate=keep_rate), expected, atol=1e-5 * np.abs(expected).max())
