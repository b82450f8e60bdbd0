import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.scenes.phrasing import FAMILIES, HELD_OUT, captions, phrase, pick
from sonopsis.scenes.scene import LABELS, Facts
from sonopsis.scenes.vocabulary import BEDS, LEAVES
from sonopsis.scenes.words import parse

KINDS = [("single", 1), ("sequence", 2), ("sequence", 3), ("sequence", 4), ("overlap", 2), ("repeat", 1)]
KINDS += [("bed", 1), ("bed", 2)]  # events before the bed


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    kind, count = draw(st.sampled_from(KINDS))
    labels = draw(st.lists(st.sampled_from(list(LEAVES)), min_size=count, max_size=count, unique=True))
    if kind == "bed":
        labels.append(draw(st.sampled_from([bed for bed in BEDS if bed not in labels])))
    return Facts(kind, tuple(labels), draw(st.integers(2, 4)))


@settings(max_examples=150, deadline=None)
@given(facts=facts(), family=st.sampled_from(list(FAMILIES)), seed=st.integers(0, 2**32))
def test_a_caption_says_the_facts_and_nothing_else(facts: Facts, family: str, seed: int) -> None:
    said = parse(phrase(facts, family, random.Random(seed)))
    assert sorted(said) == sorted(facts.labels)
    if facts.type == "sequence":
        assert said == list(facts.labels)
    if facts.type == "bed":
        assert [label for label in said if label != facts.labels[-1]] == list(facts.labels[:-1])


EXAMPLES = {
    "single1": ("Dog",),
    "sequence2": ("Thunder", "Dog"),
    "sequence3": ("Speech", "Laser", "Rain"),
    "sequence4": ("Bass (instrument role)", "Bass drum", "Fire", "Vehicle"),
    "overlap2": ("Alarm", "Elephant"),
    "repeat1": ("Gunshot, gunfire",),
    "repeat3": ("Gunshot, gunfire",),
    "bed2": ("Door", "Wind"),
    "bed3": ("Door", "Glass", "Insect"),
}


def first_wordings(template: str, labels: tuple[str, ...]) -> str:
    """Each placeholder filled with the first wording of its form."""
    form = {"n": "nouns", "c": "clauses", "g": "gerunds", "p": "plurals", "b": "background"}
    return re.sub(r"\{(.)(\d)\}", lambda match: getattr(LEAVES[labels[int(match[2])]], form[match[1]])[0], template)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_sentence_pattern_says_its_facts(family: str) -> None:
    assert set(FAMILIES[family]) == set(EXAMPLES)
    for key, labels in EXAMPLES.items():
        for template in FAMILIES[family][key]:
            text = first_wordings(template, labels)
            said = parse(text)
            assert sorted(said) == sorted(labels), text
            assert not key.startswith("sequence") or said == list(labels), text


@settings(max_examples=60, deadline=None)
@given(facts=facts(), split=st.sampled_from(["train", "validation", "test"]), seed=st.integers(0, 2**32))
def test_a_scene_gets_five_different_captions_of_five_families(facts: Facts, split: str, seed: int) -> None:
    sentences = captions(facts, random.Random(seed), split)
    families = [sentence.family for sentence in sentences]
    assert len({sentence.text for sentence in sentences}) == len(set(families)) == 5
    assert (HELD_OUT in families) == (split == "test")
    for sentence in sentences:
        assert re.fullmatch(r"[a-z][a-z ,;-]*[a-z]", sentence.text)
        assert "{" not in sentence.text
    assert captions(facts, random.Random(seed), split) == sentences


def test_the_held_out_family_has_words_of_its_own() -> None:
    def connectives(family: str) -> set[str]:
        return {re.sub(r"\{..\}", "_", text) for texts in FAMILIES[family].values() for text in texts}

    ours = connectives(HELD_OUT)
    assert all(not ours & connectives(family) for family in FAMILIES if family != HELD_OUT)


def test_several_is_said_of_three_and_more_only() -> None:
    twice = {phrase(Facts("repeat", ("Dog",), 2), family, random.Random(i)) for family in FAMILIES for i in range(60)}
    thrice = {phrase(Facts("repeat", ("Dog",), 3), family, random.Random(i)) for family in FAMILIES for i in range(60)}
    assert not any("several" in text or "three" in text for text in twice)
    assert any("several" in text for text in thrice)


def test_every_family_has_wordings_for_every_kind_of_scene() -> None:
    kinds = {f"{kind}{count}" for kind, counts in LABELS.items() for count in counts}
    for family, wordings in FAMILIES.items():
        assert set(wordings) == kinds | {"repeat3"}, family


def test_pick_draws_evenly() -> None:
    rng = random.Random(0)
    drawn = [pick(rng, "abc") for _ in range(3000)]
    assert all(900 < drawn.count(letter) < 1100 for letter in "abc")
