"""One model on every engine: the same predictions, the same errors, and no torch where none is needed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import sonopsis
from sonopsis.encoder.config import whisper_config
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import ModelError
from sonopsis.folder import DEFAULT_MODEL, ModelConfig, describe
from sonopsis.graphs.names import STAMP
from sonopsis.graphs.write import write_graphs
from sonopsis.mel import whisper_front_end
from sonopsis.model import Request
from sonopsis.modules import save

EXAMPLES = Path(__file__).parents[2] / "examples"
# Largest difference of a score in [0, 1] from torch in float32, on recordings; docs/engines.md states these.
TOLERANCE = {("onnx", "float32"): 1e-5, ("openvino", "float32"): 1e-5, ("openvino", "bfloat16"): 0.1}


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


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_whisper_on_every_engine(pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(whisper_config(64, 4, 2, frames=200), pooling=pooling, token_norm=pooling == "mean")
    tagger = Tagger(config, 5)
    with torch.no_grad():
        for name, parameter in tagger.named_parameters():
            if "qkv.weight" in name or "pooling" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    save(tagger, tmp_path / "whisper", ModelConfig(list("abcde"), config), whisper_front_end(200))
    theirs = sonopsis.load(tmp_path / "whisper", engine="torch")
    theirs.export(tmp_path / "graphs", to="int8")
    engines = {
        name: sonopsis.load(tmp_path / "graphs", engine=engine, dtype=dtype)
        for name, engine, dtype in (("onnx", "onnx", None), ("openvino", "openvino", None), ("int8", "auto", "auto"))
    }
    assert (engines["int8"].engine.name, engines["int8"].engine.precision) == ("onnx", "int8")
    generator = np.random.default_rng(0)
    for frames, keep_rate in ((200, 1.0), (66, 0.7)):
        mel = generator.standard_normal((2, frames, 80)).astype(np.float32)
        expected, tokens = theirs.logits(mel, keep_rate=keep_rate), theirs.encode(mel, keep_rate=keep_rate)
        largest = np.abs(expected).max()
        for name, ours in engines.items():
            if name == "int8" and keep_rate < 1:  # other patches may survive, which changes more than rounding does
                continue
            close = 0.1 if name == "int8" else 1e-5
            np.testing.assert_allclose(ours.logits(mel, keep_rate=keep_rate), expected, atol=close * largest, rtol=0)
            if name != "int8":
                found = ours.encode(mel, keep_rate=keep_rate)
                np.testing.assert_allclose(found.tokens, tokens.tokens, atol=2e-5)
                np.testing.assert_allclose(found.prefix, tokens.prefix, atol=2e-5)
                np.testing.assert_array_equal(found.index, tokens.index)


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
