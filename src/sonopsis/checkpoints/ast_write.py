"""Our AST -> a folder's content as transformers' ASTForAudioClassification has it: the inverse of `ast_keys`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sonopsis.audio import SAMPLE_RATE
from sonopsis.checkpoints.ast import BODY, huggingface_table
from sonopsis.encoder.config import EncoderConfig
from sonopsis.mel import MELS, MelConfig

FIXED = {"norm": "pre", "stem": "patch", "position": "learned", "pooling": "cls_dist", "prefix_tokens": 2, "mels": MELS}


def check_ast(config: EncoderConfig) -> None:
    """Raise ValueError, with the reason, for an encoder that transformers' AST cannot be."""
    if config.family != "ast":
        raise ValueError(f"its encoder is of the family {config.family}; transformers has only AST and Whisper")
    wrong = {name: getattr(config, name) for name, value in FIXED.items() if getattr(config, name) != value}
    if wrong:
        raise ValueError(f"its encoder has {wrong}, and transformers' AST only { ({n: FIXED[n] for n in wrong}) }")


def huggingface_state(state: Mapping[str, Tensor], config: EncoderConfig, *, modern: bool = False) -> dict[str, Tensor]:
    """The state of a `Tagger` -> tensors in float32 by the names that transformers' files have.

    With `modern` they have the names of transformers' modules in memory, for `load_state_dict`.

    Joined queries, keys and values are parted again, patches and the kernel become frequency-major.
    """
    classifier = "head.linear.weight" in state
    table = huggingface_table(BODY if classifier else "", config.depth, modern=modern, classifier=classifier)
    theirs: dict[str, Tensor] = {}
    for own, names in table.items():
        tensor = _frequency_major(own, state[own].detach().float(), config)
        parts = [part.clone(memory_format=torch.contiguous_format) for part in tensor.chunk(len(names))]
        theirs |= dict(zip(names, parts, strict=True))
    return theirs


def _frequency_major(name: str, tensor: Tensor, config: EncoderConfig) -> Tensor:
    if name == "encoder.prefix":
        return tensor.transpose(0, 1)  # (1, 2, D) -> (2, 1, D)
    if name == "encoder.stem.proj.weight":
        return tensor.transpose(2, 3)  # (D, 1, time, frequency) -> (D, 1, frequency, time)
    if name != "encoder.positions":
        return tensor
    time, frequency = config.grid(config.frames)
    prefix, cells = tensor.split([config.prefix_tokens, time * frequency], dim=1)  # (1, P, D), (1, N, D)
    cells = cells.unflatten(1, (time, frequency)).transpose(1, 2).flatten(1, 2)
    return torch.cat([prefix, cells], dim=1)


def huggingface_config(config: EncoderConfig, labels: list[str]) -> dict[str, Any]:
    """The `config.json` of transformers' AST; its one `layer_norm_eps` is that of the encoder's norms."""
    patch_t, patch_f = config.patch
    fields = {
        "architectures": ["ASTForAudioClassification" if labels else "ASTModel"],
        "model_type": "audio-spectrogram-transformer",
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": round(config.mlp_ratio * config.width),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": config.norm_eps,
        "patch_size": patch_t if patch_t == patch_f else [patch_f, patch_t],
        "qkv_bias": True,
        "frequency_stride": config.stride[1],
        "time_stride": config.stride[0],
        "max_length": config.frames,
        "num_mel_bins": config.mels,
        "dtype": "float32",
    }
    if labels:
        fields["id2label"] = {str(number): label for number, label in enumerate(labels)}
        fields["label2id"] = {label: number for number, label in enumerate(labels)}
    return fields


def huggingface_extractor(mel: MelConfig) -> dict[str, Any]:
    """The `preprocessor_config.json` of transformers' ASTFeatureExtractor."""
    return {
        "feature_extractor_type": "ASTFeatureExtractor",
        "do_normalize": True,
        "feature_size": 1,
        "max_length": mel.frames,
        "mean": mel.mean,
        "std": mel.std,
        "num_mel_bins": MELS,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": SAMPLE_RATE,
    }


def lost(config: EncoderConfig, mel: MelConfig, keep_rate: float, *, classifier: bool) -> list[str]:
    """What such a folder cannot say, a sentence each: in it the model differs from ours."""
    found = []
    if mel.padding != "zero":
        found.append(
            f"clips shorter than the input are padded with {mel.padding} here; transformers' feature extractor pads "
            "with 0, so that their logits differ: pad the log-Mel yourself"
        )
    if mel.multiple is not None:
        found.append(f"clips are padded to a multiple of {mel.multiple} frames here, always to {mel.frames} there")
    if mel.subtract_mean:
        found.append(
            "the mean of a clip is removed here and not there; as every frame's own mean is removed too, only clips "
            "under 25 ms and rounding differ"
        )
    if classifier and config.head_norm_eps != config.norm_eps:
        found.append(
            f"the classifier's norm has epsilon {config.head_norm_eps:g} here; transformers' AST has one "
            f"for all norms, {config.norm_eps:g}"
        )
    if keep_rate != 1:
        found.append(f"keep rate {keep_rate:g} is not stored; prune the model once loaded, with sonopsis.prune")
    return found
