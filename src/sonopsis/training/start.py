"""What a run starts from: a preset, whose weights are drawn, or any model that `sonopsis.load` reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from sonopsis.captioning.captioner import Captioner
from sonopsis.checkpoints import crop_positions
from sonopsis.data.manifest import Row
from sonopsis.encoder import PRESETS, EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.mel import FRAME_RATE, MelConfig, whisper_front_end
from sonopsis.model import load
from sonopsis.training.config import EncoderTraining, TrainConfig
from sonopsis.training.published import check_weights, place_of

# The front end of a preset whose weights are drawn. `small` is for recordings of all levels, not for AudioSet's, and
# reads clips of any length; the others read what their published weights do.
FRONT_ENDS = {"small": MelConfig(1024, mean=-9.0, std=3.5, padding="clip_min", multiple=16)}
SIZES = ("width", "depth", "heads", "stem")


@dataclass(frozen=True)
class Start:
    """An encoder with its front end and, except for a preset, labels and weights."""

    name: str
    encoder: EncoderConfig
    mel: MelConfig
    labels: list[str] = field(default_factory=list)
    module: Tagger | Captioner | None = None  # None: weights are drawn
    tokenizer: Tokenizer | None = None  # of a model that captions
    keep_rate: float = 1.0  # the model's own
    distilled_labels: list[str] = field(default_factory=list)  # those of `labels` that no recording taught
    training: Mapping[str, Any] | None = None  # what the model's config.json says of its own training

    @property
    def tagger(self) -> Tagger | None:
        """The trained tagger, None for a preset."""
        return self.module.tagger if isinstance(self.module, Captioner) else self.module

    @property
    def captioner(self) -> Captioner | None:
        """The trained captioner, None for a preset and for a model that only tags."""
        return self.module if isinstance(self.module, Captioner) else None


def open_start(config: TrainConfig) -> Start:
    """The model that `config.model` names; raises ValueError, in one line, when there is none or it cannot be read."""
    changes = _changes(config.encoder)
    if config.model in PRESETS and not Path(config.model).exists():
        encoder = replace(PRESETS[config.model], **changes)
        return _with_input(Start(config.model, encoder, _front_end(config.model, encoder)), config)
    if sizes := [name for name in SIZES if name in changes]:
        raise ValueError(
            f"encoder.{sizes[0]} is for presets ({', '.join(PRESETS)}); {config.model} has sizes of its own: "
            "leave the key out"
        )
    check_weights("model", config.model)
    try:
        model = load(place_of(config.model), engine="torch")
    except ValueError as error:
        raise ValueError(f"model: {error} (or a preset: {', '.join(PRESETS)})") from error
    module = model.module.float()
    start = Start(
        model.name,
        model.engine.config,
        model.folder.mel,
        list(model.labels),
        module,
        model.tokenizer,
        model.keep_rate,
        model.folder.config.distilled_labels,
        model.folder.config.training,
    )
    return _with_input(replace(start, encoder=replace(start.encoder, **changes)), config)


def _with_input(start: Start, config: TrainConfig) -> Start:
    """The start with the front end that a run sets anew, and with what is heard at once where it says how long."""
    changes = {name: value for name, value in vars(config.front_end).items() if value is not None}
    try:
        start = replace(start, mel=replace(start.mel, **changes))
    except ValueError as error:
        raise ValueError(f"front_end: {error}") from error
    if config.encoder.window is None:
        return start
    frames = round(config.encoder.window * FRAME_RATE)
    try:
        encoder = replace(start.encoder, frames=frames)
        if start.tagger is not None and start.encoder.position == "learned":
            trained = start.tagger.encoder
            trained.positions = nn.Parameter(crop_positions(trained.positions.detach(), start.encoder, frames))
        return replace(start, encoder=encoder, mel=replace(start.mel, frames=frames))
    except ValueError as error:
        raise ValueError(f"encoder.window: {error}") from error


def _front_end(preset: str, encoder: EncoderConfig) -> MelConfig:
    if encoder.family == "whisper":
        return whisper_front_end(encoder.frames, encoder.mels)
    return FRONT_ENDS.get(preset, MelConfig(encoder.frames))


def choose_labels(config: TrainConfig, start: Start, rows: Sequence[Row]) -> list[str]:
    """The labels of a run; raises ValueError when a row has another one, or when there are none."""
    if config.labels == "manifest":
        labels = sorted({label for row in rows for label in row.labels})
    elif config.labels == "inherit":
        labels = start.labels
        if not labels:
            raise ValueError(f"labels: {start.name} has no labels to inherit; use `labels: manifest` or a list")
    else:
        labels = list(config.labels)
    if not labels:
        raise ValueError("labels: the training rows have no labels; give a list")
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels: {Counter(labels).most_common(1)[0][0]!r} is named twice")
    check_labels(labels, rows)
    return labels


def check_labels(labels: Sequence[str], rows: Sequence[Row]) -> None:
    """Raise one ValueError that counts the rows with a label that is none of `labels`."""
    known = set(labels)
    strange = [row for row in rows if not known.issuperset(row.labels)]
    if strange:
        counts = Counter(label for row in strange for label in row.labels if label not in known)
        most = ", ".join(f"{label!r} ({count})" for label, count in counts.most_common(5))
        raise ValueError(
            f"labels: {len(strange)} of {len(rows)} rows of the manifest have labels that this run does not know: "
            f"{most}{', ...' if len(counts) > 5 else ''}; list all labels in `labels`, or take these rows out "
            "(`labels: manifest` has those of training rows alone)"
        )


def _changes(encoder: EncoderTraining) -> dict[str, Any]:
    """The fields of an encoder that a run sets anew."""
    names = ("drop_path", "pooling", *SIZES)
    changes = {name: value for name in names if (value := getattr(encoder, name)) is not None}
    if encoder.pooling is not None:  # nothing trains CLS to attend to what matters
        changes["score"] = "attention"
    if encoder.pooling in ("attention", "layers"):  # tokens are normed for it anyway
        changes["token_norm"] = False
    return changes
