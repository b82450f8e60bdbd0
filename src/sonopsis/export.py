"""A model -> a folder: in our own layout, with graphs for other engines, or in that of another program."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonopsis.files import CARD, CONFIG, FRONT_END, TOKENIZER, WEIGHTS, ModelError
from sonopsis.folder import ModelFolder, write_description

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

State = Mapping[str, "Tensor"]


def export(model: ModelFolder, state: State | None, folder: Path, *, to: str = "folder") -> None:
    """Write a model into a new or empty folder, in one of the forms of `TARGETS`.

    `state` are the model's tensors by our names; None: those on disk. What the form cannot say is logged as a warning.
    Raises ValueError for an unknown form or a folder that is not empty, ModelError for a model that the form cannot
    hold.
    """
    if to not in TARGETS:
        raise ValueError(f"cannot export to {to!r}; choose one of {', '.join(TARGETS)}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder}: not an empty folder; choose a new one")
    state = model.state if state is None else state
    if any(".lora_" in name for name in state or ()):
        raise ModelError(
            f"{model.name}: adapters are attached; make them part of the weights with sonopsis.lora.merge and detach, "
            "or save them alone with sonopsis.lora.save"
        )
    TARGETS[to](model, state, folder)


def write_folder(model: ModelFolder, state: State | None, folder: Path) -> None:
    """Our own model folder: loaded again, it is the same model, to the bit.

    Matrices are stored in float16 where that loses nothing, as in a model that was read from float16, and everything
    else in float32.
    """
    write_description(folder, model.config, model.mel)
    if state is None:
        shutil.copyfile(model.weights, folder / WEIGHTS)
    else:
        from safetensors.torch import save_file

        save_file({name: _smallest(tensor) for name, tensor in state.items()}, folder / WEIGHTS)
    if model.tokenizer is not None:
        shutil.copyfile(model.tokenizer, folder / TOKENIZER)
    if not _copy_card(model, folder):
        (folder / CARD).write_text(_card(model), encoding="utf-8")


def write_huggingface(model: ModelFolder, state: State | None, folder: Path) -> None:
    """A folder for transformers: ASTForAudioClassification (without classifier: ASTModel) or Whisper's classifier."""
    if model.config.lm is not None:
        raise ModelError(
            f"{model.name}: it has a language model, which no classifier of transformers can hold; export it as a "
            "folder instead"
        )
    if state is None:
        raise ModelError(f"{model.name} was loaded without torch; load it with engine='torch'")
    try:
        written = _whisper(model, state) if model.config.encoder.family == "whisper" else _ast(model, state)
    except ValueError as error:
        raise ModelError(f"{model.name}: {error}") from error
    for sentence in written.lost:
        log.warning("%s: %s", model.name, sentence)
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / CONFIG, written.config)
    _write_json(folder / FRONT_END, written.extractor)
    save_file(dict(written.state), folder / WEIGHTS, metadata={"format": "pt"})
    _copy_card(model, folder)


def write_with_graphs(model: ModelFolder, state: State | None, folder: Path) -> None:
    """Our own folder with ONNX graphs beside its weights, which onnxruntime and OpenVINO both run, without torch."""
    from sonopsis.graphs.write import check_parts, write_graphs

    try:
        check_parts(model.config)
    except ValueError as error:
        raise ModelError(f"{model.name}: {error}") from error
    write_folder(model, state, folder)
    write_graphs(model.config, folder / WEIGHTS)


def write_with_int8(model: ModelFolder, state: State | None, folder: Path) -> None:
    """The same with one more graph, which tags with weights in eight bits."""
    from sonopsis.graphs.quantise import write_int8

    write_with_graphs(model, state, folder)
    write_int8(folder)


TARGETS: dict[str, Callable[[ModelFolder, State | None, Path], None]] = {
    "folder": write_folder,
    "hf": write_huggingface,
    "onnx": write_with_graphs,
    "openvino": write_with_graphs,  # reads the same graphs
    "int8": write_with_int8,
}


@dataclass(frozen=True)
class _ForTransformers:
    """What a folder of transformers holds, and what it cannot say."""

    config: dict[str, Any]
    extractor: dict[str, Any]
    state: State
    lost: list[str]


def _ast(model: ModelFolder, state: State) -> _ForTransformers:
    from sonopsis.checkpoints import ast_write

    config, labels = model.config.encoder, model.config.labels
    ast_write.check_ast(config)
    return _ForTransformers(
        ast_write.huggingface_config(config, labels),
        ast_write.huggingface_extractor(model.mel),
        ast_write.huggingface_state(state, config),
        ast_write.lost(config, model.mel, model.config.keep_rate, classifier=bool(labels)),
    )


def _whisper(model: ModelFolder, state: State) -> _ForTransformers:
    from sonopsis.checkpoints import whisper_write

    config, labels = model.config.encoder, model.config.labels
    whisper_write.check(config, model.mel, labels)
    return _ForTransformers(
        whisper_write.huggingface_config(config, model.mel, labels),
        whisper_write.huggingface_extractor(model.mel),
        whisper_write.huggingface_state(state, config, model.mel.frames),
        whisper_write.lost(model.mel, model.config.keep_rate),
    )


def _smallest(tensor: "Tensor") -> "Tensor":
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    half = tensor.half()
    return half if tensor.ndim > 1 and bool((half.float() == tensor).all()) else tensor


def _copy_card(model: ModelFolder, folder: Path) -> bool:
    """Copy the model's card, which states its licence, if it has one; whether it has."""
    card = model.path / CARD  # of a checkpoint that is a single file there is none
    if card.is_file():
        shutil.copyfile(card, folder / CARD)
    return card.is_file()


def _card(model: ModelFolder) -> str:
    """The beginning of a card for a model that came without one."""
    config = model.config.encoder
    return (
        f"# {model.name}\n\n"
        f"A sonopsis model folder written from `{model.path.name}`: an encoder of family {config.family} "
        f"({config.width} wide, {config.depth} blocks) with {len(model.config.labels)} labels, for "
        f"{model.window:g} s of sound at once.\n\n"
        "To be filled in: what it was trained on, its licence, how well it does, and what it cannot do.\n"
    )


def _write_json(file: Path, fields: object) -> None:
    file.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
