"""Mamba-2 models in folders: the layouts of state-spaces, of Hugging Face, and our own, which extends the first.

    state-spaces   config.json with d_model, n_layer, ssm_cfg ...; pytorch_model.bin or model.safetensors
    Hugging Face   config.json with model_type "mamba2", hidden_size ...; model.safetensors, perhaps in shards
    ours           state-spaces' fields, `Mamba2Config` under "sonopsis"; model.safetensors

Weights are never unpickled beyond plain tensors.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sonopsis.checkpoints.tensors import read_tensors
from sonopsis.files import CONFIG, TOKENIZER, WEIGHTS, read_json, weight_files
from sonopsis.mamba2.adapters import adapter_names
from sonopsis.mamba2.config import Mamba2Config
from sonopsis.unfilled import unfilled

if TYPE_CHECKING:
    from sonopsis.mamba2.model import Mamba2LM

PROJECTIONS = ("in_proj.weight", "out_proj.weight", "embedding.weight", "embeddings.weight", "lm_head.weight")

# What the fields of an ssm_cfg must be for this implementation to be right, and those that only concern training.
SSM_FIXED = {
    "layer": "Mamba2",
    "bias": False,
    "conv_bias": True,
    "rmsnorm": True,
    "norm_before_gate": False,
    "D_has_hdim": False,
    "d_ssm": None,
    "dt_limit": (0.0, math.inf),
    "activation": "swish",
}
SSM_FREE = ("dt_min", "dt_max", "dt_init_floor", "A_init_range", "conv_init", "chunk_size", "use_mem_eff_path")


def load(folder: str | Path, dtype: torch.dtype = torch.float32) -> "Mamba2LM":
    """Read a model; see `Mamba2LM.load`."""
    from sonopsis.mamba2.model import Mamba2LM

    path = Path(folder)
    fields = read_json(path / CONFIG)
    _refuse_hybrids(fields, path)
    state = read_weights(path)
    config = parse_config(fields, state, path)
    _check_tied(config, state, path)
    with unfilled():
        model = Mamba2LM(config)
    for name, tensor in state.items():  # in memory of their own: the file may be mapped, and change
        state[name] = tensor.to(dtype if name.endswith(PROJECTIONS) else torch.float32, copy=True)
    _check_fit(model, state, path)
    model.load_state_dict(state, assign=True)
    return model


def save(model: "Mamba2LM", folder: str | Path) -> None:
    """Write a model; see `Mamba2LM.save`."""
    if adapted := adapter_names(model):
        raise ValueError(
            f"adapters are attached ({adapted[0]} ...): save them with sonopsis.lora.save, "
            "or make them part of the model with sonopsis.lora.merge and detach"
        )
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    config = model.config
    fields = {
        "d_model": config.width,
        "d_intermediate": 0,
        "n_layer": config.depth,
        "vocab_size": config.vocab_size,
        "ssm_cfg": {
            "layer": "Mamba2",
            "d_state": config.state,
            "headdim": config.head_dim,
            "ngroups": config.groups,
            "expand": config.expand,
            "d_conv": config.conv,
        },
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 1,
        "tie_embeddings": config.tie_embeddings,
        "sonopsis": config.to_dict(),
    }
    (path / CONFIG).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path / WEIGHTS, {"format": "pt"}
    )


def parse_config(fields: dict[str, Any], state: dict[str, Tensor], path: Path) -> Mamba2Config:
    """The sizes a config.json describes, whichever the layout; raises ValueError on what cannot be run."""
    if "sonopsis" in fields:
        return Mamba2Config.from_dict(fields["sonopsis"])
    if "d_model" in fields and "n_layer" in fields:
        return _state_spaces(fields, path)
    if fields.get("model_type") == "mamba2":
        return _hugging_face(fields, "lm_head.weight" not in state, path)
    raise ValueError(
        f"{path / CONFIG} does not describe a Mamba-2 language model (model_type {fields.get('model_type')!r}); "
        "known are the layouts of state-spaces/mamba2-*, of transformers' Mamba2ForCausalLM, and of Mamba2LM.save"
    )


def _refuse_hybrids(fields: dict[str, Any], path: Path) -> None:
    """Raise ValueError if some layers are not Mamba-2's, as state-spaces or transformers' hybrids write it down."""
    attention = fields.get("attn_layer_idx") or fields.get("attn_layer_indices")
    if not attention:
        kinds = fields.get("layers_block_type") or fields.get("layer_types") or ()
        attention = [
            index
            for index, kind in enumerate(kinds)
            if kind == "hybrid" or ("attention" in kind and "linear" not in kind)
        ]
    if attention:
        raise ValueError(
            f"{path} is a hybrid with attention in layers {attention}; "
            "only pure Mamba-2 models can be run, such as state-spaces/mamba2-2.7b instead of mamba2attn-2.7b"
        )


def _state_spaces(fields: dict[str, Any], path: Path) -> Mamba2Config:
    if fields.get("d_intermediate", 0) or not fields.get("rms_norm", True):
        raise ValueError(
            f"{path} has MLP layers or plain layer norms (d_intermediate, rms_norm), which are not supported"
        )
    ssm = dict(fields.get("ssm_cfg") or {})
    if ssm.get("layer") != "Mamba2":
        raise ValueError(f"{path} is a {ssm.get('layer', 'Mamba1')} model (ssm_cfg.layer); only Mamba2 can be run")
    sizes = {
        "state": ssm.pop("d_state", 128),
        "head_dim": ssm.pop("headdim", 64),
        "groups": ssm.pop("ngroups", 1),
        "expand": ssm.pop("expand", 2),
        "conv": ssm.pop("d_conv", 4),
    }
    _check_fixed({name: value for name, value in ssm.items() if name not in SSM_FREE}, SSM_FIXED, path)
    multiple = fields.get("pad_vocab_size_multiple", 8)
    return Mamba2Config(
        width=fields["d_model"],
        depth=fields["n_layer"],
        vocab_size=-(-fields["vocab_size"] // multiple) * multiple,
        token_count=fields["vocab_size"],
        tie_embeddings=fields.get("tie_embeddings", True),
        **sizes,
    )


def _hugging_face(fields: dict[str, Any], head_absent: bool, path: Path) -> Mamba2Config:
    fixed = {
        "use_bias": False,
        "use_conv_bias": True,
        "norm_before_gate": False,
        "hidden_act": "silu",
        "time_step_limit": (0.0, math.inf),
    }
    _check_fixed({name: fields[name] for name in fixed if name in fields}, fixed, path)
    config = Mamba2Config(  # an absent field has the default of transformers' class
        width=fields.get("hidden_size", 4096),
        depth=fields.get("num_hidden_layers", 64),
        vocab_size=fields.get("vocab_size", 32768),
        state=fields.get("state_size", 128),
        head_dim=fields.get("head_dim", 64),
        groups=fields.get("n_groups", 8),
        expand=fields.get("expand", 2),
        conv=fields.get("conv_kernel", 4),
        norm_eps=fields.get("layer_norm_epsilon", 1e-5),
        tie_embeddings=fields.get("tie_word_embeddings", head_absent),
        token_count=_token_count(path / TOKENIZER, fields.get("vocab_size", 32768)),
    )
    if fields.get("num_heads", config.heads) != config.heads:
        raise ValueError(
            f"{path}: num_heads {fields['num_heads']} is not hidden_size * expand / head_dim ({config.heads})"
        )
    return config


def _token_count(tokenizer: Path, rows: int) -> int | None:
    """How many of the embedding's rows are tokens, known if the tokenizer lies beside the weights.

    Hugging Face's config gives the padded number alone; the padding rows must never be generated.
    """
    if not tokenizer.is_file():
        return None
    fields = read_json(tokenizer)
    try:
        vocabulary = fields["model"]["vocab"]
        ids = [*vocabulary.values()] if isinstance(vocabulary, dict) else [*range(len(vocabulary))]
        count = 1 + max([*ids, *(token["id"] for token in fields.get("added_tokens", ()))])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{tokenizer} is not a tokenizer of the tokenizers library ({error!r})") from error
    if count > rows:
        raise ValueError(
            f"{tokenizer} has ids up to {count - 1}, but the embedding has {rows} rows; they belong to different models"
        )
    return count


def _check_fixed(fields: dict[str, Any], fixed: dict[str, Any], path: Path) -> None:
    """Refuse a field that changes the mathematics, known or not."""
    wrong = {}
    for name, value in fields.items():
        if isinstance(value, list):  # a range; recent transformers write infinity as {"__float__": "Infinity"}
            value = tuple(float(end["__float__"]) if isinstance(end, dict) else end for end in value)
        if name not in fixed or value != fixed[name]:
            wrong[name] = value
    if wrong:
        raise ValueError(f"{path / CONFIG}: {wrong} is not supported; supported: {fixed}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor of a folder's weights; raises ValueError that names the folder."""
    files = weight_files(path)
    try:
        return read_tensors(files)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_tied(config: Mamba2Config, state: dict[str, Tensor], path: Path) -> None:
    head = state.get("lm_head.weight")
    table = state.get("backbone.embedding.weight", state.get("backbone.embeddings.weight"))
    if config.tie_embeddings and head is not None and table is not None and not torch.equal(head, table):
        raise ValueError(
            f"{path}: the config ties lm_head.weight to the embedding but the weights differ; correct the config"
        )


def _check_fit(model: "Mamba2LM", state: dict[str, Tensor], path: Path) -> None:
    """Raise one ValueError that lists every missing, unexpected and misshapen tensor."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {
        name.replace("backbone.embeddings.", "backbone.embedding."): tuple(tensor.shape)
        for name, tensor in state.items()
        if not (model.config.tie_embeddings and name == "lm_head.weight")
    }
    problems = {
        "missing": sorted(set(wanted) - set(given)),
        "unexpected": sorted(set(given) - set(wanted)),
        "of another shape": [
            f"{k} {given[k]}, not {wanted[k]}" for k in sorted(wanted) if given.get(k, wanted[k]) != wanted[k]
        ],
    }
    found = [f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names]
    if found:
        raise ValueError(f"{path}: the weights do not fit the config; " + "; ".join(found))
