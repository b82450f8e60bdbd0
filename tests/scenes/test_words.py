import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import load_words, parse


def test_the_table_covers_exactly_the_leaves_with_patterns_that_compile() -> None:
    table = load_words()
    assert list(table.labels) == list(LEAVES)
    for patterns in [*table.labels.values(), *table.connectives.values()]:
        assert patterns and len(set(patterns)) == len(patterns)
        for pattern in patterns:
            assert not re.fullmatch(pattern, "")


@pytest.mark.parametrize(
    ("caption", "labels"),
    [
        ("", []),
        ("nothing at all", []),
        ("Two DOGS, barking.", ["dog"]),
        ("a hi-hat and a tom-tom", ["hi-hat", "tom drum"]),
        # order
        ("a dog barks before a horn sounds", ["dog", "horn"]),
        ("before a dog barks, a horn sounds", ["horn", "dog"]),
        ("after a dog barks, a horn sounds", ["dog", "horn"]),
        ("a dog barks after a horn sounds", ["horn", "dog"]),
        ("a dog barks following a horn", ["horn", "dog"]),
        ("a dog followed by a horn followed by rain", ["dog", "horn", "rain"]),
        ("a dog barking, preceded by a horn", ["horn", "dog"]),
        ("a cat and a dog after a horn", ["horn", "cat", "dog"]),
        ("a dog barks after a horn sounds, then it rains", ["horn", "dog", "rain"]),
        ("a dog barks. before that, a horn sounds", ["horn", "dog"]),
        ("a dog barks, after which a horn sounds, and finally glass breaks", ["dog", "horn", "glass"]),
        ("a dog barks after it thunders", ["thunder", "dog"]),
        ("a dog barks and after it a horn sounds", ["dog", "horn"]),
        ("a door closes once a dog has barked", ["dog", "door"]),
        ("gunshots, one after another", ["gunshot"]),
        # once in a breath, again after a connective
        ("a dog barks and the dog barks again", ["dog"]),
        ("a dog barks and then a dog barks", ["dog", "dog"]),
        ("crackling and burning fire", ["fire"]),
        # the longest wording wins
        ("a voice is shouting", ["shout"]),
        ("a voice laughing", ["laughter"]),
        ("a bass drum", ["kick drum"]),
        ("a bass guitar", ["bass"]),
        ("a double bass", ["bass"]),
        ("a rooster crowing", ["chicken"]),
        ("a crow", ["bird"]),
        ("crickets chirping", ["insect"]),
        ("an elephant trumpets", ["elephant"]),
        ("a trumpet plays", ["orchestral instrument"]),
        ("a french horn", ["orchestral instrument"]),
        ("a woodwind", ["orchestral instrument"]),
        ("the howling wind", ["wind"]),
        ("the roar of an engine", ["vehicle"]),
        ("a clap of thunder", ["thunder"]),
        ("a gun is fired", ["gunshot"]),
        ("a laser gun firing", ["laser"]),
        ("an arrow is shot", ["arrow"]),
        ("a car horn", ["horn"]),
        ("the siren of a truck", ["horn"]),
        ("a car door", ["door"]),
        ("typing on a keyboard", ["typing"]),
        ("a keyboard is played", ["keyboard instrument"]),
        ("bird song", ["bird"]),
        ("running water", ["water"]),
        ("someone running", ["footsteps"]),
        ("a cowbell", ["hand percussion"]),
        ("an owl hooting", ["bird"]),
        ("a hooter", ["horn"]),
        ("rainwater", ["rain"]),
    ],
)
def test_reading_a_caption(caption: str, labels: list[str]) -> None:
    assert parse(caption) == labels


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.;'-", max_size=80))
def test_any_text_reads_as_known_labels(text: str) -> None:
    assert set(parse(text)) <= set(LEAVES)


@given(st.lists(st.sampled_from(list(LEAVES)), min_size=1, max_size=6, unique=True))
def test_a_list_of_label_names_reads_as_those_labels(names: list[str]) -> None:
    assert parse(", then ".join(names)) == names


def test_reading_leaves_its_answer_free_to_change() -> None:
    parse("a dog").append("cat")
    assert parse("a dog") == ["dog"]
