"""A model as it lies on disk: `describe` reads what it is, whether the layout is ours or a published one.

Our own layout:

config.json                architecture, labels, default keep rate
model.safetensors          weights of encoder, head, connector and language model, in float16
preprocessor_config.json   the Mel front end: frames, normalisation, padding
tokenizer.json             the caption vocabulary (models that caption)
README.md                  the model card
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from sonopsis.calibration import Calibration
from sonopsis.captioning.config import ConnectorConfig, LMConfig, SecondEncoder, read_lm_config
from sonopsis.encoder.config import EncoderConfig
from sonopsis.files import CONFIG, FRONT_END, TOKENIZER, WEIGHTS, ModelError, read_json
from sonopsis.mel import FRAME_RATE, MelConfig
from sonopsis.ontology import current_labels

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPE = "sonopsis"
DEFAULT_MODEL = Path(__file__).parent / "pretrained" / "default"


@dataclass(frozen=True)
class ModelConfig:
    """`config.json`: the parts of a model, and how it is used; raises ValueError for parts that do not fit together."""

    labels: list[str]  # empty: an encoder alone
    encoder: EncoderConfig
    connector: ConnectorConfig | None = None  # of a model that captions, and so is `lm`
    lm: LMConfig | None = None
    second: SecondEncoder | None = None  # of a captioner that reads two encoders
    keep_rate: float = 1.0  # at the default pruning blocks, unless the caller asks for another
    max_caption_tokens: int = 48
    caption_samples: int = 0  # captions sampled, of which the consensus is given; 0: greedy search instead
    end_of_text: int = 0  # the token that starts a caption and ends it; 0 in the GPT-NeoX tokenizer of Mamba-2
    distilled_labels: list[str] = field(default_factory=list)  # those of `labels` that only a teacher's outputs taught
    thresholds: dict[str, float] = field(default_factory=dict)  # label: least score at which it is shown by default
    answers: bool = False  # whether its language model has learned to answer questions
    calibration: Calibration | None = None  # None: scores as the head gives them
    training: dict[str, Any] = field(default_factory=dict)  # data, seeds and steps, for `sonopsis info`

    def __post_init__(self) -> None:
        if (self.connector is None) != (self.lm is None):
            raise ValueError("a model that captions needs both `connector` and `lm` in config.json")
        reads = 0 if self.connector is None else self.connector.second
        if reads != (0 if self.second is None else self.second.width(self.encoder.frames)):
            raise ValueError("connector.second must be the width of `second`, the second encoder, and 0 without one")
        if not (isinstance(self.labels, list) and all(isinstance(label, str) for label in self.labels)):
            raise ValueError("labels must be a list of names")
        if self.lm is not None and not self.labels:
            raise ValueError("labels must be a list of names: a model that captions also tags")
        if unknown := sorted(set(self.distilled_labels) - set(self.labels)):
            raise ValueError(f"distilled_labels must be among labels, which {unknown[0]!r} is not")
        if not all(isinstance(value, float | int) and 0 <= value <= 1 for value in self.thresholds.values()):
            raise ValueError(f"thresholds must lie between 0 and 1, not {self.thresholds!r}")
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"keep_rate must be over 0 and at most 1, not {self.keep_rate!r}")
        if self.max_caption_tokens < 1:
            raise ValueError(f"max_caption_tokens must be at least 1, not {self.max_caption_tokens!r}")
        if self.caption_samples < 0:
            raise ValueError(f"caption_samples must not be negative: {self.caption_samples!r}")

    @property
    def least(self) -> dict[str, float]:
        """Label -> the least score with which an answer may name it; empty for a model without thresholds."""
        share = 0.0 if self.calibration is None else self.calibration.grounding
        return {label: share * self.thresholds.get(label, 0.0) for label in self.labels} if self.thresholds else {}

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`; raises ValueError or TypeError on what is unknown, missing or of another type."""
        readers = {
            "encoder": EncoderConfig.from_dict,
            "connector": ConnectorConfig.from_dict,
            "lm": read_lm_config,
            "second": SecondEncoder.from_dict,
            "calibration": Calibration.from_dict,
        }
        parts = {}
        for name, read in readers.items():
            value = fields.get(name)
            if not isinstance(value, dict) and (value is not None or name == "encoder"):
                raise ValueError(f"{name} must hold its fields by name, not {value!r}")
            parts[name] = None if value is None else read(value)
        return cls(**{**fields, **parts})


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: where its files are, and what they say it is."""

    path: Path  # a folder; a published checkpoint may be a single file
    config: ModelConfig
    mel: MelConfig
    weights: Path
    state: "Mapping[str, Tensor] | None" = None  # of a published layout: its tensors by our names

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
    def window(self) -> float:
        """Seconds of audio that the model hears at once."""
        return self.mel.frames / FRAME_RATE

    @property
    def tokenizer(self) -> Path | None:
        """The tokenizer file, None for a model that only tags."""
        return self.path / TOKENIZER if self.config.lm is not None else None

    def at(self, keep_rate: float) -> "ModelFolder":
        """The same with another keep rate unless the caller asks for one."""
        return replace(self, config=replace(self.config, keep_rate=keep_rate))

    def open_tokenizer(self) -> Tokenizer | None:
        """The tokenizer, None for a model that only tags; raises ModelError for a file that is none."""
        if self.tokenizer is None:
            return None
        try:
            return Tokenizer.from_file(str(self.tokenizer))
        except Exception as error:  # the library raises nothing more specific
            raise ModelError(f"{self.path}: {self.tokenizer.name} is not a tokenizer ({error})") from error


def hub_id(path: Path) -> str | None:
    """The hub id of a folder or file in the hub's cache, .../models--owner--name/snapshots/commit; None for others."""
    for snapshots in path.parents:
        if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
            return snapshots.parent.name.removeprefix("models--").replace("--", "/")
    return None


def describe(model: str | os.PathLike[str]) -> ModelFolder:
    """Read what a model on disk is: a folder of ours, or a file or folder of AST, AudioMAE, EAT or Whisper.

    Raises ModelError, in one line, for what is missing, damaged, or of another kind.
    """
    path = Path(model)
    if path.is_file():
        return _published(path)
    if not path.is_dir() and path == DEFAULT_MODEL:
        raise ModelError("the bundled model is not in this installation; install the package again, or name a folder")
    if not path.is_dir():
        raise ModelError(
            f"{model}: no such model folder or file; give a folder with {CONFIG} and {WEIGHTS}, a checkpoint of AST, "
            "AudioMAE, EAT or Whisper, a hub id (owner/name), or 'default'"
        )
    fields = read_json(path / CONFIG)
    return _ours(path, fields) if fields.get("model_type") == MODEL_TYPE else _published(path)


def _ours(path: Path, fields: dict[str, Any]) -> ModelFolder:
    del fields["model_type"]
    fields.pop("threshold", None)  # in folders of older versions; no model reads it
    front_end = read_json(path / FRONT_END)
    try:
        config = ModelConfig.from_dict(fields)
        config = replace(config, labels=current_labels(config.labels))
        found = ModelFolder(path, config, MelConfig(**front_end), path / WEIGHTS)
        for frames in (found.mel.frames, found.mel.multiple or found.mel.frames):
            found.config.encoder.grid(frames)
        if found.mel.mels != found.config.encoder.mels:
            raise ValueError(f"a log-Mel of {found.mel.mels} bands for an encoder of {found.config.encoder.mels}")
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {CONFIG} or {FRONT_END} does not fit this version of sonopsis ({error})") from error
    for file in (found.weights, found.tokenizer):
        if file is not None and not file.is_file():
            raise ModelError(f"{path}: {file.name} is missing; copy the whole model folder")
    return found


def _published(path: Path) -> ModelFolder:
    from sonopsis.checkpoints import read_checkpoint  # imports torch, which a folder of ours does not need

    found = read_checkpoint(path)
    config = ModelConfig(found.labels, found.config)
    return ModelFolder(path, config, found.mel, found.weights, found.state)


def write_description(path: Path, config: ModelConfig, mel: MelConfig) -> None:
    """Write the two JSON files of a model folder, creating the folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, fields in ((CONFIG, {"model_type": MODEL_TYPE, **config.to_dict()}), (FRONT_END, asdict(mel))):
        (path / name).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
