"""Model folder <-> torch modules: build what a config.json describes, fill it with weights, write it out again."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import ConnectorConfig
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import WEIGHTS, ModelError
from sonopsis.folder import ModelConfig, ModelFolder, write_description
from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mel import MelConfig
from sonopsis.unfilled import unfilled


def initialise(config: ModelConfig) -> Tagger | Captioner:
    """The modules that a `config.json` describes, with random weights; raises ValueError for a wrong description."""
    encoder = EncoderConfig.from_dict(config.encoder)
    if config.lm is None or config.connector is None:
        return Tagger(encoder, len(config.labels))
    connector = ConnectorConfig.from_dict(config.connector)
    return Captioner(encoder, len(config.labels), connector, Mamba2Config.from_dict(config.lm), config.end_of_text)


def build(folder: ModelFolder) -> Tagger | Captioner:
    """The modules that a model folder describes, with its weights; raises ModelError when they do not fit."""
    try:
        with unfilled():
            module = initialise(folder.config)
        encoder = module.tagger.encoder if isinstance(module, Captioner) else module.encoder
        for frames in (folder.mel.frames, folder.mel.multiple or folder.mel.frames):
            encoder.config.grid(frames)
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: a list in place of a part's fields
        raise ModelError(f"{folder.path}: config.json describes no model of this version ({error})") from error
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
