import re
import runpy
from pathlib import Path

import pytest

from sonopsis.scenes.vocabulary import BEDS, BROAD, LEAVES, broad_of, parse_vocabulary
from sonopsis.scenes.words import parse

SPECIFIED = {
    "human": "Speech; Shout; Laughter; Applause; Crowd",
    "animal": "Dog; Cat; Cattle, bovinae; Horse; Sheep; Pig; Chicken, rooster; Bird; Frog; Insect; Elephant; Roar",
    "drums": "Bass drum; Snare drum; Hi-hat; Cymbal; Tom drum; Hand percussion; Drum kit",
    "music": "Guitar; Keyboard (musical); Bass (instrument role); Orchestral instrument; Music",
    "work": "Hammer; Chop; Sawing; Digging; Mechanisms",
    "weapon": "Sword; Arrow; Gunshot, gunfire; Explosion; Laser; Whoosh, swoosh, swish",
    "nature": "Water; Rain; Wind; Thunder; Fire",
    "vehicle": "Vehicle; Alarm",
    "household": "Door; Glass; Walk, footsteps; Rustle; Typing; Notification; Bell",
}
FORMS = ("nouns", "clauses", "gerunds", "plurals", "background")


def test_the_labels_are_those_that_models_and_manifests_know() -> None:
    assert {name: label.broad for name, label in LEAVES.items()} == {
        leaf: broad for broad, leaves in SPECIFIED.items() for leaf in leaves.split("; ")
    }
    assert set(BROAD) == set(SPECIFIED)
    assert set(BEDS) == {
        *("Rain", "Wind", "Water", "Fire", "Music", "Vehicle", "Applause", "Insect"),
        *("Crowd", "Mechanisms"),
    }


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_wording_names_its_own_label_and_no_other(leaf: str) -> None:
    label = LEAVES[leaf]
    wordings = [wording for form in FORMS for wording in getattr(label, form)]
    assert {wording: parse(wording) for wording in wordings} == {wording: [leaf] for wording in wordings}


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_form_has_several_plain_wordings(leaf: str) -> None:
    label = LEAVES[leaf]
    assert min(len(label.nouns), len(label.clauses)) >= 3
    assert min(len(label.gerunds), len(label.plurals)) >= 2
    for form in FORMS:
        wordings = getattr(label, form)
        assert len(set(wordings)) == len(wordings)
        assert all(re.fullmatch(r"[a-z][a-z -]*[a-z]", wording) for wording in wordings)


def test_an_unknown_label_has_no_broad_class() -> None:
    assert broad_of("Hi-hat") == "drums"
    with pytest.raises(ValueError, match="'unicorn' is not a leaf label; the labels are Speech"):
        broad_of("unicorn")


DOG = """
[animal.dog]
nouns = ["a dog"]
clauses = ["a dog barks"]
gerunds = ["dog barking"]
plurals = ["dog barks"]
"""


def test_a_vocabulary_keeps_the_order_of_its_tables() -> None:
    cat = DOG.replace("dog", "cat")
    horn = DOG.replace("animal.dog", 'vehicle."car horn"') + 'background = ["horns"]\n'
    labels = parse_vocabulary(horn + DOG + cat)
    assert [(name, label.name, label.broad) for name, label in labels.items()] == [
        ("car horn", "car horn", "vehicle"),
        ("dog", "dog", "animal"),
        ("cat", "cat", "animal"),
    ]
    assert (labels["car horn"].background, labels["dog"].background) == (("horns",), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dog = 3", "'dog' is not a table"),
        (
            DOG.replace("plurals", "plural"),
            r"\[animal.dog\] must have the keys nouns, clauses, gerunds, plurals and may",
        ),
        ("animal.dog = 3", r"\[animal.dog\] must have the keys"),
        (DOG.replace('["a dog"]', "[]"), r"\[animal.dog\]: nouns must be a list of texts with at least one item"),
        (DOG.replace('["a dog"]', '"a dog"'), r"\[animal.dog\]: nouns must be a list of texts"),
        (DOG.replace('["a dog"]', '["a dog", "a dog"]'), r"\[animal.dog\]: nouns holds the same wording twice"),
        (DOG + DOG.replace("animal", "pet"), "the label 'dog' stands under 'animal' and 'pet'"),
        ("[animal.dog", "Expected .]."),
    ],
)
def test_a_wrong_vocabulary_names_the_table(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_vocabulary(text)


def test_the_page_of_labels_shows_the_vocabulary_of_today() -> None:
    root = Path(__file__).parents[2]
    script = runpy.run_path(str(root / "scripts" / "vocabulary_table.py"))
    page = (root / "docs" / "labels.md").read_text(encoding="utf-8")
    assert script["filled"](page) == page, "run `python scripts/vocabulary_table.py`"
    for table in (script["wordings"](), script["names"]()):
        assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == list(LEAVES)
    with pytest.raises(ValueError, match="must hold the lines <!-- vocabulary -->"):
        script["filled"]("# A page without the table")
