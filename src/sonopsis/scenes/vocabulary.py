"""The leaf labels, their broad classes and their wordings, read from vocabulary.toml, which explains them."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

REQUIRED = ("nouns", "clauses", "gerunds", "plurals")
FORMS = (*REQUIRED, "background")


@dataclass(frozen=True)
class Label:
    """One leaf label: its broad class and its wordings; background is empty for labels that cannot be a bed."""

    name: str
    broad: str
    nouns: tuple[str, ...]
    clauses: tuple[str, ...]
    gerunds: tuple[str, ...]
    plurals: tuple[str, ...]
    background: tuple[str, ...] = ()


def parse_vocabulary(text: str) -> dict[str, Label]:
    """Labels by their names, in the order of the tables of a TOML text such as vocabulary.toml.

    ValueError naming the table for text that is no TOML, a missing or unknown key, a wording that is not a text or
    stands twice in its list, and a label that stands in two broad classes.
    """
    labels: dict[str, Label] = {}
    for broad, leaves in tomllib.loads(text).items():
        if not isinstance(leaves, dict):
            raise ValueError(f"{broad!r} is not a table; write [{broad}.LABEL] above the keys of each label")
        for name, forms in leaves.items():
            if name in labels:
                raise ValueError(f"the label {name!r} stands under {labels[name].broad!r} and {broad!r}; remove one")
            labels[name] = _label(name, broad, forms)
    return labels


def _label(name: str, broad: str, forms: Any) -> Label:
    where = f"[{broad}.{name}]"
    if not isinstance(forms, dict) or set(forms) - set(FORMS) or set(REQUIRED) - set(forms):
        raise ValueError(f"{where} must have the keys {', '.join(REQUIRED)} and may have background, but no others")
    for form, wordings in forms.items():
        if not isinstance(wordings, list) or not wordings or not all(isinstance(text, str) for text in wordings):
            raise ValueError(f"{where}: {form} must be a list of texts with at least one item")
        if len(set(wordings)) < len(wordings):
            raise ValueError(f"{where}: {form} holds the same wording twice; remove one")
    return Label(name, broad, **{form: tuple(wordings) for form, wordings in forms.items()})


LEAVES = parse_vocabulary(resources.files("sonopsis.scenes").joinpath("vocabulary.toml").read_text("utf-8"))
BROAD: tuple[str, ...] = tuple(dict.fromkeys(label.broad for label in LEAVES.values()))
BEDS: tuple[str, ...] = tuple(name for name, label in LEAVES.items() if label.background)


def broad_of(leaf: str) -> str:
    """The broad class of a leaf label; ValueError for a name that is none."""
    if leaf not in LEAVES:
        raise ValueError(f"{leaf!r} is not a leaf label; the labels are {', '.join(LEAVES)}")
    return LEAVES[leaf].broad
