"""Our encoder against transformers' AST on the same random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sonopsis.encoder import Encoder, EncoderConfig, Head
from sonopsis.encoder.ast_keys import ast_config, from_huggingface

transformers = pytest.importorskip("transformers")


def tiny(**changes: object) -> Any:
    fields = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_length": 96,
        "frequency_stride": 16,
        "time_stride": 16,
        "num_labels": 5,
        "initializer_range": 0.3,  # sharp attention: a wrong row, head or position shows
    }
    return transformers.ASTConfig(**{**fields, **changes})


def saved(model: torch.nn.Module, folder: Path) -> tuple[EncoderConfig, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    for parameter in model.parameters():  # biases, norms and positions start as constants, which hide permutations
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    config = ast_config(json.loads((folder / "config.json").read_text()))
    return config, from_huggingface(load_file(folder / "model.safetensors"), config)


def part(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("stride", [(16, 16), (10, 10), (12, 8)])  # time, frequency
def test_logits_equal_transformers(implementation: str, stride: tuple[int, int], tmp_path: Path) -> None:
    theirs = transformers.ASTForAudioClassification._from_config(
        tiny(time_stride=stride[0], frequency_stride=stride[1]), attn_implementation=implementation
    ).eval()
    config, state = saved(theirs, tmp_path)
    encoder, head = Encoder(config).eval(), Head(config.width, 5, config.head_norm_eps)
    encoder.load_state_dict(part(state, "encoder."))
    head.load_state_dict(part(state, "head."))
    mel = torch.randn(2, 96, 128)
    with torch.inference_mode():
        expected = theirs(mel).logits
        for pooled_only in (False, True):
            logits = head(encoder.pool(encoder(mel, pooled_only=pooled_only)))
            assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_every_token_equals_transformers_at_its_grid_cell(tmp_path: Path) -> None:
    whole = transformers.ASTForAudioClassification(tiny()).eval()
    theirs = whole.audio_spectrogram_transformer
    config, state = saved(whole, tmp_path)
    encoder = Encoder(config).eval()
    encoder.load_state_dict(part(state, "encoder."))
    mel = torch.randn(2, 96, 128)
    with torch.inference_mode():
        expected = theirs(mel).last_hidden_state  # prefix, then frequency-major
        encoded = encoder(mel)
    time, frequency = encoded.grid
    assert (time, frequency) == (6, 8)
    bound = 1e-5 * expected.abs().max()
    assert (encoded.prefix - expected[:, :2]).abs().max() <= bound
    for t in range(time):
        for f in range(frequency):
            difference = encoded.tokens[:, t * frequency + f] - expected[:, 2 + f * time + t]
            assert difference.abs().max() <= bound


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = transformers.ASTForAudioClassification(tiny())
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    config = ast_config(model.config.to_dict())
    with pytest.raises(ValueError, match=r"unknown tensors.*decoder"):
        from_huggingface({**tensors, "decoder.weight": torch.zeros(1)}, config)
    del tensors["audio_spectrogram_transformer.layernorm.bias"]
    with pytest.raises(ValueError, match=r"layernorm\.bias' is missing"):
        from_huggingface(tensors, config)
