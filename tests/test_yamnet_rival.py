"""YAMNet's classes become labels of ours, and scores sentences, as those of our own models do."""

import numpy as np
import pytest
from yamnet_rival import COUNTS_AS, best_threshold, classes_of, label_of, label_scores, sentence

from sonopsis.metrics.evaluate import tag_sentence
from sonopsis.ontology import entries
from sonopsis.scenes.scene import Event, Scene, SceneType
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import parse

LABELS = ["Dog", "Rain", "Bird", "Bell", "Door"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Dog", "Dog"),
        ("Bark", "Dog"),  # below a label of ours
        ("Hi-hat", "Hi-hat"),  # its own label, though Cymbal is above it
        ("Raindrop", "Rain"),  # the nearest label, not Water
        ("Goat", "Sheep"),  # by the table
        ("Trumpet", "Orchestral instrument"),  # below a class of the table
        ("Banjo", "Guitar"),
        ("Jazz", "Music"),
        ("Theremin", None),  # an instrument that none of our labels has
        ("Drum", None),
        ("Vacuum cleaner", None),
        ("no class at all", None),
    ],
)
def test_a_class_counts_as_the_nearest_label(name: str, label: str | None) -> None:
    assert label_of(name) == label


def test_every_label_with_a_class_of_its_name_counts_as_itself_and_the_table_is_of_the_ontology() -> None:
    assert all(label_of(label) == label for label in LEAVES if label not in COUNTS_AS)
    assert not set(COUNTS_AS) & set(LEAVES)
    assert set(COUNTS_AS) <= set(entries())
    assert {label for label in COUNTS_AS.values() if label is not None} <= set(LEAVES)


def test_a_label_has_the_highest_probability_of_its_classes() -> None:
    names = ["Bark", "Vacuum cleaner", "Rain", "Dog"]
    classes = classes_of(names)
    assert classes == {"Dog": [0, 3], "Rain": [2]}
    scores = label_scores(np.array([[0.1, 0.9, 0.3, 0.2], [0.6, 0.9, 0.0, 0.5]]), classes)
    assert scores.tolist() == [[0.2, 0.3], [0.6, 0.0]]


def test_a_sentence_is_that_of_the_mean_scores() -> None:
    rng = np.random.RandomState(0)
    for threshold in (0.1, 0.5, 0.9):
        patches = rng.uniform(size=(6, 5))
        scores = dict(zip(LABELS, patches.mean(axis=0), strict=True))
        plain = sentence(patches, LABELS, threshold)
        assert plain == tag_sentence(scores, threshold)
        assert sorted(parse(sentence(patches, LABELS, threshold, timed=True))) == sorted(parse(plain))


def test_a_timed_sentence_has_sounds_in_the_order_of_their_peaks() -> None:
    patches = np.array([[0.0, 0.8, 0.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0, 0.0], [1.0, 0.1, 0.0, 0.0, 0.5]])
    assert parse(sentence(patches, LABELS, 0.3)) == ["Dog", "Rain"]
    assert parse(sentence(patches, LABELS, 0.3, timed=True)) == ["Rain", "Dog"]
    assert parse(sentence(patches, LABELS, 0.9, timed=True)) == ["Dog"]  # the best, whatever its score


def test_the_threshold_is_the_one_with_the_highest_f1() -> None:
    def scene(kind: SceneType, *labels: str) -> Scene:
        events = tuple(Event("", "", 0.0, 1.0, label, i, 0.0) for i, label in enumerate(labels))
        return Scene("s", "train", kind, 4.0, events, None, -60.0, False, ("a sound",), ("c",))

    heard = [np.array([[0.9, 0.5, 0.29, 0.0, 0.0]]), np.array([[0.1, 0.29, 0.9, 0.0, 0.0]])]
    assert 0.3 <= best_threshold([scene("sequence", "Dog", "Rain"), scene("single", "Bird")], heard, LABELS) <= 0.5
