"""A run's YAML file <-> `TrainConfig`: unknown keys and wrong types are refused in one line, `key=value` overrides."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from sonopsis.training.config import TrainConfig

T = TypeVar("T")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a run's YAML file, with the one that its key `base` names below it, and apply `a.b=value` overrides.

    Raises ValueError, in one line that names file and key, for what is no key, of a wrong type or out of range.
    """
    found = _keys(Path(path))
    for override in overrides:
        _set(found, override)
    return _read(TrainConfig, found, str(path), "")


def load_stages(path: str | Path, overrides: Sequence[str] = ()) -> list[TrainConfig]:
    """The runs that a file describes, one after the other: one, or those of its key `stages`.

    Each entry of `stages` has a name, and keys that lie over the others of the file. It writes to a folder of its own
    below `output`, and starts from the model of the stage before, unless it names another `model`; the language model
    is that model's too. Overrides hold for all stages, but `model` and `language_model` for the first one alone;
    `stages.NAME.key=value` holds for one stage, and before the others. Raises ValueError as `load_config`.
    """
    found = _keys(Path(path))
    if (stages := found.pop("stages", None)) is None:
        return [load_config(path, overrides)]
    if not _sections(stages) or not stages:
        raise ValueError(f"{path}: `stages` must give a name and keys to each stage, in their order")
    stages = {str(name): own for name, own in stages.items()}
    given: dict[str, Any] = {}
    for override in overrides:
        _set(given, override)
    if not _sections(asked := given.pop("stages", {})):
        raise ValueError(f"{path}: give a value to a key of a stage, as in stages.{next(iter(stages))}.steps=100")
    if strange := [name for name in asked if name not in stages]:
        raise ValueError(f"{path}: there is no stage {strange[0]!r}; known: {', '.join(stages)}")
    if not isinstance(output := given.pop("output", found.get("output")), str):
        raise ValueError(f"{path}: `output` is missing: the folder in which each stage has one of its own")
    configs: list[TrainConfig] = []
    for number, (name, own) in enumerate(stages.items(), 1):
        own = _over(own, asked.get(name, {}))
        if taken := {"output", "stages", "base"} & set(own):
            raise ValueError(f"{path}: stages.{name}: `{min(taken)}` belongs to the whole file; leave it out here")
        keys = _over(_over(_over(found, own), given), asked.get(name, {}))
        keys["output"] = str(Path(output, f"{number}-{name}"))
        if configs:
            keys["model"] = own.get("model", str(Path(configs[-1].output) / "model"))
            keys["language_model"] = own.get("language_model")
        configs.append(_read(TrainConfig, keys, str(path), ""))
    return configs


def _sections(value: Any) -> bool:
    """Whether these are names with keys and values each."""
    return isinstance(value, dict) and all(isinstance(own, dict) for own in value.values())


def dump_config(config: TrainConfig, path: Path) -> None:
    """Save the resolved configuration beside a run's results."""
    path.write_text(yaml.safe_dump(asdict(config), sort_keys=False), encoding="utf-8")


def _keys(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a file over those of its base, which is a path from the file's own folder."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: this is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a run is described by keys and values, as in configs/")
    if (base := found.pop("base", None)) is None:
        return found
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise ValueError(f"{path}: `base` must be the path of a YAML file from this one, not {base!r}")
    other = (path.parent / base).resolve()
    if other in (path.resolve(), *below):
        raise ValueError(f"{path}: `base` leads back to this file")
    return _over(_keys(other, (*below, path.resolve())), found)


def _over(base: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The keys of a base with those of a file in their place; sections are merged."""
    both = {
        key: _over(base[key], found[key])
        for key in found
        if isinstance(base.get(key), dict) and isinstance(found[key], dict)
    }
    return base | found | both


def _set(found: dict[str, Any], override: str) -> None:
    """Apply one `a.b=value`."""
    key, separator, value = override.partition("=")
    if not separator:
        raise ValueError(f"override {override!r} is not of the form key=value")
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(found.get(parent), dict):  # absent, null, or a name in whose place keys are given
            found[parent] = {}
        found = found[parent]
    found[last] = yaml.safe_load(value)


def _read(kind: type[T], values: Mapping[str, Any], file: str, where: str) -> T:
    """An instance of the dataclass `kind`; `where` is the key it stands under, with a dot behind it."""
    hints = get_type_hints(kind)
    own = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # kind is a dataclass
    for key in values:
        if key not in own:
            raise ValueError(f"{file}: unknown key `{where}{key}`; known: {', '.join(own)}")
    if missing := [name for name in ("stage", "output") if name in own and name not in values]:
        raise ValueError(f"{file}: `{missing[0]}` is missing")
    read = {key: _value(hints[key], value, file, where + key) for key, value in values.items()}
    try:
        return kind(**read)
    except ValueError as error:  # out of range
        raise ValueError(f"{file}: {where}{error}") from error


def _value(hint: Any, value: Any, file: str, key: str) -> Any:
    """A value of YAML as one of the type `hint`."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in choices:
        return None
    sections = [choice for choice in choices if is_dataclass(choice)]
    if sections and (isinstance(value, Mapping) or (value is None and len(choices) == 1)):
        return _read(sections[0], value or {}, file, f"{key}.")  # type: ignore[arg-type]
    for choice in choices:
        fits, converted = _simple(choice, value)
        if fits:
            return converted
    expected = " or ".join(_name(choice) for choice in choices)
    raise ValueError(f"{file}: `{key}` must be {expected}, not {value!r}")


def _simple(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value is of a simple type, and the value in that type."""
    if get_origin(hint) is Literal:
        given = "no" if value is False and "no" in get_args(hint) else value  # YAML reads a bare no as false
        return given in get_args(hint) and not isinstance(given, bool), given
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value), value
    if get_origin(hint) in (list, tuple):  # of names, or of whole numbers
        kind = get_args(hint)[0]
        if not isinstance(value, list) or any(type(item) is not kind for item in value):
            return False, None
        return True, get_origin(hint)(value)
    if hint is float and not isinstance(value, bool):
        try:
            return True, float(value)  # YAML reads 1e-3 as text
        except (TypeError, ValueError):
            return False, None
    if hint in (int, str, bool):
        return type(value) is hint, value
    return False, None


def _name(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if is_dataclass(hint) or get_origin(hint) is dict:
        return "keys and values"
    if get_origin(hint) is list:
        return "a list of names"
    if get_origin(hint) is tuple:
        return "a list of whole numbers"
    words = {float: "a number", int: "a whole number", str: "a name", bool: "true or false", type(None): "null"}
    return words[hint]
