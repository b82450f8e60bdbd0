"""The files of a model folder, ours or a published one: their names, and how JSON and weights are found.

config.json                    what the model is: sizes, labels
preprocessor_config.json       how it wants its log-Mel
model.safetensors              the weights; in several files: model.safetensors.index.json says which tensor is where
pytorch_model.bin              the weights of older checkpoints, pickled
model.bin                      the weights of a model that was converted to CTranslate2
tokenizer.json                 the vocabulary of a language model
README.md                      the model card
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CONFIG, FRONT_END, TOKENIZER, CARD = "config.json", "preprocessor_config.json", "tokenizer.json", "README.md"
WEIGHTS, SHARDS, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
CONVERTED = "model.bin"


class ModelError(ValueError):
    """A model that cannot be used; the message is one line that says what is missing or wrong."""


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ModelError, which names the file, when there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file} is missing; give the folder that holds the whole model") from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not valid JSON ({error}); copy or fetch it again") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} must hold a JSON object; copy or fetch it again")
    return found


def read_fields(kind: type[T], values: Mapping[str, Any], name: str) -> T:
    """The dataclass that a section of a JSON file describes, called `name` in errors.

    Raises ValueError for fields that are unknown or missing, and what the dataclass itself raises.
    """
    found = fields(kind)  # type: ignore[arg-type]  # kind is a dataclass
    known = sorted(field.name for field in found)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown {name} fields {unknown}; known: {known}")
    needed = {field.name for field in found if field.default is MISSING and field.default_factory is MISSING}
    if missing := sorted(needed - set(values)):
        raise ValueError(f"{name} fields {missing} are missing")
    return kind(**values)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights: one, or all shards; raises ModelError when one of them is missing.

    Safe tensors come before pickled ones, a single file before shards.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / SHARDS).is_file():
        table = read_json(folder / SHARDS).get("weight_map")
        if not (isinstance(table, dict) and table and all(_is_file_name(name) for name in table.values())):
            raise ModelError(f"{folder / SHARDS} has no weight_map from tensors to files; copy or fetch it again")
        files = [folder / name for name in sorted(set(table.values()))]
        if missing := [file.name for file in files if not file.is_file()]:
            raise ModelError(f"{folder}: {', '.join(missing)} is missing; copy or fetch the whole model")
        return files
    for name in (PICKLE, CONVERTED):
        if (folder / name).is_file():
            return [folder / name]
    raise ModelError(
        f"{folder} has no {WEIGHTS}, {SHARDS}, {PICKLE} or {CONVERTED}; give the folder that holds the weights"
    )


def _is_file_name(name: object) -> bool:
    """Whether this is the name of a file in the same folder, and no path to somewhere else."""
    return isinstance(name, str) and Path(name).name == name
