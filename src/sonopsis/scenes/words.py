"""A caption's words -> the leaf labels it names, in the order in which it says they happen.

What names what stands in words.toml, the published table. No model judges, so figures can be computed again.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from sonopsis.decoding.consensus import CaptionParser, label_parser

WORDS_VERSION = 2  # of words.toml

CONNECTIVES = ("then", "back", "same", "neutral")


@dataclass(frozen=True)
class WordTable:
    """Regular expressions of whole words: those that name a leaf label, and those that connect (see words.toml)."""

    labels: dict[str, tuple[str, ...]]
    connectives: dict[str, tuple[str, ...]]


@cache
def load_words() -> WordTable:
    """The table of words.toml; ValueError when its connectives are not `CONNECTIVES`."""
    text = resources.files("sonopsis.scenes").joinpath("words.toml").read_text("utf-8")
    tables = {
        table: {name: tuple(patterns) for name, patterns in names.items()}
        for table, names in tomllib.loads(text).items()
    }
    if set(tables["connectives"]) != set(CONNECTIVES):
        raise ValueError(f"the connectives in words.toml must be {', '.join(CONNECTIVES)}")
    return WordTable(**tables)


_LEADING_BEFORE_ENDS = r",|there (is|are|comes?)"


@dataclass(frozen=True)
class _Item:
    start: int
    end: int
    kind: str  # "leaf", "break", or a key of CONNECTIVES
    text: str  # the leaf, or the connective's words


@cache
def _patterns() -> list[tuple[str, str, str, str]]:
    """Kind, label (of connectives: nothing), beginning and pattern of every entry of the table and of what ends a
    clause.

    Each alternative is a pattern of its own, because Python's `a|b` takes the first that fits and the longest is
    wanted.
    """
    table = load_words()
    whole = r"(?<![\w-])(?:{})(?![\w])"
    entries = [("leaf", name, entry) for name, entries in table.labels.items() for entry in entries]
    entries += [(kind, "", entry) for kind, entries in table.connectives.items() for entry in entries]
    found = [(kind, name, _beginning(entry), whole.format(entry)) for kind, name, entry in entries]
    return [*found, ("break", "", "", _LEADING_BEFORE_ENDS)]


def _beginning(entry: str) -> str:
    """The letters with which every match of an entry begins, as far as the entry says them plainly.

    A text without them has no match. Compiling all patterns takes longer than writing a caption, and a caption has the
    beginnings of a few.
    """
    depth = 0
    for character in entry:
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            return ""
    plain, rest = _PLAIN.fullmatch(entry).groups()  # type: ignore[union-attr]
    return str(plain[:-1] if rest[:1] in _MAY_BE_MISSING else plain)


_PLAIN = re.compile(r"([\w -]*)(.*)")
_MAY_BE_MISSING = tuple("?*{")  # what may take away the letter before it
_compiled = cache(re.compile)


def parser(labels: Sequence[str]) -> CaptionParser:
    """What tells which of a model's labels a caption names: those of the word table by their words there, others by
    their own names."""
    table = load_words().labels
    others = label_parser([label for label in labels if label not in table])
    if not any(label in table for label in labels):
        return others
    return lambda text: [label for label in parse(text) if label in labels] + list(others(text))


def parse(caption: str) -> list[str]:
    """The leaf labels a caption names, in order of happening; a label named twice in one breath counts once.

    A label named again after "then", "while", "before" and the like counts again: the caption claims another event.
    """
    return list(_parse(caption))


@lru_cache(maxsize=50_000)
def _parse(caption: str) -> tuple[str, ...]:
    text = caption.lower()
    order: list[list[str]] = []  # segments in order of happening
    last = 0  # where the segment written last stands in `order`
    link: str | None = None
    segment: list[str] = []
    pending: list[str] | None = None  # B of a leading "before B, A ..."
    leading_before = False

    def close() -> None:
        nonlocal last, segment
        if segment:
            last = last if link == "back" and order else len(order)
            order.insert(last, segment)
            segment = []

    for item in _items(text):
        if item.kind == "leaf":
            if item.text not in segment:
                segment.append(item.text)
        elif item.kind == "break":
            if leading_before and segment:
                pending, segment, leading_before = segment, [], False
        elif item.kind != "neutral":
            leading_before = not segment and not order and item.text == "before"
            close()
            link = item.kind if order else None
    close()
    if pending:
        order.append(pending)
    return tuple(leaf for segment in order for leaf in segment)


def _items(text: str) -> list[_Item]:
    """Mentions, connectives and breaks that do not overlap, by place; of overlapping ones the longest is kept."""
    found = [
        _Item(match.start(), match.end(), kind, leaf or match.group())
        for kind, leaf, beginning, pattern in _patterns()
        if beginning in text
        for match in _compiled(pattern).finditer(text)
    ]
    found.sort(key=lambda item: (item.start - item.end, item.start))
    kept: list[_Item] = []
    for item in found:
        if all(item.end <= other.start or item.start >= other.end for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda item: item.start)
