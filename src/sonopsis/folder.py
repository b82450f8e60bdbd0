"""A model is a folder: what its files are called, what they hold, and what to say when one is missing.

config.json                architecture, labels, default keep rate
model.safetensors          weights of encoder, head, connector and language model, in float16
preprocessor_config.json   the Mel front end: frames, normalisation, padding
tokenizer.json             the caption vocabulary (models that caption)
README.md                  the model card
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sonopsis.files import ModelError
from sonopsis.mel import MelConfig

CONFIG, WEIGHTS, FRONT_END, TOKENIZER = "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"
CARD = "README.md"
MODEL_TYPE = "sonopsis"
END_OF_TEXT = 0  # one token starts a caption, ends it, and pads a batch, as in the GPT-NeoX tokenizer of Mamba-2
DEFAULT_MODEL = Path(__file__).parent / "pretrained" / "default"


@dataclass(frozen=True)
class ModelConfig:
    """`config.json`: the parts of a model (each part's own fields are checked by the part) and how it is used."""

    labels: list[str]  # empty: an encoder alone
    encoder: dict[str, Any]
    connector: dict[str, Any] | None = None
    lm: dict[str, Any] | None = None
    keep_rate: float = 1.0  # at the default pruning blocks, unless the caller asks for another
    max_caption_tokens: int = 48
    caption_samples: int = 0  # captions drawn, of which the consensus is given; 0: the most probable words instead
    training: dict[str, Any] = field(default_factory=dict)  # data, seeds and steps, for `sonopsis info`

    def __post_init__(self) -> None:
        if (self.connector is None) != (self.lm is None):
            raise ValueError("a model that captions needs both `connector` and `lm` in config.json")
        if not (isinstance(self.labels, list) and all(isinstance(label, str) for label in self.labels)):
            raise ValueError("labels must be a list of names")
        if self.lm is not None and not self.labels:
            raise ValueError("labels must be a list of names: a model that captions also tags")
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"keep_rate must be over 0 and at most 1, not {self.keep_rate!r}")
        if self.max_caption_tokens < 1:
            raise ValueError(f"max_caption_tokens must be at least 1, not {self.max_caption_tokens!r}")
        if self.caption_samples < 0:
            raise ValueError(f"caption_samples must not be negative: {self.caption_samples!r}")


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files are, with the two JSON files read."""

    path: Path  # another program's checkpoint may be a single file
    config: ModelConfig
    mel: MelConfig
    file: Path | None = None  # where the weights are, if not in model.safetensors

    @property
    def name(self) -> str:
        """`default` for the bundled model, a hub id, or the name of the folder, or of the file without its suffix."""
        if self.path == DEFAULT_MODEL:
            return "default"
        fetched = hub_id(self.path)
        if fetched is not None:
            return fetched
        return self.path.stem if self.path.is_file() else self.path.resolve().name

    @property
    def weights(self) -> Path:
        """The file with the weights."""
        return self.path / WEIGHTS if self.file is None else self.file

    @property
    def tokenizer(self) -> Path | None:
        """The tokenizer file, None for a model that only tags."""
        return self.path / TOKENIZER if self.config.lm is not None else None


def hub_id(path: Path) -> str | None:
    """The hub id of a folder or file in the hub's cache, .../models--owner--name/snapshots/commit; None for others."""
    for snapshots in path.parents:
        if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
            return snapshots.parent.name.removeprefix("models--").replace("--", "/")
    return None


def is_foreign(model: str | os.PathLike[str]) -> bool:
    """Whether this is another program's checkpoint: a file, or a folder whose config.json is of another model type."""
    path = Path(model)
    if str(model) == "default" or path.is_file():
        return str(model) != "default"
    return (path / CONFIG).is_file() and read_json(path, CONFIG).get("model_type") != MODEL_TYPE


def open_folder(model: str | os.PathLike[str]) -> ModelFolder:
    """Read what a model folder (`"default"`: the bundled one) describes; raises ModelError naming what is missing."""
    path = DEFAULT_MODEL if str(model) == "default" else Path(model)
    if not path.is_dir() and path == DEFAULT_MODEL:
        raise ModelError("the bundled model is not in this installation; install the package again, or name a folder")
    if not path.is_dir():
        raise ModelError(
            f"{model}: no such model folder or file; give a folder with {CONFIG} and {WEIGHTS}, a checkpoint of AST, "
            "AudioMAE or EAT, a hub id (owner/name), or 'default'"
        )
    fields = read_json(path, CONFIG)
    if fields.pop("model_type", None) != MODEL_TYPE:
        raise ModelError(f'{path}: {CONFIG} is not of a sonopsis model (no "model_type": "{MODEL_TYPE}")')
    fields.pop("threshold", None)  # in folders of older versions; no model reads it
    front_end = read_json(path, FRONT_END)
    try:
        found = ModelFolder(path, ModelConfig(**fields), MelConfig(**front_end))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {CONFIG} or {FRONT_END} does not fit this version of sonopsis ({error})") from error
    for file in (found.weights, found.tokenizer):
        if file is not None and not file.is_file():
            raise ModelError(f"{path}: {file.name} is missing; copy the whole model folder")
    return found


def write_description(path: Path, config: ModelConfig, mel: MelConfig) -> None:
    """Write the two JSON files of a model folder, creating the folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, fields in ((CONFIG, {"model_type": MODEL_TYPE, **asdict(config)}), (FRONT_END, asdict(mel))):
        (path / name).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of a folder; raises ModelError when there is none."""
    try:
        fields = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: {name} is missing; this is not a sonopsis model folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder}: {name} is not valid JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ModelError(f"{folder}: {name} must hold a JSON object")
    return fields
