"""Write the labels into docs/labels.md: `python scripts/vocabulary_table.py`, after a change of vocabulary.toml."""

from collections.abc import Sequence
from pathlib import Path

from sonopsis.ontology import former, id_of, parents_of
from sonopsis.scenes.vocabulary import LEAVES

PAGE = Path(__file__).parent.parent / "docs" / "labels.md"
END = "<!-- end -->"


def wordings() -> str:
    """One line a label: its broad class, its first wording of each kind, and whether it can be a bed."""
    rows = [
        (name, label.broad, label.nouns[0], label.clauses[0], label.plurals[0], (label.background or ("",))[0])
        for name, label in LEAVES.items()
    ]
    return _table(("label", "broad class", "a sound", "a clause", "several", "in the background"), rows)


def names() -> str:
    """One line a label: its id, the classes above it, and its older name."""
    rows = [(name, id_of(name) or "", " > ".join(parents_of(name)), _older(name)) for name in LEAVES]
    return _table(("label", "id", "below", "older name"), rows)


def filled(page: str) -> str:
    """The page with the tables of today; ValueError when its markers are missing."""
    for start, table in (("<!-- vocabulary -->\n", wordings()), ("<!-- names -->\n", names())):
        before, marker, rest = page.partition(start)
        _, end, after = rest.partition(END)
        if not marker or not end:
            raise ValueError(f"{PAGE.name} must hold the lines {start.strip()} and {END}, between which a table stands")
        page = before + start + table + END + after
    return page


def _older(name: str) -> str:
    return "" if former(name) == name else former(name)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |") for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
