"""Models to measure with: full-size architectures with random weights, and real ones as plain modules."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from sonopsis.captioning.captioner import Captioner
from sonopsis.encoder import EncoderConfig
from sonopsis.encoder.config import PRESETS
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import WEIGHTS
from sonopsis.folder import ModelConfig, describe, write_description
from sonopsis.hub import locate
from sonopsis.mel import MelConfig, whisper_front_end
from sonopsis.modules import build

RANDOM = (
    "ast",
    "ast_stride10",
    "audiomae",
    "eat",
    "whisper-tiny",
    "whisper-base",
    "whisper-small",
)  # presets, built at full size
LABELS = 527  # AudioSet's
SHARPNESS = 2.5  # standard deviation of attention logits: enough that scores differ from patch to patch
AST_NORM_EPS = 1e-12  # of transformers' AST, so that both compute the same


@dataclass(frozen=True)
class Subject:
    """The model that is measured."""

    path: Path | str  # what `sonopsis.load` takes
    name: str
    config: EncoderConfig
    mel: MelConfig
    labels: int


def find_subject(model: str, scratch: Path) -> Subject:
    """A preset with random weights, written below `scratch`; `default`, a model folder or a checkpoint as it is."""
    if model in RANDOM:
        config = PRESETS[model]
        if config.family == "ast":
            config = replace(config, norm_eps=AST_NORM_EPS, head_norm_eps=AST_NORM_EPS)
        return write_random(config, LABELS, scratch / model)
    folder = describe(locate(model))
    config = folder.config.encoder
    return Subject(model, folder.name, config, folder.mel, len(folder.config.labels))


def write_random(config: EncoderConfig, labels: int, folder: Path, seed: int = 0) -> Subject:
    """A model folder with random weights whose attention is not flat, so that pruning has something to rank."""
    torch.manual_seed(seed)
    tagger = Tagger(config, labels)
    with torch.no_grad():
        for block in tagger.encoder.blocks:
            weight = block.attn.qkv.weight[: 2 * config.width]  # queries and keys
            weight *= (SHARPNESS / (config.width * weight.var())).sqrt()
    whisper = config.family == "whisper"
    mel = whisper_front_end(config.frames, config.mels) if whisper else MelConfig(frames=config.frames)
    write_description(folder, ModelConfig([f"class {n}" for n in range(labels)], config), mel)
    save_file({name: tensor.contiguous() for name, tensor in tagger.state_dict().items()}, folder / WEIGHTS)
    return Subject(folder, folder.name, config, mel, labels)


def read_tagger(model: str | os.PathLike[str]) -> Tagger:
    """Encoder and head as plain torch modules in float32, whatever engine `sonopsis.load` would choose."""
    module = build(describe(locate(model)))
    return module.tagger if isinstance(module, Captioner) else module
