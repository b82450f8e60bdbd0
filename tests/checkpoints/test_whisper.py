"""Whisper checkpoints in each layout give the encoder of transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForAudioClassification, WhisperModel
from typer.testing import CliRunner

import sonopsis
from sonopsis.checkpoints import read_checkpoint
from sonopsis.cli.main import app
from sonopsis.encoder import Trace
from sonopsis.files import ModelError
from sonopsis.pruning import Pruning, uniform

Write = Callable[[dict[str, np.ndarray]], bytes]
SIZES = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "vocab_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "max_source_positions": 40,
    "max_target_positions": 8,
}


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """The module with every weight drawn, so that none is left at zero; the position table stays as it is."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if "embed_positions" not in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def mel(frames: int, bins: int = 80) -> Tensor:
    return torch.randn(2, frames, bins, generator=torch.Generator().manual_seed(1))


def assert_same_tokens(found: Tensor, wanted: Tensor) -> None:
    assert (found - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return drawn(WhisperModel(WhisperConfig(**SIZES)))


def openai(encoder: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors by the names of OpenAI's files."""
    names = {
        "layers.": "blocks.",
        "self_attn_layer_norm": "attn_ln",
        "final_layer_norm": "mlp_ln",
        "layer_norm": "ln_post",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.out",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
        "embed_positions.weight": "positional_embedding",
    }
    state = {}
    for name, tensor in encoder.state_dict().items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        state[f"encoder.{name}"] = tensor
    return state


def converted(encoder: torch.nn.Module) -> dict[str, np.ndarray]:
    """The tensors by CTranslate2's names, queries, keys and values stacked."""
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    found = {
        f"encoder/{part}/{kind}": state[f"{part}.{kind}"] for part in ("conv1", "conv2") for kind in ("weight", "bias")
    }
    found["encoder/position_encodings/encodings"] = state["embed_positions.weight"]
    norms = [("encoder/layer_norm", "layer_norm")]
    for layer in range(SIZES["encoder_layers"]):
        ours, theirs = f"encoder/layer_{layer}", f"layers.{layer}"
        q, k, v = (f"{theirs}.self_attn.{letter}_proj" for letter in "qkv")
        bias = [state[f"{q}.bias"], np.zeros_like(state[f"{q}.bias"]), state[f"{v}.bias"]]
        found[f"{ours}/self_attention/linear_0/weight"] = np.concatenate(
            [state[f"{part}.weight"] for part in (q, k, v)]
        )
        found[f"{ours}/self_attention/linear_0/bias"] = np.concatenate(bias)
        for own, their in (
            ("self_attention/linear_1", "self_attn.out_proj"),
            ("ffn/linear_0", "fc1"),
            ("ffn/linear_1", "fc2"),
        ):
            found |= {f"{ours}/{own}/{kind}": state[f"{theirs}.{their}.{kind}"] for kind in ("weight", "bias")}
        norms.append((f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm"))
        norms.append((f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm"))
    for ours, theirs in norms:
        found |= {f"{ours}/gamma": state[f"{theirs}.weight"], f"{ours}/beta": state[f"{theirs}.bias"]}
    return found


def quantised(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Matrices in int8 with a scale for each row, as CTranslate2 stores them."""
    found: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        if "linear" in name and name.endswith("weight"):
            scale = 127 / np.abs(values).max(axis=1)
            found[name] = np.round(values * scale[:, None]).astype(np.int8)
            found[f"{name}_scale"] = scale.astype(np.float32)
        else:
            found[name] = values
    return found


def test_transformers_folder(model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    found = read_checkpoint(tmp_path)
    assert found.labels == [] and found.config.frames == 80
    with torch.inference_mode():
        assert_same_tokens(found.encoder()(mel(80)).tokens, model.encoder(mel(80).transpose(1, 2)).last_hidden_state)


def test_a_short_clip_is_encoded_as_with_a_cropped_position_table(model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    cropped = drawn(WhisperModel(WhisperConfig(**SIZES | {"max_source_positions": 15}))).encoder
    with torch.inference_mode():
        wanted = cropped(mel(30).transpose(1, 2)).last_hidden_state
        assert_same_tokens(read_checkpoint(tmp_path).encoder()(mel(30)).tokens, wanted)


def test_openai_file(model: WhisperModel, tmp_path: Path) -> None:
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": openai(model.encoder)}, tmp_path / "tiny.pt")
    found = read_checkpoint(tmp_path / "tiny.pt", heads=SIZES["encoder_attention_heads"])
    with torch.inference_mode():
        assert_same_tokens(found.encoder()(mel(80)).tokens, model.encoder(mel(80).transpose(1, 2)).last_hidden_state)


@pytest.mark.parametrize(("stored", "error"), [("float32", 1e-5), ("float16", 2e-2), ("int8", 0.2)])
def test_ctranslate2_folder(model: WhisperModel, tmp_path: Path, stored: str, error: float, model_bin: Write) -> None:
    tensors = converted(model.encoder)
    if stored == "int8":
        tensors = quantised(tensors)
    elif stored == "float16":
        tensors = {name: values.astype(np.float16) for name, values in tensors.items()}
    (tmp_path / "model.bin").write_bytes(model_bin(tensors))
    found = read_checkpoint(tmp_path, heads=SIZES["encoder_attention_heads"])
    with torch.inference_mode():
        wanted = model.encoder(mel(80).transpose(1, 2)).last_hidden_state
        assert (found.encoder()(mel(80)).tokens - wanted).abs().max() <= error * float(wanted.abs().max())


@pytest.mark.parametrize("bins", [80, 128])
def test_a_classifier_tags_as_transformers_does(bins: int, tmp_path: Path) -> None:
    names = {"id2label": {0: "Dog", 1: "Rain", 2: "Bell"}, "label2id": {"Dog": 0, "Rain": 1, "Bell": 2}}
    classifier = drawn(WhisperForAudioClassification(WhisperConfig(**SIZES, **names, num_mel_bins=bins)))
    classifier.save_pretrained(tmp_path)
    loaded = sonopsis.load(tmp_path, engine="torch")
    assert loaded.labels == ["Dog", "Rain", "Bell"]
    with torch.inference_mode():
        wanted = classifier(mel(80, bins).transpose(1, 2)).logits.numpy()
    np.testing.assert_allclose(loaded.logits(mel(80, bins)), wanted, atol=1e-4)


def test_pruning_keeps_the_columns_that_get_most_attention(model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    encoder = read_checkpoint(tmp_path).encoder()
    with torch.inference_mode():
        encoded = encoder(mel(80), uniform(3, 0.5))
        x, _ = encoder.embed(mel(80))
        first = sorted(uniform(3, 0.5).keep)[0]
        for block in encoder.blocks[:first]:
            x = block(x)
        q, k, _ = encoder.blocks[first].attn.qkv(encoder.blocks[first].norm1(x)).chunk(3, dim=2)
        q, k = (part.view(2, 40, 4, 8).transpose(1, 2) for part in (q, k))
        received = (q @ k.transpose(2, 3) / 8**0.5).softmax(-1).mean(dim=(1, 2))
    assert encoded.tokens.shape[1] < 40
    for clip in range(2):
        assert set(encoded.stages[0][clip].tolist()) == set(received[clip].topk(20).indices.tolist())


def test_half_a_file_is_refused_in_one_line(model: WhisperModel, tmp_path: Path, model_bin: Write) -> None:
    data = model_bin(converted(model.encoder))
    for size in (5, 40, len(data) // 2):
        (tmp_path / "model.bin").write_bytes(data[:size])
        with pytest.raises(ModelError) as error:
            read_checkpoint(tmp_path, heads=4)
        assert "\n" not in str(error.value)


def test_other_positions_are_refused(model: WhisperModel, tmp_path: Path) -> None:
    state = openai(model.encoder)
    state["encoder.positional_embedding"] = state["encoder.positional_embedding"] + 1
    torch.save({"model_state_dict": state}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="sinusoids"):
        read_checkpoint(tmp_path / "odd.pt", heads=4)


def test_a_classifier_of_all_layers(tmp_path: Path) -> None:
    """Its tokens are sums of what enters the first layer and leaves each one, the last after the final norm."""
    theirs = drawn(WhisperForAudioClassification(WhisperConfig(**SIZES, num_labels=3, use_weighted_layer_sum=True)))
    theirs.save_pretrained(tmp_path)
    with torch.inference_mode():
        wanted = theirs(mel(80).transpose(1, 2)).logits.numpy()
    found = sonopsis.load(tmp_path, engine="torch").logits(mel(80))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("stored", [4, 2])
def test_a_converted_model_says_how_many_heads_it_has(
    stored: int, model: WhisperModel, tmp_path: Path, model_bin: Write
) -> None:
    tensors = converted(model.encoder) | {"encoder/num_heads": np.array(stored, np.int8)}
    (tmp_path / "model.bin").write_bytes(model_bin(tensors))
    assert read_checkpoint(tmp_path).config.heads == stored
    with pytest.raises(ModelError, match="heads do not fit"):
        read_checkpoint(tmp_path, heads=8)


@pytest.mark.parametrize("bins", [80, 128])
def test_the_command_tags_with_a_folder_and_its_feature_extractor(bins: int, tmp_path: Path) -> None:
    names = {"id2label": {0: "Dog", 1: "Rain", 2: "Bell"}, "label2id": {"Dog": 0, "Rain": 1, "Bell": 2}}
    config = WhisperConfig(**SIZES | {"max_source_positions": 50}, **names, num_mel_bins=bins)  # of 1 s
    classifier, extractor = drawn(WhisperForAudioClassification(config)), WhisperFeatureExtractor(bins, chunk_length=1)
    classifier.save_pretrained(tmp_path / "hf")
    extractor.save_pretrained(tmp_path / "hf")
    noise = 0.1 * np.random.default_rng(0).standard_normal(40_000)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000, subtype="FLOAT")
    result = CliRunner().invoke(
        app, ["tag", str(tmp_path / "noise.wav"), "--model", str(tmp_path / "hf"), "-f", "json"]
    )
    assert result.exit_code == 0, result.output
    windows = json.loads(result.stdout)[0]["windows"]
    assert [(window["start"], window["end"]) for window in windows] == [(0, 1), (1, 2), (2, 2.5)]
    for window in windows[:2]:  # the last one is padded there, and as long as it is here
        first = round(window["start"] * 16_000)
        heard = noise[first : first + 16_000].astype(np.float32)
        with torch.inference_mode():
            logits = classifier(extractor(heard, sampling_rate=16_000, return_tensors="pt").input_features).logits[0]
        wanted = dict(zip(["Dog", "Rain", "Bell"], logits.sigmoid().tolist(), strict=True))
        found = {label["label"]: label["score"] for label in window["labels"]}
        assert found == pytest.approx(wanted, abs=1e-5)


def test_another_feature_extractor_is_refused(tmp_path: Path) -> None:
    drawn(WhisperForAudioClassification(WhisperConfig(**SIZES))).save_pretrained(tmp_path)
    WhisperFeatureExtractor(128).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="'feature_size': 128"):
        read_checkpoint(tmp_path)


def test_info_counts_the_model(tmp_path: Path) -> None:
    theirs = drawn(WhisperForAudioClassification(WhisperConfig(**SIZES, num_labels=5)))
    theirs.save_pretrained(tmp_path / "hf")
    result = CliRunner().invoke(app, ["info", str(tmp_path / "hf"), "--json"])
    facts = json.loads(result.stdout)
    assert facts["family"] == "whisper" and len(facts["labels"]) == 5 and facts["window"] == 0.8
    tokens, width, hidden = 40, 32, 64  # by hand:
    stem = 80 * width * 80 * 3 + tokens * width * width * 3
    block = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden
    assert round(facts["macs_g"]["1.0"]["reference"] * 1e9) == round(stem + 3 * block + width * 5, -3)


@pytest.mark.parametrize("half", [False, True])
def test_a_folder_of_ours_is_the_same_model(half: bool, model: WhisperModel, tmp_path: Path, model_bin: Write) -> None:
    """Matrices of a file in float16 are stored so again, others in float32."""
    tensors = converted(model.encoder) | {"encoder/num_heads": np.array(4, np.int8)}
    if half:
        tensors = {name: array.astype(np.float16) if array.ndim else array for name, array in tensors.items()}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.bin").write_bytes(model_bin(tensors))
    (tmp_path / "theirs" / "config.json").write_text('{"suppress_ids": [1]}')
    ours = sonopsis.load(tmp_path / "theirs")
    ours.save(tmp_path / "ours")
    again = sonopsis.load(tmp_path / "ours")
    assert again.folder.config == ours.folder.config and again.folder.mel == ours.folder.mel
    assert np.array_equal(again.encode(mel(60)).tokens, ours.encode(mel(60)).tokens)
    stored = load_file(again.folder.weights)
    assert "encoder.positions" not in stored
    assert stored["encoder.stem.conv1.weight"].dtype == (torch.float16 if half else torch.float32)


def test_a_trace_shows_columns_of_all_bands(model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        encoded = read_checkpoint(tmp_path).encoder()(mel(60), uniform(3, 0.5))
    trace = Trace.of(encoded)
    assert trace.grid == (30, 1) and trace.counts == [15, 8, 4]
    image = trace.drawn(mel(60)[0].numpy())
    assert image.shape == (80, 60, 3)
    grey = (image.max(axis=2) == image.min(axis=2)).all(axis=0)  # (T,) what is left is grey, over all bands
    assert np.flatnonzero(grey[::2]).tolist() == sorted(encoded.stages[-1][0].tolist())
    assert len(trace.text().splitlines()) == 1 and trace.text().count("#") == 4


@pytest.mark.parametrize("reduce", ["topk", "fuse", "merge", "segment", "columns", "mass"])
@pytest.mark.parametrize("score", ["attention", "mean", "std", "random"])
@torch.inference_mode()
def test_every_rule_without_cls_prunes_columns(score: str, reduce: str, model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    encoder = read_checkpoint(tmp_path).encoder()
    plain, same = encoder(mel(80)), encoder(mel(80), Pruning({0: 1.0, 1: 1.0}, score, reduce))
    assert torch.equal(plain.tokens, same.tokens)
    pruning = Pruning({0: 0.7, 2: 0.6}, score, reduce)
    pruned, pooled = encoder(mel(80), pruning), encoder(mel(80), pruning, pooled_only=True)
    assert pruned.tokens.shape[1] < 40 and bool(pruned.tokens.isfinite().all())
    assert (encoder.pool(pruned) - encoder.pool(pooled)).abs().max() <= 1e-5


def test_without_a_cls_token_nothing_asks_it(model: WhisperModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="reads a CLS token"):
        read_checkpoint(tmp_path).encoder()(mel(80), Pruning({0: 0.5}, "cls"))
