"""Published checkpoints of AST, AudioMAE, EAT and Whisper -> our encoder: its layout, its labels, its front end.

A folder as Hugging Face has it (config.json beside the weights) or the file that a training program wrote. The tables
of names are in the module of each family; nothing is unpickled but tensors.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sonopsis.audio import SAMPLE_RATE
from sonopsis.checkpoints import ast, audiomae, eat
from sonopsis.checkpoints.keys import check_shapes, expect, listed
from sonopsis.checkpoints.tensors import read_tensors
from sonopsis.checkpoints.whisper import from_whisper
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.tagger import Head
from sonopsis.encoder.vit import Encoder
from sonopsis.files import CONFIG, FRONT_END, ModelError, read_json, weight_files
from sonopsis.mel import FRAME, MELS, SHIFT, MelConfig, whisper_front_end
from sonopsis.unfilled import unfilled

# Mean and standard deviation of the data set a classifier was trained on, by its number of classes: original
# checkpoints do not hold them. AudioSet's where there is no classifier. EAT rounds them.
AUDIOSET = 527
STATISTICS = {
    AUDIOSET: (-4.2677393, 4.5689974),
    50: (-6.6268077, 5.358466),  # ESC-50
    35: (-6.845978, 5.5654526),  # Speech Commands v2
    1251: (-6.370, 3.074),  # VoxCeleb-1
}
EAT_STATISTICS = {AUDIOSET: (-4.268, 4.569), 50: (-6.627, 5.359), 35: (-6.846, 5.565)}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in our terms.

    `mel` is how the published weights want their input; those fine-tuned as arXiv 2504.01690 does it want
    `dataclasses.replace(mel, padding="clip_min")`, which no file tells.
    """

    path: Path  # the file or folder it was read from
    weights: Path  # the file with its tensors, the first of several shards
    config: EncoderConfig
    mel: MelConfig
    labels: list[str]  # empty: it has no classifier
    state: dict[str, Tensor]  # float32, by the names of a `Tagger`: `encoder.*` and, with a classifier, `head.*`

    def encoder(self) -> Encoder:
        """The encoder, in evaluation mode; its weights are those of `state`, not copies."""
        with unfilled():
            encoder = Encoder(self.config)
        encoder.load_state_dict(_part(self.state, "encoder."), assign=True)
        return encoder.eval()


def read_checkpoint(
    path: str | os.PathLike[str],
    *,
    frames: int | None = None,
    heads: int | None = None,
    stride: int | None = None,
    crop: audiomae.Crop = "reference",
) -> Checkpoint:
    """Read a file or folder of AST, AudioMAE, EAT or Whisper.

    `frames` makes the encoder one for shorter inputs, its position table cut as the family's own code cuts it (EAT: or
    for longer ones; the original AST: also the input length of a model trained with an unusual one). `crop="prefix"`
    cuts AudioMAE's table so that tokens keep the codes they were pretrained with.

    `heads` and `stride` (Mel frames and bands from one patch to the next) are for what a checkpoint does not say: the
    number of heads of an encoder whose width is of no published model, and the stride of an original AST or AudioMAE
    where the number of positions leaves it open. Raises ModelError, in one line, for a checkpoint that is incomplete,
    contradicts them, is of another architecture, or holds more than tensors and settings.
    """
    source = Path(path)
    try:
        files = _weights(source)
        fields = read_json(source / CONFIG) if (source / CONFIG).is_file() else {}
        config, state = _convert(_tensors(files), fields, frames, heads, stride)
        _check_asked(config, heads, stride)
        if frames is not None and frames != config.frames:
            config, state = _shorten(config, state, frames, crop)
        _check(config, state)
        count = len(state["head.linear.weight"]) if "head.linear.weight" in state else 0
        return Checkpoint(source, files[0], config, _front_end(source, config, count), _labels(fields, count), state)
    except ModelError:
        raise
    except (ValueError, OSError) as error:
        raise ModelError(f"{source}: {' '.join(str(error).split())}") from error
    except (TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError) as error:  # sizes that make no sense
        raise ModelError(f"{source}: damaged config.json or tensors ({' '.join(str(error).split())[:200]})") from error


def _weights(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ModelError(f"{path}: no such checkpoint file or folder")
    return weight_files(path)


def _tensors(files: list[Path]) -> dict[str, Tensor]:
    """Every named tensor of the files, in float32, without the prefix of modules that were trained in parallel."""
    return {name.removeprefix("module."): tensor.float() for name, tensor in read_tensors(files).items()}


def _convert(
    tensors: dict[str, Tensor], fields: dict[str, Any], frames: int | None, heads: int | None, stride: int | None
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """The layout is told by names that no other has, so that an incomplete checkpoint is still recognised."""
    if any(name.startswith(("v.cls_token", "v.patch_embed.", "v.blocks.")) for name in tensors):
        return ast.from_original(tensors, frames, heads, stride)
    if any("embeddings.patch_embeddings." in name or name.endswith(".distillation_token") for name in tensors):
        if not fields:
            raise ValueError(f"transformers' AST needs its {CONFIG}; give the folder that holds both")
        config = ast.ast_config(fields)
        return config, ast.from_huggingface(tensors, config)
    if any("local_encoder.proj." in name or name.endswith("extra_tokens") for name in tensors):
        return eat.from_eat(tensors, fields, frames, heads)
    if any(name.endswith(("encoder.conv1.weight", "encoder/conv1/weight")) for name in tensors):
        return from_whisper(tensors, fields, heads)
    if any(name.removeprefix(audiomae.WRAPPER).startswith(("patch_embed.", "blocks.")) for name in tensors):
        return audiomae.from_audiomae(tensors, fields, frames, heads, stride)
    raise ValueError(
        f"no checkpoint of AST, AudioMAE, EAT or Whisper; its tensors are {listed(sorted(tensors)) or 'none'}"
    )


def _check_asked(config: EncoderConfig, heads: int | None, stride: int | None) -> None:
    """Raise ValueError where the checkpoint says something else than the caller."""
    if heads not in (None, config.heads):
        raise ValueError(f"it has {config.heads} heads, not {heads}; leave heads out")
    if stride not in (None, config.stride[0]):
        raise ValueError(f"its stride is {config.stride[0]} Mel frames, not {stride}; leave stride out")


def _shorten(
    config: EncoderConfig, state: dict[str, Tensor], frames: int, crop: audiomae.Crop
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    if config.family == "whisper":  # its table is computed
        config.grid(frames)  # raises for what is longer, or no whole number of patches
        return replace(config, frames=frames), state
    positions = crop_positions(state["encoder.positions"], config, frames, crop)
    return replace(config, frames=frames), state | {"encoder.positions": positions}


def crop_positions(positions: Tensor, config: EncoderConfig, frames: int, crop: audiomae.Crop = "reference") -> Tensor:
    """A learned position table (1, P + N, D) for input of so many Mel frames, as the code of its family cuts it.

    AST keeps the middle of the time axis; `crop` is for AudioMAE. Raises ValueError for longer input than the table is
    made for, and for what is no whole number of patches.
    """
    config.grid(frames)
    if config.family == "ast":
        return ast.crop_centre(positions, config, frames)
    return audiomae.crop_table(positions, config, frames, crop)


def _check(config: EncoderConfig, state: dict[str, Tensor]) -> None:
    with unfilled():
        wanted = {f"encoder.{name}": tensor for name, tensor in Encoder(config).state_dict().items()}
        if "head.linear.weight" in state:
            head = Head(config.width, len(state["head.linear.weight"]), norm=config.head_norm)
            wanted |= {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    check_shapes(state, wanted, config.family)


def _labels(fields: Mapping[str, Any], count: int) -> list[str]:
    """The names a config.json gives to the classes, "class 0", "class 1", ... where it gives none."""
    named = fields.get("id2label")
    if isinstance(named, dict):
        named = [named.get(str(number)) for number in range(len(named))]
    else:  # timm
        named = fields.get("label_names") or (fields.get("pretrained_cfg") or {}).get("label_names")
    if isinstance(named, list) and len(named) == count and all(isinstance(name, str) for name in named):
        return named
    return [f"class {number}" for number in range(count)]


def _front_end(path: Path, config: EncoderConfig, labels: int) -> MelConfig:
    """What transformers' feature extractor says in a folder, the statistics of the data set elsewhere."""
    if config.family == "whisper":
        if (path / FRONT_END).is_file():
            fixed = {"sampling_rate": SAMPLE_RATE, "feature_size": config.mels, "n_fft": FRAME, "hop_length": SHIFT}
            expect(read_json(path / FRONT_END), fixed, FRONT_END)
        return whisper_front_end(config.frames, config.mels)
    if config.family != "ast" or not (path / FRONT_END).is_file():
        statistics = EAT_STATISTICS if config.family == "eat" else STATISTICS
        mean, std = statistics.get(labels, statistics[AUDIOSET])
        return MelConfig(config.frames, mean, std)
    fields = read_json(path / FRONT_END)
    expect(fields, {"sampling_rate": SAMPLE_RATE, "num_mel_bins": MELS, "padding_value": 0.0}, FRONT_END)
    mean, std = fields.get("mean", STATISTICS[AUDIOSET][0]), fields.get("std", STATISTICS[AUDIOSET][1])
    if not fields.get("do_normalize", True):
        mean, std = 0.0, 0.5  # (x - mean) / (2 * std) is x
    return MelConfig(config.frames, mean, std, subtract_mean=False)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
