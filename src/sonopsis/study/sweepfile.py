"""A sweep's YAML file: a run that all trials share, the axes along which they differ, and what decides between them."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_config

SamplerName = Literal["grid", "random", "tpe"]
Direction = Literal["maximize", "minimize"]
Point = dict[str, Any]  # of each axis: the name of a choice, or a number of a range
NEEDED = ("base", "output", "objective", "axes")
KEYS = (*NEEDED, "set", "sampler", "trials", "seeds", "direction", "name", "storage", "patience")
IN_A_RANGE = {"low", "high", "step", "log"}


@dataclass(frozen=True)
class Choices:
    """An axis of named choices; each sets one or several keys of the run."""

    values: dict[str, dict[str, Any]]

    def keys(self, chosen: Any) -> dict[str, Any]:
        """What a choice sets."""
        return self.values[chosen]


@dataclass(frozen=True)
class Range:
    """An axis of numbers of one key, between two of them, both included."""

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return all(isinstance(bound, int) for bound in (self.low, self.high, self.step or 1))

    def keys(self, chosen: Any) -> dict[str, Any]:
        """What a number sets."""
        return {self.key: chosen}


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file describes it; paths are those of this process."""

    base: Path  # the YAML file of a run
    output: Path
    objective: str  # a figure of the validation, as the run's log names it without val_
    axes: dict[str, Choices | Range]
    always: dict[str, Any]  # keys of the run that are set in all trials
    sampler: SamplerName
    trials: int  # so many configurations
    seeds: list[int]  # each configuration is trained once with each
    direction: Direction
    name: str
    storage: str  # the URL of a database
    patience: int  # seconds without a sign of life after which a process counts as dead

    def grid(self) -> list[Point]:
        """Every combination of the choices."""
        names = [list(axis.values) for axis in self.axes.values() if isinstance(axis, Choices)]
        return [dict(zip(self.axes, chosen, strict=True)) for chosen in itertools.product(*names)]

    def overrides(self, point: Point) -> list[str]:
        """The keys of a point as `key=value` of `sonopsis train`."""
        keys = dict(self.always)
        for name, chosen in point.items():
            keys |= self.axes[name].keys(chosen)
        return [f"{key}={json.dumps(value)}" for key, value in keys.items()]

    def config(self, point: Point, seed: int, output: Path) -> TrainConfig:
        """The configuration of one run."""
        return load_config(self.base, [*self.overrides(point), f"seed={seed}", f"output={output}"])

    def run_name(self, point: Point) -> str:
        """A file name for a point: its choices, and a digest that tells it from all others."""
        said = "-".join(f"{value:g}" if isinstance(value, float) else str(value) for value in point.values())
        digest = hashlib.sha256(json.dumps(self.overrides(point), sort_keys=True).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', said)[:60].strip('-.')}-{digest}"

    def identity(self) -> dict[str, Any]:
        """What all processes of a study must agree on, as JSON values."""
        base = asdict(load_config(self.base, [f"{key}={json.dumps(value)}" for key, value in self.always.items()]))
        base = {key: value for key, value in base.items() if key not in ("output", "seed")}
        axes = {name: asdict(axis) for name, axis in self.axes.items()}
        return json.loads(
            json.dumps(
                {
                    "base": hashlib.sha256(json.dumps(base).encode()).hexdigest()[:16],
                    "axes": axes,
                    "objective": [self.objective, self.direction],
                    "sampler": self.sampler,
                    "seeds": self.seeds,
                }
            )
        )


def load_sweep(path: Path, storage: str | None = None) -> Sweep:
    """Read a sweep's YAML file; `storage` is the URL of a database in place of the file's.

    Raises ValueError, in one line that names file and key, for what is no sweep, and for axes that no run could have.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: this is not YAML ({' '.join(str(error).split())})") from error
    try:
        sweep = _sweep(path, found, storage)
        for name, axis in sweep.axes.items():
            ends = list(axis.values) if isinstance(axis, Choices) else [axis.low, axis.high]
            for chosen in ends:
                try:
                    sweep.config({name: chosen}, sweep.seeds[0], sweep.output)
                except ValueError as error:
                    raise ValueError(f"axes.{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return sweep


def _sweep(path: Path, found: Any, storage: str | None) -> Sweep:
    if not isinstance(found, dict):
        raise ValueError("a sweep is described by keys and values, as in configs/sweeps/")
    if unknown := [key for key in found if key not in KEYS]:
        raise ValueError(f"unknown key `{unknown[0]}`; known: {', '.join(KEYS)}")
    if missing := [key for key in NEEDED if found.get(key) is None]:
        raise ValueError(f"`{missing[0]}` is missing")
    for key in ("base", "output", "objective", "name", "storage"):
        if not isinstance(found.get(key, ""), str):
            raise ValueError(f"`{key}` must be a name, not {found[key]!r}")
    base = path.parent / found["base"]
    if not base.is_file():
        raise ValueError(f"`base` must be the path of a run's YAML file from this one, not {found['base']!r}")
    always = found.get("set") or {}
    if not isinstance(always, dict) or not isinstance(found["axes"], dict):
        raise ValueError("`set` and `axes` must be keys and values")
    seeds = found.get("seeds", [0])
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
        raise ValueError(f"`seeds` must be a list of whole numbers, not {seeds!r}")
    axes = {str(name): _axis(str(name), values) for name, values in found["axes"].items()}
    sampler = _one_of(found, "sampler", "grid", get_args(SamplerName))
    output = Path(found["output"])
    sweep = Sweep(
        base,
        output,
        found["objective"].removeprefix("val_"),
        axes,
        always,
        sampler,
        _trials(found.get("trials"), sampler, axes),
        seeds,
        _one_of(found, "direction", "maximize", get_args(Direction)),
        found.get("name", path.stem),
        storage or found.get("storage") or f"sqlite:///{output / 'study.db'}",
        found.get("patience", 60),
    )
    if type(sweep.patience) is not int or sweep.patience < 2:
        raise ValueError(f"`patience` must be a whole number of seconds, at least 2, not {sweep.patience!r}")
    return sweep


def _trials(trials: Any, sampler: str, axes: Mapping[str, Choices | Range]) -> int:
    """How many configurations a sweep has."""
    if sampler == "grid":
        if ranges := [name for name, axis in axes.items() if isinstance(axis, Range)]:
            raise ValueError(f"axes.{ranges[0]}: a grid needs a list of values; give one, or sampler: random or tpe")
        if trials is not None:
            raise ValueError("`trials` is for sampler random or tpe; a grid has as many as its axes make")
        return math.prod(len(axis.values) for axis in axes.values() if isinstance(axis, Choices))
    if type(trials) is not int or trials < 1:
        raise ValueError(f"sampler {sampler} needs `trials`, how many configurations to try, not {trials!r}")
    return trials


def _axis(name: str, values: Any) -> Choices | Range:
    if isinstance(values, list) and values:
        named = {_label(value): {name: value} for value in values}
        if len(named) < len(values):
            raise ValueError(f"axes.{name}: a value is named twice")
        return Choices(named)
    if isinstance(values, dict) and values and all(isinstance(value, dict) and value for value in values.values()):
        return Choices({str(label): dict(value) for label, value in values.items()})
    if isinstance(values, dict) and {"low", "high"} <= values.keys() <= IN_A_RANGE:
        return _range(name, values)
    raise ValueError(
        f"axes.{name} must be a list of values, or low and high (step, log), or names each with the keys that it sets"
    )


def _range(name: str, values: Mapping[str, Any]) -> Range:
    try:  # YAML reads 1e-3 as text
        low, high, step = (
            value if value is None or type(value) is int else float(value)
            for value in (values["low"], values["high"], values.get("step"))
        )
    except (TypeError, ValueError):
        raise ValueError(f"axes.{name}: low, high and step are numbers") from None
    log = bool(values.get("log", False))
    if low is None or high is None or low >= high or (log and (low <= 0 or step is not None)):
        raise ValueError(f"axes.{name}: low must be under high, and with log over 0 and without step")
    return Range(name, low, high, step, log)


def _label(value: Any) -> str:
    """A value of YAML as a name."""
    return (
        value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]
    )


def _one_of(found: Mapping[str, Any], key: str, default: str, names: tuple[str, ...]) -> Any:
    value = found.get(key, default)
    if value not in names:
        raise ValueError(f"`{key}` must be {' or '.join(names)}, not {value!r}")
    return value
