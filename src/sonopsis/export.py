"""A loaded model -> a folder: our own, or that of another program."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonopsis.folder import CARD, CONFIG, FRONT_END, TOKENIZER, WEIGHTS, ModelError, write_description

if TYPE_CHECKING:
    from torch import Tensor

    from sonopsis.model import Model

log = logging.getLogger(__name__)


def export(model: "Model", folder: Path, *, to: str = "folder") -> None:
    """Write a model into a new or empty folder, in one of the forms of `TARGETS`.

    What the form cannot say is logged as a warning. Raises ValueError for an unknown form or a folder that is not
    empty, ModelError for a model that the form cannot hold.
    """
    if to not in TARGETS:
        raise ValueError(f"cannot export to {to!r}; choose one of {', '.join(TARGETS)}")
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder}: not an empty folder; choose a new one")
    TARGETS[to](model, folder)


def write_folder(model: "Model", folder: Path) -> None:
    """Our own model folder: loaded again, it is the same model, to the bit.

    Matrices are stored in float16 where that loses nothing, as in a model that was read from float16, and everything
    else in float32.
    """
    write_description(folder, replace(model.folder.config, keep_rate=model.keep_rate), model.folder.mel)
    if model.engine.name == "torch":
        from safetensors.torch import save_file

        save_file({name: _smallest(tensor) for name, tensor in model.module.state_dict().items()}, folder / WEIGHTS)
    else:
        shutil.copyfile(model.folder.weights, folder / WEIGHTS)
    if model.folder.tokenizer is not None:
        shutil.copyfile(model.folder.tokenizer, folder / TOKENIZER)
    if not _copy_card(model, folder):
        (folder / CARD).write_text(_card(model), encoding="utf-8")


def write_huggingface(model: "Model", folder: Path) -> None:
    """A folder for transformers' ASTForAudioClassification (without classifier: ASTModel) and ASTFeatureExtractor."""
    from safetensors.torch import save_file

    from sonopsis.checkpoints import ast_write

    config, labels = model.engine.config, model.labels
    if model.engine.captions:
        raise ModelError(f"{model.name}: it has a language model, for which transformers' AST has no place")
    try:
        ast_write.check_ast(config)
    except ValueError as error:
        raise ModelError(f"{model.name}: {error}") from error
    for sentence in ast_write.lost(config, model.folder.mel, model.keep_rate, classifier=bool(labels)):
        log.warning("%s: %s", model.name, sentence)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / CONFIG, ast_write.huggingface_config(config, labels))
    _write_json(folder / FRONT_END, ast_write.huggingface_extractor(model.folder.mel))
    tensors = ast_write.huggingface_state(model.module.state_dict(), config)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    _copy_card(model, folder)


def write_graphs(model: "Model", folder: Path) -> None:
    """Our own folder with ONNX graphs beside its weights, which onnxruntime and OpenVINO both run, without torch."""
    from sonopsis.graphs.write import write_graphs

    write_folder(model, folder)
    write_graphs(model.folder.config, folder / WEIGHTS)


def write_int8(model: "Model", folder: Path) -> None:
    """The same with a further graph, that tags with weights in eight bits."""
    from sonopsis.graphs.quantise import write_int8

    write_graphs(model, folder)
    write_int8(folder)


TARGETS: dict[str, Callable[["Model", Path], None]] = {
    "folder": write_folder,
    "hf": write_huggingface,
    "onnx": write_graphs,
    "openvino": write_graphs,  # reads the same graphs
    "int8": write_int8,
}


def _smallest(tensor: "Tensor") -> "Tensor":
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    half = tensor.half()
    return half if tensor.ndim > 1 and bool((half.float() == tensor).all()) else tensor


def _copy_card(model: "Model", folder: Path) -> bool:
    """Whether the model came with a card: it goes along, with the licence it tells."""
    card = model.folder.path / CARD  # of a checkpoint that is a single file there is none
    if card.is_file():
        shutil.copyfile(card, folder / CARD)
    return card.is_file()


def _card(model: "Model") -> str:
    """The beginning of a card for a model that came without one."""
    config = model.engine.config
    return (
        f"# {model.name}\n\n"
        f"A sonopsis model folder written from `{model.folder.path.name}`: an encoder of family {config.family} "
        f"({config.width} wide, {config.depth} blocks) with {len(model.labels)} labels, for {model.window:g} s of "
        "sound at once.\n\n"
        "To be filled in: what it was trained on, its licence, how well it does, and what it cannot do.\n"
    )


def _write_json(file: Path, fields: object) -> None:
    file.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
