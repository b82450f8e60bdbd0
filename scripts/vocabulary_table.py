"""Write the vocabulary into docs/labels.md: `python scripts/vocabulary_table.py`, after a change of vocabulary.toml."""

from pathlib import Path

from sonopsis.scenes.vocabulary import LEAVES

PAGE = Path(__file__).parent.parent / "docs" / "labels.md"
START, END = "<!-- vocabulary -->\n", "<!-- end -->"


def table() -> str:
    """One line a label: its broad class, its first wording of each kind, and whether it can be a bed."""
    rows = [
        (name, label.broad, label.nouns[0], label.clauses[0], label.plurals[0], (label.background or ("",))[0])
        for name, label in LEAVES.items()
    ]
    head = ("label", "broad class", "a sound", "a clause", "several", "in the background")
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines)


def filled(page: str) -> str:
    """The page with the table of today; ValueError when its markers are missing."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{PAGE.name} must hold the lines {START.strip()} and {END}, between which the table stands")
    return before + START + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
