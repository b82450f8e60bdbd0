"""Model folder <-> torch modules: build what a config.json describes, fill it with weights, write it out again."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import ConnectorConfig
from sonopsis.checkpoints import Checkpoint
from sonopsis.encoder import EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import WEIGHTS, ModelConfig, ModelError, ModelFolder, write_description
from sonopsis.mamba2 import Mamba2Config
from sonopsis.mel import MelConfig
from sonopsis.unfilled import unfilled


def build(config: ModelConfig) -> Tagger | Captioner:
    """The untrained modules that a `config.json` describes."""
    encoder = EncoderConfig.from_dict(config.encoder)
    if config.lm is None or config.connector is None:
        return Tagger(encoder, len(config.labels))
    connector = ConnectorConfig.from_dict(config.connector)
    return Captioner(encoder, len(config.labels), connector, Mamba2Config.from_dict(config.lm))


def read_modules(folder: ModelFolder) -> Tagger | Captioner:
    """The modules that a model folder describes, with their weights; raises ModelError when they do not fit."""
    try:
        with unfilled():
            module = build(folder.config)
        encoder = module.tagger.encoder if isinstance(module, Captioner) else module.encoder
        for frames in (folder.mel.frames, folder.mel.multiple or folder.mel.frames):
            encoder.config.grid(frames)
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: a list in place of a part's fields
        raise ModelError(f"{folder.path}: config.json describes no model of this version ({error})") from error
    try:
        stored = load_file(folder.weights)
        state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
        missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    except SafetensorError as error:
        raise ModelError(f"{folder.path}: {folder.weights.name} cannot be read: {error}") from error
    except RuntimeError as error:  # a headline, then a line for each tensor of another shape
        reason = " ".join(str(error).splitlines()[:2][-1].split())
        raise ModelError(f"{folder.path}: weights do not fit config.json; {reason}") from error
    if missing or unexpected:
        raise ModelError(
            f"{folder.path}: weights do not fit config.json; missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return module.eval()


def from_checkpoint(checkpoint: Checkpoint) -> tuple[ModelFolder, Tagger]:
    """Another program's weights in our modules; without a classifier they only encode."""
    config = ModelConfig(checkpoint.labels, checkpoint.config.to_dict())
    with unfilled():
        module = Tagger(checkpoint.config, len(checkpoint.labels))
    module.load_state_dict(checkpoint.state, assign=True)
    return ModelFolder(checkpoint.path, config, checkpoint.mel, checkpoint.weights), module.eval()


def save(module: Tagger | Captioner, path: Path, config: ModelConfig, mel: MelConfig) -> None:
    """Write a model folder (all but tokenizer and card); matrices are stored in float16."""
    write_description(path, config, mel)
    save_file({name: _half(tensor) for name, tensor in module.state_dict().items()}, path / WEIGHTS)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """Matrices in float16; vectors stay as they are: decay and step-size of a state space are sensitive, and small."""
    tensor = tensor.detach()
    return (tensor.to(torch.float16) if tensor.ndim > 1 else tensor).contiguous()
