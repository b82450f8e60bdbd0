"""A training run as a YAML file: every field with its unit, unknown keys refused, `key=value` overrides."""

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml


@dataclass(frozen=True)
class DataConfig:
    """Which clips are heard and how they are changed before they are."""

    root: str | None = None  # data folder; None: $SONOPSIS_DATA or the default
    seconds: float = 2.56  # length of a tagging example
    workers: int = 1  # processes that compose batches
    speed: float = 0.2  # clips are played up to this share faster or slower
    reverb: float = 0.25  # share of clips heard in a synthetic room
    equaliser_db: float = 6.0  # a random smooth gain curve over frequency, up to this in either direction
    band_limit: float = 0.25  # share of examples cut above a random frequency, as old recordings are
    time_masks: int = 2  # SpecAugment: masks of up to `time_mask_frames` frames
    time_mask_frames: int = 24
    frequency_masks: int = 2  # SpecAugment: masks of up to `frequency_mask_bins` Mel bins
    frequency_mask_bins: int = 16


@dataclass(frozen=True)
class PruningConfig:
    """Keep rates seen in training: drawn anew each step between a shrinking lower bound and 1."""

    keep_rate: float = 0.5  # the lower bound once shrinking has ended
    shrink_start: float = 0.1  # shares of the run
    shrink_end: float = 0.4


@dataclass(frozen=True)
class TrainConfig:
    """One stage of training: what, from what, for how long."""

    stage: Literal["tagging", "verbalising", "captioning"]
    output: str
    init: str | None = None  # model folder to start from
    encoder: dict[str, Any] = field(default_factory=dict)  # fields over the preset `small`
    connector: dict[str, Any] = field(default_factory=dict)
    lm: dict[str, Any] = field(default_factory=dict)
    vocabulary: int = 1024  # size of the caption tokenizer
    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-3
    encoder_learning_rate: float | None = None  # None: the same
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema: float = 0.998  # decay of the averaged weights that are validated and exported
    tag_weight: float = 1.0  # of the tagging loss beside the caption loss
    timing_weight: float = 1.0  # of the loss of labels in time beside the caption loss
    label_smoothing: float = 0.0
    precision: Literal["no", "bf16"] = "bf16"
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    validate_every: int = 500
    data: DataConfig = field(default_factory=DataConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a run's YAML file and apply `a.b=value` overrides; raises ValueError naming an unknown key."""
    found = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    for override in overrides or []:
        key, separator, value = override.partition("=")
        if not separator:
            raise ValueError(f"override {override!r} is not of the form key=value")
        *parents, last = key.split(".")
        target = found
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = yaml.safe_load(value)
    for name in ("stage", "output"):
        if name not in found:
            raise ValueError(f"{path}: `{name}` is missing")
    base = TrainConfig(stage=found.pop("stage"), output=found.pop("output"))
    return _merge(base, found, str(path))


def dump_config(config: TrainConfig, path: Path) -> None:
    """Save the resolved configuration beside a run's results."""
    path.write_text(yaml.safe_dump(asdict(config), sort_keys=False), encoding="utf-8")


def _merge(base: Any, changes: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(base)}
    for key, value in changes.items():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")
        current = getattr(base, key)
        if is_dataclass(current):
            value = _merge(current, value or {}, f"{where}: {key}")
        elif isinstance(current, dict) and not isinstance(value, dict):
            raise ValueError(f"{where}: {key} must hold keys and values, not {value!r}")
        elif isinstance(current, float) and isinstance(value, int | str):
            value = float(value)  # YAML reads 1e-3 as text
        base = replace(base, **{key: value})
    return base
