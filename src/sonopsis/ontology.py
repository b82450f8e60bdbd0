"""Labels that people and other tools know: the names of the AudioSet ontology, their ids, and what is above them.

The table is ontology.tsv, which explains its columns. It holds the classes of AudioSet's taggers, the classes above
them, and the labels of ours that the ontology lacks, which have no id. Source: Gemmeke et al., 2017 (see NOTICE).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Entry:
    """One row of ontology.tsv; None where its cell is empty."""

    name: str
    id: str | None  # AudioSet's, such as /m/0bt9lr
    parent: str | None  # the name of the next more general class
    was: str | None  # the label's name in older versions


@cache
def entries() -> dict[str, Entry]:
    """The rows of ontology.tsv by their names; a class comes before the classes below it."""
    text = resources.files("sonopsis").joinpath("ontology.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = [(line.split("\t") + [""] * 3)[:4] for line in lines[1:]]  # the first line names the columns
    return {row[0]: Entry(row[0], *(cell or None for cell in row[1:])) for row in rows}


@cache
def _renamed() -> dict[str, str]:
    return {entry.was: entry.name for entry in entries().values() if entry.was is not None}


def id_of(label: str) -> str | None:
    """AudioSet's id of a label, None for one that the ontology lacks."""
    entry = entries().get(label)
    return None if entry is None else entry.id


def parents_of(label: str) -> tuple[str, ...]:
    """The classes above a label, the most general one first: () for one that has none or is not in the table."""
    entry = entries().get(label)
    if entry is None or entry.parent is None:
        return ()
    return (*parents_of(entry.parent), entry.parent)


def current(label: str) -> str:
    """Today's name of a label of ours that has an older one; any other label as it is."""
    return _renamed().get(label, label)


def former(label: str) -> str:
    """The older name of a label of ours; any other label as it is.

    Draws that were made by name (which labels may meet, in which order labels are drawn) stay what they were.
    """
    entry = entries().get(label)
    return label if entry is None or entry.was is None else entry.was


def current_labels(labels: list[str]) -> list[str]:
    """The labels of a model by today's names, in their order.

    They are renamed if all labels of older versions are among them. Other models may have labels of their own, which
    only look like ours.
    """
    return [current(label) for label in labels] if set(_renamed()) <= set(labels) else labels


def tree(labels: Collection[str]) -> Iterator[tuple[int, str, bool]]:
    """Labels below what is above them: depth, name, and whether it is one of `labels`, from the top down.

    Labels that the table lacks come last, at depth 0.
    """
    shown = {name for label in labels for name in (label, *parents_of(label))}
    yield from _branch(None, 0, shown, set(labels))
    yield from ((0, label, True) for label in labels if label not in entries())


@cache
def _children() -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for entry in entries().values():
        found.setdefault(entry.parent, []).append(entry.name)
    return found


def _branch(parent: str | None, depth: int, shown: set[str], labels: set[str]) -> Iterator[tuple[int, str, bool]]:
    for name in _children().get(parent, ()):
        if name in shown:
            yield depth, name, name in labels
            yield from _branch(name, depth + 1, shown, labels)
