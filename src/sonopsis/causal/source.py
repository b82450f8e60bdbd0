"""Where a causal language model comes from: a folder that transformers wrote, or sizes, whose weights are drawn."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import torch

from sonopsis.causal.config import CausalConfig
from sonopsis.causal.model import CausalLM
from sonopsis.files import CONFIG, read_json
from sonopsis.installed import require

PER_HEAD = 64  # width of a head, where the number of heads is not given


def load(folder: str | Path) -> CausalLM:
    """A model with its weights, in float32, from a folder in the layout of transformers.

    Code in the folder is never run. Raises ValueError, in one line, for files that are missing or do not fit, for
    quantised weights and for models that look ahead, and MissingPackageError without transformers.
    """
    path = Path(folder)
    written = read_json(path / CONFIG)
    if "quantization_config" in written:
        raise ValueError(f"{path} has quantised weights, which cannot be trained; use a folder with plain weights")
    require("transformers", "a language model of transformers")
    from transformers import AutoModelForCausalLM

    try:
        with _quiet():
            read: Any = AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as a causal language model of transformers ({reason})") from error
    model, found = read
    if wrong := sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]])):
        raise ValueError(f"{path}: {len(wrong)} tensors are missing or of another size: {', '.join(wrong[:4])}")
    return _causal(CausalLM(_described(model), model), str(path))


def sized(
    architecture: str,
    width: int,
    depth: int,
    heads: int | None,
    tokens: int,
    end_of_text: int,
    more: dict[str, Any] | None = None,
) -> CausalLM:
    """A model of an architecture of transformers ("llama", "gpt_neox") with newly drawn weights.

    The MLP has four times the width, keys and values have a head for each of the queries', and embedding and head share
    their weights, unless `more` (fields of the architecture's configuration) says otherwise. Raises ValueError for an
    architecture or a field that transformers does not know, and MissingPackageError without transformers.
    """
    require("transformers", f"a language model of architecture {architecture}")
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    if architecture not in CONFIG_MAPPING or CONFIG_MAPPING[architecture] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(
            f"architecture {architecture!r} is neither mamba2 nor a causal language model of transformers, such as "
            "llama or gpt_neox"
        )
    kind = CONFIG_MAPPING[architecture]
    known, other_names = {field.name for field in fields_of(kind)}, dict(kind.attribute_map)
    if unknown := sorted(set(more or {}) - known - set(other_names)):
        raise ValueError(f"fields {unknown} are not known to transformers for {architecture}; known: {sorted(known)}")
    heads = heads or max(1, width // PER_HEAD)
    chosen = {
        "vocab_size": tokens,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": 4 * width,
        "tie_word_embeddings": True,
        **{name: end_of_text for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    asked = {other_names.get(name, name): value for name, value in (chosen | (more or {})).items()}
    fields = {name: value for name, value in asked.items() if name in known}
    config = CausalConfig(width, tokens, {"model_type": architecture, **fields})
    made = CausalLM(config)
    return _causal(CausalLM(_described(made.model), made.model), architecture)


def _described(model: Any) -> CausalConfig:
    """What a model of transformers is, from the model itself."""
    rows, width = model.get_input_embeddings().weight.shape
    return CausalConfig(width, rows, json.loads(model.config.to_json_string(use_diff=True)))


@torch.no_grad()
def _causal(lm: CausalLM, name: str) -> CausalLM:
    """The model; raises ValueError when a position changes what comes before it."""
    lm.eval()
    first, second = torch.zeros(2, 1, 4, lm.config.width, device=lm.device).normal_(generator=_drawn(lm.device))
    second[:, :3] = first[:, :3]
    if not torch.allclose(lm.logits(first, 4)[:, :3], lm.logits(second, 4)[:, :3], rtol=1e-3, atol=1e-3):
        raise ValueError(f"{name} looks ahead, so it cannot write one word after the other; use a causal model")
    return lm.train()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which it draws into log files too."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _drawn(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)
