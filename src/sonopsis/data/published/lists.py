"""Lines and tables of text files; whatever is wrong in one is a DataError with the file and the number of the line."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sonopsis.data.catalogue import DataError

T = TypeVar("T")


def read_text_lines(path: Path, parse: Callable[[str], T | None]) -> Iterator[T]:
    """What `parse` finds in the lines of a UTF-8 file that are not empty, without their end; None is left out.

    DataError, naming file and line, for what is not UTF-8 and for what `parse` refuses (ValueError).
    """
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                found = parse(line) if line.strip() else None
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            if found is not None:
                yield found


def split_fields(line: str, count: int | None = None) -> list[str]:
    """The fields of one line of CSV, quoted or not; ValueError when they are not `count` (None: any number)."""
    try:
        fields = next(csv.reader([line], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"this is not CSV ({error})") from error
    if count is not None and len(fields) != count:
        raise ValueError(f"expected {count} fields between commas, found {len(fields)}")
    return [field.strip() for field in fields]


def read_table(path: Path, columns: tuple[str, ...], parse: Callable[[dict[str, str]], T]) -> Iterator[T]:
    """`parse` of every row of a CSV file whose first line names its columns, as a dictionary.

    DataError, naming file and line, when one of `columns` is not there, for rows of another length than the first
    line, and for what `parse` refuses (ValueError).
    """
    header: list[str] = []

    def read(line: str) -> T | None:
        if not header:
            header.extend(split_fields(line))
            if missing := [name for name in columns if name not in header]:
                raise ValueError(f"the column {missing[0]!r} is missing; the columns are {', '.join(header)}")
            return None
        return parse(dict(zip(header, split_fields(line, len(header)), strict=True)))

    yield from read_text_lines(path, read)


def read_classes(path: Path) -> dict[str, str]:
    """Class id (AudioSet's mid) -> name, from a CSV file with the columns index, mid and display_name."""
    names: dict[str, str] = {}

    def read(row: dict[str, str]) -> None:
        if row["mid"] in names:
            raise ValueError(f"the class {row['mid']!r} is listed twice")
        if not row["display_name"]:
            raise ValueError(f"the class {row['mid']!r} has no name")
        names[row["mid"]] = row["display_name"]

    for _ in read_table(path, ("mid", "display_name"), read):
        pass
    return names


def names_of(ids: str, names: dict[str, str]) -> tuple[str, ...]:
    """The names of classes whose ids stand between commas; ValueError for none, and for an unknown one."""
    found = [part.strip() for part in ids.split(",") if part.strip()]
    if not found:
        raise ValueError("there is no label")
    if unknown := [one for one in found if one not in names]:
        raise ValueError(f"the class {unknown[0]!r} is not in the list of classes")
    return tuple(dict.fromkeys(names[one] for one in found))
