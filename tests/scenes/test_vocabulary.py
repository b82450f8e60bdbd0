import re

import pytest

from sonopsis.scenes.vocabulary import BEDS, BROAD, LEAVES, broad_of
from sonopsis.scenes.words import parse

SPECIFIED = {
    "human": "speech, shout, laughter, applause",
    "animal": "dog, cat, cow, horse, sheep, pig, chicken, bird, frog, insect, elephant, roar",
    "drums": "kick drum, snare drum, hi-hat, cymbal, tom drum, hand percussion, drum loop",
    "music": "guitar, keyboard instrument, bass, orchestral instrument, music",
    "work": "hammering, chopping wood, sawing, digging",
    "weapon": "sword, arrow, gunshot, explosion, laser",
    "nature": "water, rain, wind, thunder, fire",
    "vehicle": "vehicle, horn",
    "household": "door, glass, footsteps, rustling, typing, notification",
}
FORMS = ("nouns", "clauses", "gerunds", "plurals", "background")


def test_the_labels_are_those_that_models_and_manifests_know() -> None:
    assert {name: label.broad for name, label in LEAVES.items()} == {
        leaf: broad for broad, leaves in SPECIFIED.items() for leaf in leaves.split(", ")
    }
    assert set(BROAD) == set(SPECIFIED)
    assert set(BEDS) == {"rain", "wind", "water", "fire", "music", "vehicle", "applause", "insect"}


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
    assert broad_of("hi-hat") == "drums"
    with pytest.raises(ValueError, match="'unicorn' is not a leaf label; the labels are speech"):
        broad_of("unicorn")
