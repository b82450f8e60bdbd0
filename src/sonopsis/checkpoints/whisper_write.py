"""Our Whisper -> a folder's content as transformers' WhisperForAudioClassification has it: the inverse of `whisper`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sonopsis.audio import SAMPLE_RATE
from sonopsis.checkpoints.keys import Table, affine, blocks
from sonopsis.checkpoints.whisper import TRANSFORMERS
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.positions import sinusoid_table
from sonopsis.mel import FRAME, FRAME_RATE, SHIFT, MelConfig

NAME = "WhisperForAudioClassification"
FIXED = {
    "norm": "pre",
    "norm_eps": 1e-5,
    "stem": "conv1d",
    "position": "sinusoid",
    "pooling": "mean",
    "prefix_tokens": 0,
    "token_norm": True,
    "head_norm": False,
}


def check(config: EncoderConfig, mel: MelConfig, labels: list[str]) -> None:
    """Raise ValueError, with the reason, for a model that transformers' classifier cannot be."""
    wrong = {name: getattr(config, name) for name, value in FIXED.items() if getattr(config, name) != value}
    if wrong:
        raise ValueError(f"it has {wrong}, and transformers' {NAME} only { ({name: FIXED[name] for name in wrong}) }")
    if not labels:
        raise ValueError(f"it has no labels, and transformers' {NAME} cannot be without a classifier")
    if mel.kind != "whisper" or mel.frames % FRAME_RATE:
        raise ValueError(
            f"it hears {mel.frames / FRAME_RATE:g} s at once in log-Mel of the kind {mel.kind}; transformers' feature "
            "extractor needs whole seconds of the kind whisper"
        )


def huggingface_state(state: Mapping[str, Tensor], config: EncoderConfig, frames: int) -> dict[str, Tensor]:
    """The state of a `Tagger` -> tensors in float32 by the names of transformers, with positions for `frames`.

    Keys have no bias there: one would add the same to all that a token attends to, and softmax takes it away. Our
    classifier is one layer, theirs two, of which the first changes nothing.
    """
    table: Table = {
        **affine("encoder.stem.conv1", ["encoder.conv1"]),
        **affine("encoder.stem.conv2", ["encoder.conv2"]),
        **blocks("encoder.layers.", config.depth, TRANSFORMERS),
        **affine("encoder.norm", ["encoder.layer_norm"]),
    }
    if "head.linear.weight" in state:
        table |= affine("head.linear", ["classifier"])
    if config.layer_weights:
        table["encoder.layer_weights"] = ("layer_weights",)
    theirs: dict[str, Tensor] = {}
    for own, names in table.items():
        parts = [part.clone() for part in state[own].detach().float().chunk(len(names))]
        theirs |= dict(zip(names, parts, strict=True))
    for name in [name for name in theirs if name.endswith("k_proj.bias")]:
        del theirs[name]
    theirs["encoder.embed_positions.weight"] = torch.from_numpy(sinusoid_table(frames // 2, config.width))
    if "classifier.weight" in theirs:
        theirs |= {"projector.weight": torch.eye(config.width), "projector.bias": torch.zeros(config.width)}
    return theirs


def huggingface_config(config: EncoderConfig, mel: MelConfig, labels: list[str]) -> dict[str, Any]:
    """The `config.json` of transformers' classifier; of the decoder, which it has not, only what must be said."""
    return {
        "architectures": [NAME],
        "model_type": "whisper",
        "d_model": config.width,
        "encoder_layers": config.depth,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": round(config.mlp_ratio * config.width),
        "num_hidden_layers": config.depth,
        "num_mel_bins": config.mels,
        "max_source_positions": mel.frames // 2,
        "activation_function": "gelu",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "scale_embedding": False,
        "classifier_proj_size": config.width,
        "use_weighted_layer_sum": config.layer_weights,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "dtype": "float32",
    }


def huggingface_extractor(mel: MelConfig) -> dict[str, Any]:
    """The `preprocessor_config.json` of transformers' WhisperFeatureExtractor."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": mel.mels,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": SHIFT,
        "n_fft": FRAME,
        "chunk_length": mel.frames // FRAME_RATE,
        "n_samples": mel.frames * SHIFT,
        "nb_max_frames": mel.frames,
        "padding_side": "right",
        "padding_value": 0.0,
        "dither": 0.0,
        "return_attention_mask": False,
    }


def lost(mel: MelConfig, keep_rate: float) -> list[str]:
    """What such a folder cannot say, a sentence each: in it the model differs from ours."""
    found = []
    if mel.multiple is not None:
        found.append(
            f"clips are padded to a multiple of {mel.multiple} frames here, always to {mel.frames} there, so that "
            "the logits of shorter clips differ"
        )
    if keep_rate != 1:
        found.append(f"keep rate {keep_rate:g} is not stored there")
    return found
