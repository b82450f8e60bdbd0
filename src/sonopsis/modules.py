"""Model folder <-> torch modules: build what a config.json describes, fill it with weights, write it out again."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.language_model import LanguageModel
from sonopsis.causal.config import CausalConfig
from sonopsis.causal.model import CausalLM
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import WEIGHTS, ModelError
from sonopsis.folder import ModelConfig, ModelFolder, write_description
from sonopsis.mel import MelConfig
from sonopsis.unfilled import unfilled


def initialise(config: ModelConfig, lm: LanguageModel | None = None) -> Tagger | Captioner:
    """The modules that a `config.json` describes, with random weights; with `lm` as the language model, if given."""
    if config.lm is None or config.connector is None:
        return Tagger(config.encoder, len(config.labels))
    return Captioner(
        config.encoder, len(config.labels), config.connector, lm or config.lm, config.end_of_text, config.second
    )


def build(folder: ModelFolder) -> Tagger | Captioner:
    """The modules that a model folder describes, with its weights; raises ModelError when they do not fit."""
    # transformers keeps the initialisers that it finds, so it must not be imported while there are none.
    lm = CausalLM(folder.config.lm) if isinstance(folder.config.lm, CausalConfig) else None
    with unfilled():
        module = initialise(folder.config, lm)
    try:
        missing, unexpected = module.load_state_dict(_state(folder), strict=False, assign=True)
    except RuntimeError as error:  # a headline, then a line for each tensor of another shape
        reason = " ".join(str(error).splitlines()[:2][-1].split())
        raise ModelError(f"{folder.path}: weights do not fit config.json; {reason}") from error
    if missing or unexpected:
        raise ModelError(
            f"{folder.path}: weights do not fit config.json; missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return module.eval()


def save(module: Tagger | Captioner, path: Path, config: ModelConfig, mel: MelConfig) -> None:
    """Write a model folder (all but tokenizer and card); matrices are stored in float16."""
    write_description(path, config, mel)
    save_file({name: _half(tensor) for name, tensor in module.state_dict().items()}, path / WEIGHTS)


def _state(folder: ModelFolder) -> Mapping[str, Tensor]:
    """A folder's tensors by our names, in float32."""
    if folder.state is not None:
        return folder.state
    try:
        stored = load_file(folder.weights)
    except SafetensorError as error:
        raise ModelError(f"{folder.path}: {folder.weights.name} cannot be read: {error}") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


def _half(tensor: Tensor) -> Tensor:
    """Matrices in float16; vectors stay as they are: decay and step-size of a state space are sensitive, and small."""
    tensor = tensor.detach()
    return (tensor.to(torch.float16) if tensor.ndim > 1 else tensor).contiguous()
