"""Frozen dataclasses from JSON objects and back, with errors that name the field; and files of one object a line."""

import dataclasses
import gzip
import json
import math
import types
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sonopsis.data.catalogue import DataError

T = TypeVar("T")

_NAMES = {str: "text", float: "a finite number", bool: "true or false"}


def decode(kind: type[T], value: object) -> T:
    """The dataclass `kind` that a JSON object describes.

    Fields may be str, bool, float, Literal, `tuple[X, ...]`, other dataclasses, and any of these or None; those with a
    default may be left out.  ValueError for a field that is missing, unknown or of another type; the dataclass itself
    may refuse values as well.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a JSON object")
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy doubts that a class can be hashed
    missing = [name for name in _required(kind) if name not in value]  # type: ignore[arg-type]
    unknown = [name for name in value if name not in hints]
    if missing:
        raise ValueError(f"the field {missing[0]!r} is missing")
    if unknown:
        raise ValueError(f"the field {unknown[0]!r} is unknown; the fields are {', '.join(hints)}")
    return kind(**{name: _decoded(hint, value[name], name) for name, hint in hints.items() if name in value})


def encode(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass, its fields in their order; `decode` reads it back."""
    return {field.name: _encoded(getattr(record, field.name)) for field in dataclasses.fields(record)}


def read_lines(path: Path, stream: Iterable[bytes], parse: Callable[[object], T]) -> Iterator[T]:
    """`parse` of the JSON of each line of a file; `stream` gives the lines, so that compressed files can be read too.

    DataError naming the file and the line for what is no JSON, is damaged, or is refused by `parse` (ValueError).
    """
    number = 1
    try:
        for line in stream:
            yield parse(json.loads(line))
            number += 1
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: {error}; write the file again") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}, line {number}: the file is damaged ({error}); write the file again") from error


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@cache
def _required(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING)


def _decoded(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):  # X | None
        return None if value is None else _decoded(get_args(hint)[0], value, name)
    if origin is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name!r} must be one of {', '.join(get_args(hint))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name!r} must be a list, not {value!r}")
        return tuple(_decoded(get_args(hint)[0], item, name) for item in value)
    if dataclasses.is_dataclass(hint):
        try:
            return decode(hint, value)  # type: ignore[arg-type]  # never an instance
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    fits = isinstance(value, hint)
    if hint is float:  # JSON writes 2.0 as 2; true is no number, and NaN is no JSON
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits:
        raise ValueError(f"{name!r} must be {_NAMES[hint]}, not {value!r}")
    return value


def _encoded(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return encode(value)
    return [_encoded(item) for item in value] if isinstance(value, tuple) else value
