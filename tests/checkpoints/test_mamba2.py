"""Folders in every layout, right and wrong."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.mamba2 import Mamba2LM

MakeLM = Callable[..., Mamba2LM]


def state_spaces(lm: Mamba2LM, folder: Path, *, head: bool = True, **changes: Any) -> Path:
    """A folder as the original authors publish them: a pickle of tensors and a config without sizes of the state."""
    folder.mkdir(exist_ok=True)
    config = lm.config
    fields = {
        "d_model": config.width,
        "d_intermediate": 0,
        "n_layer": config.depth,
        "vocab_size": config.token_count or config.vocab_size,
        "ssm_cfg": {"layer": "Mamba2", "d_state": config.state, "headdim": config.head_dim},
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 16 if config.token_count else 1,
        "tie_embeddings": config.tie_embeddings,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(fields))
    state = lm.state_dict()
    if head:
        state["lm_head.weight"] = lm.lm_head.weight.detach()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def same(lm: Mamba2LM, other: Mamba2LM, ids: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(other(ids), lm(ids), atol=1e-5, rtol=0)
    assert all(parameter.requires_grad for parameter in other.parameters())


@pytest.mark.parametrize("sizes", [{}, {"tie_embeddings": False, "groups": 2, "conv": 3, "norm_eps": 1e-6}])
def test_save_and_load(make_lm: MakeLM, ids: Tensor, tmp_path: Path, sizes: dict[str, object]) -> None:
    lm = make_lm(**sizes)
    lm.save(tmp_path / "model")
    other = Mamba2LM.load(tmp_path / "model")
    assert other.config == lm.config
    same(lm, other, ids)
    assert (other.lm_head.weight is other.backbone.embedding.weight) == lm.config.tie_embeddings


def test_saved_fields_are_state_spaces(lm: Mamba2LM, ids: Tensor, tmp_path: Path) -> None:
    """Without our own entry the config still says everything, read as a state-spaces config."""
    lm.save(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["sonopsis"]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    same(lm, Mamba2LM.load(tmp_path), ids)


@pytest.mark.parametrize("head", [True, False])
def test_state_spaces_layout(lm: Mamba2LM, ids: Tensor, tmp_path: Path, head: bool) -> None:
    same(lm, Mamba2LM.load(state_spaces(lm, tmp_path, head=head)), ids)


def test_padded_vocabulary_of_state_spaces(make_lm: MakeLM, ids: Tensor, tmp_path: Path) -> None:
    lm = make_lm(vocab_size=64, token_count=61)
    other = Mamba2LM.load(state_spaces(lm, tmp_path))
    assert (other.config.vocab_size, other.config.token_count) == (64, 61)
    same(lm, other, ids)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", [False, True])
def test_hugging_face_layout(make_lm: MakeLM, ids: Tensor, tmp_path: Path, tied: bool, shards: bool) -> None:
    """A folder written by transformers itself."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Mamba2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=16,
        state_size=8,
        n_groups=2,
        vocab_size=61,
        tie_word_embeddings=tied,
    )
    peer = transformers.Mamba2ForCausalLM(config).eval()
    peer.save_pretrained(tmp_path, max_shard_size="10KB" if shards else "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == shards
    lm = Mamba2LM.load(tmp_path)
    assert lm.config.tie_embeddings == tied and lm.config.groups == 2
    with torch.no_grad():
        torch.testing.assert_close(lm(ids), peer(ids).logits, atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", ["embedding", "embeddings"])
def test_both_names_of_the_embedding(lm: Mamba2LM, ids: Tensor, tmp_path: Path, name: str) -> None:
    lm.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state[f"backbone.{name}.weight"] = state.pop("backbone.embedding.weight")
    save_file(state, tmp_path / "model.safetensors")
    same(lm, Mamba2LM.load(tmp_path), ids)


def test_dtype_is_that_of_the_projections(lm: Mamba2LM, ids: Tensor, tmp_path: Path) -> None:
    lm.save(tmp_path)
    low = Mamba2LM.load(tmp_path, torch.bfloat16)
    mixer = low.backbone.layers[0].mixer
    assert mixer.in_proj.weight.dtype == low.lm_head.weight.dtype == torch.bfloat16
    assert mixer.A_log.dtype == mixer.dt_bias.dtype == low.backbone.norm_f.weight.dtype == torch.float32
    with torch.no_grad():
        expected = lm(ids)
        assert (low(ids) - expected).abs().max() < 0.3 * expected.std()
    assert len(low.generate(ids, max_new_tokens=3)[0][0].ids) == 3


def test_hybrids_are_refused(lm: Mamba2LM, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hybrid with attention in layers \[1\].*mamba2-2.7b"):
        Mamba2LM.load(state_spaces(lm, tmp_path, attn_layer_idx=[1]))


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "bamba", "attn_layer_indices": [1]},
        {"model_type": "granitemoehybrid", "layer_types": ["mamba", "attention"]},
        {"model_type": "zamba2", "layers_block_type": ["mamba", "hybrid"]},
    ],
)
def test_hybrids_of_transformers_are_refused_before_their_weights_are_read(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"hybrid with attention in layers \[1\]"):
        Mamba2LM.load(tmp_path)


def test_padded_vocabulary_of_hugging_face(make_lm: MakeLM, ids: Tensor, tmp_path: Path) -> None:
    """Their config hides how many rows are padding; the tokenizer in the folder tells, and they are never generated."""
    tokenizers = pytest.importorskip("tokenizers")
    lm = make_lm(tie_embeddings=False)
    with torch.no_grad():
        lm.lm_head.weight[55:] *= 20
    lm.save(tmp_path)
    fields = {"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 61, "state_size": 16}
    fields |= {"head_dim": 16, "n_groups": 1, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert Mamba2LM.load(tmp_path).config.token_count is None
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(53)}, "w0"))
    tokenizer.add_special_tokens(["<a>", "<b>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    other = Mamba2LM.load(tmp_path)
    assert other.config.token_count == 55
    assert other(ids)[:, -1].argmax(-1).max() >= 55
    assert max(other.generate(ids, max_new_tokens=20)[0][0].ids) < 55
    tokenizer.add_special_tokens([f"<{i}>" for i in range(7)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="ids up to 61"):
        Mamba2LM.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="not a tokenizer"):
        Mamba2LM.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ssm_cfg": {}}, "only Mamba2"),
        ({"ssm_cfg": {"layer": "Mamba2", "norm_before_gate": True}}, "norm_before_gate"),
        ({"ssm_cfg": {"layer": "Mamba2", "something_new": 3}}, "something_new"),
        ({"d_intermediate": 64}, "MLP"),
        ({"rms_norm": False}, "rms_norm"),
    ],
)
def test_unsupported_mathematics_is_refused(lm: Mamba2LM, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Mamba2LM.load(state_spaces(lm, tmp_path, **changes))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"time_step_limit": [0.01, 0.1]}, "time_step_limit"),
        ({"use_bias": True}, "use_bias"),
        ({"num_heads": 3}, "num_heads"),
        ({"model_type": "zamba2"}, "zamba2"),
    ],
)
def test_unsupported_hugging_face_models(lm: Mamba2LM, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    lm.save(tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 61, "state_size": 16, "head_dim": 16}
    rest = {"model_type": "mamba2", "n_groups": 1, "num_heads": 4, "time_step_limit": [0.0, math.inf]}
    (tmp_path / "config.json").write_text(json.dumps({**sizes, **rest}))
    Mamba2LM.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**sizes, **rest, **fields}))
    with pytest.raises(ValueError, match=words):
        Mamba2LM.load(tmp_path)


def test_every_wrong_key_is_listed(lm: Mamba2LM, tmp_path: Path) -> None:
    lm.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["backbone.layers.1.mixer.D"], state["backbone.norm_f.weight"]
    state["backbone.layers.0.mixer.x_proj.weight"] = torch.zeros(2)
    state["backbone.layers.2.mixer.A_log"] = torch.zeros(5)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError) as caught:
        Mamba2LM.load(tmp_path)
    for words in (
        "missing: backbone.layers.1.mixer.D, backbone.norm_f.weight",
        "unexpected: backbone.layers.0.mixer.x_proj.weight",
        "of another shape: backbone.layers.2.mixer.A_log (5,), not (4,)",
    ):
        assert words in str(caught.value)


def test_tie_that_does_not_hold(lm: Mamba2LM, tmp_path: Path) -> None:
    state_spaces(lm, tmp_path)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    state["lm_head.weight"] = state["lm_head.weight"] + 1
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="ties lm_head"):
        Mamba2LM.load(tmp_path)


def test_untied_without_a_head(make_lm: MakeLM, tmp_path: Path) -> None:
    lm = make_lm(tie_embeddings=False)
    lm.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["lm_head.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: lm_head\.weight"):
        Mamba2LM.load(tmp_path)


class Exploit:
    """What unpickling must never run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_nothing_is_unpickled(lm: Mamba2LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state_spaces(lm, tmp_path)
    torch.save({"x": Exploit()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="tensors"):
        Mamba2LM.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_missing_files(lm: Mamba2LM, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        Mamba2LM.load(tmp_path)
    lm.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors"):
        Mamba2LM.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        Mamba2LM.load(tmp_path)
