import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import _beginning, _patterns, load_words, parse


def test_the_table_covers_exactly_the_leaves_with_patterns_that_compile() -> None:
    table = load_words()
    assert sorted(table.labels) == sorted(LEAVES)
    for patterns in [*table.labels.values(), *table.connectives.values()]:
        assert patterns and len(set(patterns)) == len(patterns)
        for pattern in patterns:
            assert not re.fullmatch(pattern, "")


@pytest.mark.parametrize(
    ("entry", "begins"),
    [
        ("moo", "moo"),
        ("cows?", "cow"),
        ("bird ?songs?", "bird"),
        ("flies buzz\\w*", "flies buzz"),
        ("mosquito(es)?", "mosquito"),
        ("(sea)?gulls?", ""),
        ("moo|cow", ""),
        ("hi-? ?hats?", "hi"),
    ],
)
def test_the_beginning_of_an_entry_is_what_all_its_matches_begin_with(entry: str, begins: str) -> None:
    assert _beginning(entry) == begins


def test_no_entry_matches_a_wording_that_lacks_its_beginning() -> None:
    wordings = {text for label in LEAVES.values() for text in (*label.nouns, *label.clauses, *label.background)}
    for _, _, begins, pattern in _patterns():
        found = [match.group() for match in map(re.compile(pattern).search, wordings) if match]
        assert all(text.startswith(begins) for text in found), pattern


@pytest.mark.parametrize(
    ("caption", "labels"),
    [
        ("", []),
        ("nothing at all", []),
        ("Two DOGS, barking.", ["Dog"]),
        ("a hi-hat and a tom-tom", ["Hi-hat", "Tom drum"]),
        # order
        ("a dog barks before a horn sounds", ["Dog", "Alarm"]),
        ("before a dog barks, a horn sounds", ["Alarm", "Dog"]),
        ("after a dog barks, a horn sounds", ["Dog", "Alarm"]),
        ("a dog barks after a horn sounds", ["Alarm", "Dog"]),
        ("a dog barks following a horn", ["Alarm", "Dog"]),
        ("a dog followed by a horn followed by rain", ["Dog", "Alarm", "Rain"]),
        ("a dog barking, preceded by a horn", ["Alarm", "Dog"]),
        ("a cat and a dog after a horn", ["Alarm", "Cat", "Dog"]),
        ("a dog barks after a horn sounds, then it rains", ["Alarm", "Dog", "Rain"]),
        ("a dog barks. before that, a horn sounds", ["Alarm", "Dog"]),
        ("a dog barks, after which a horn sounds, and finally glass breaks", ["Dog", "Alarm", "Glass"]),
        ("a dog barks after it thunders", ["Thunder", "Dog"]),
        ("a dog barks and after it a horn sounds", ["Dog", "Alarm"]),
        ("a door closes once a dog has barked", ["Dog", "Door"]),
        ("gunshots, one after another", ["Gunshot, gunfire"]),
        # once in a breath, again after a connective
        ("a dog barks and the dog barks again", ["Dog"]),
        ("a dog barks and then a dog barks", ["Dog", "Dog"]),
        ("crackling and burning fire", ["Fire"]),
        # the longest wording wins
        ("a voice is shouting", ["Shout"]),
        ("a voice laughing", ["Laughter"]),
        ("a bass drum", ["Bass drum"]),
        ("a bass guitar", ["Bass (instrument role)"]),
        ("a double bass", ["Bass (instrument role)"]),
        ("a rooster crowing", ["Chicken, rooster"]),
        ("a crow", ["Bird"]),
        ("crickets chirping", ["Insect"]),
        ("an elephant trumpets", ["Elephant"]),
        ("a trumpet plays", ["Orchestral instrument"]),
        ("a french horn", ["Orchestral instrument"]),
        ("a woodwind", ["Orchestral instrument"]),
        ("the howling wind", ["Wind"]),
        ("the roar of an engine", ["Vehicle"]),
        ("a clap of thunder", ["Thunder"]),
        ("a gun is fired", ["Gunshot, gunfire"]),
        ("a laser gun firing", ["Laser"]),
        ("an arrow is shot", ["Arrow"]),
        ("a car horn", ["Alarm"]),
        ("the siren of a truck", ["Alarm"]),
        ("a car door", ["Door"]),
        ("typing on a keyboard", ["Typing"]),
        ("a keyboard is played", ["Keyboard (musical)"]),
        ("bird song", ["Bird"]),
        ("running water", ["Water"]),
        ("someone running", ["Walk, footsteps"]),
        ("a cowbell", ["Hand percussion"]),
        ("an owl hooting", ["Bird"]),
        ("a hooter", ["Alarm"]),
        ("rainwater", ["Rain"]),
    ],
)
def test_reading_a_caption(caption: str, labels: list[str]) -> None:
    assert parse(caption) == labels


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.;'-", max_size=80))
def test_any_text_reads_as_known_labels(text: str) -> None:
    assert set(parse(text)) <= set(LEAVES)


@given(st.lists(st.sampled_from(list(LEAVES)), min_size=1, max_size=6, unique=True))
def test_a_list_of_wordings_reads_as_their_labels(names: list[str]) -> None:
    assert parse(", then ".join(LEAVES[name].nouns[0] for name in names)) == names


def test_reading_leaves_its_answer_free_to_change() -> None:
    parse("a dog").append("cat")
    assert parse("a dog") == ["Dog"]
