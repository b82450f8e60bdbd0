"""From the name of a recording (package and path) to what it holds, by the table of rules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

from sonopsis.ontology import current

LEFT_OUT = "-"

# What tells takes of one sound apart: numbers, single letters after numbers, loudness, which half of a movement.
_TAKE = re.compile(r"([ _.\-]*\d+[a-z]?|[ _.\-](soft|hard|hi|mid|low?|open|close|start|stop|on|off|up|down))+$")


@dataclass(frozen=True)
class Named:
    """What a name says: leaf labels, captions that are true of it, and the family of takes it belongs to."""

    labels: tuple[str, ...]
    captions: tuple[str, ...]
    family: str


@dataclass(frozen=True)
class Rule:
    """One row of rules.tsv, whose head says what the columns mean."""

    package: str
    labels: str
    pattern: re.Pattern[str]
    caption: str = ""
    family: str = ""


@cache
def rules() -> tuple[Rule, ...]:
    """The rows of rules.tsv, in their order."""
    text = resources.files("sonopsis.data").joinpath("rules.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = [line.split("\t") for line in lines[1:]]  # the first line names the columns
    return tuple(Rule(row[0], row[1], re.compile(row[2], re.IGNORECASE), *row[3:]) for row in rows)


@cache
def _rules_of(package: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules() if fnmatchcase(package, rule.package))


def _fill(template: str, groups: dict[str, str]) -> str:
    return template.format_map(groups)


def _words(groups: dict[str, str | None]) -> dict[str, str]:
    return {name: (value or "").replace("_", " ").lower() for name, value in groups.items()}


def family_stem(path: str) -> str:
    """Folder and stem of a path without the marks that number takes: `doors/door_open.2.ogg` -> `doors/door`."""
    pure = PurePosixPath(path)
    stem = pure.stem.lower()
    short = _TAKE.sub("", stem) or stem
    return f"{pure.parent.name.lower()}/{short}"


def name_clip(package: str, path: str) -> Named | None:
    """What a clip holds by its name; None when no rule knows it or the rule leaves it out.

    `path` is relative to the package's folder, with forward slashes.
    """
    for rule, match in _matches(package, path):
        if rule.labels == LEFT_OUT:
            return None
        groups = _words(match.groupdict())
        labels = tuple(current(label.strip()) for label in _fill(rule.labels, groups).split("+"))
        captions = tuple(_fill(form.strip(), groups) for form in rule.caption.split("|") if form.strip())
        family = _fill(rule.family, groups) if rule.family else family_stem(path)
        return Named(labels, captions, f"{package}:{family}")
    return None


def says_nothing(package: str, path: str) -> bool:
    """Whether no rule knows a clip, not even one that leaves it out."""
    return next(_matches(package, path), None) is None


def _matches(package: str, path: str) -> Iterator[tuple[Rule, re.Match[str]]]:
    text = "/" + str(PurePosixPath(path).with_suffix(""))
    for rule in _rules_of(package):
        match = rule.pattern.search(text)
        if match is not None:
            yield rule, match
