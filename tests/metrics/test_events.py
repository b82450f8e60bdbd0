import json

import numpy as np
import pytest

from sonopsis.metrics.events import event_f1, hallucination_rate, order_accuracy, score_captions
from sonopsis.scenes.scene import Event, Scene, SceneType


def scene(kind: SceneType, *labels: str, novel: bool = False) -> Scene:
    *events, bed = (Event("0" * 64, f"{label}.wav", 0.0, 1.0, label, onset=0.0, gain_db=0.0) for label in labels)
    return Scene(
        id="test-0-0",
        split="test",
        type=kind,
        duration=5.0,
        events=tuple(events) if kind == "bed" else (*events, bed),
        bed=bed if kind == "bed" else None,
        noise_db=-60.0,
        novel_pair=novel,
        captions=(" and ".join(labels),),
        families=("plain",),
    )


SCENES = [
    scene("single", "Dog"),
    scene("sequence", "Dog", "Alarm"),
    scene("sequence", "Cat", "Rain", novel=True),
    scene("sequence", "Bird", "Frog", "Glass"),
    scene("overlap", "Gunshot, gunfire", "Explosion"),
    scene("bed", "Door", "Wind"),
]
RIGHT = [
    "a dog barks",
    "a horn sounds after a dog barks",
    "a cat, then rain",
    "a bird, a frog, then glass",
    "a gunshot during an explosion",
    "a door moves in front of wind",
]
WRONG = [
    "a cat meows",  # another animal
    "a horn sounds before a dog barks",  # the wrong way round
    "rain",  # one of two
    "a bird, a bird, then a bird",  # one of three, and two too many: frog's broad class is covered
    "nothing",
    "a door, wind and music",  # one too many
]


def test_right_captions_have_full_marks() -> None:
    assert event_f1(SCENES, RIGHT) == event_f1(SCENES, RIGHT, broad=True) == 1.0
    assert order_accuracy(SCENES, RIGHT) == 1.0
    assert hallucination_rate(SCENES, RIGHT) == 0.0


def test_wrong_captions_by_hand() -> None:
    # right: 0, 2, 1, 1, 0, 2 = 6; named: 1, 2, 1, 2, 0, 3 = 9; true: 1, 2, 2, 3, 2, 2 = 12
    # ("a bird, a bird" is one breath; "then a bird" claims another)
    assert event_f1(SCENES, WRONG) == pytest.approx(2 * 6 / (9 + 12))
    # broad, right: 1, 2, 1, 2, 0, 2 = 8
    assert event_f1(SCENES, WRONG, broad=True) == pytest.approx(2 * 8 / (9 + 12))
    assert order_accuracy(SCENES, WRONG) == 0.0
    assert hallucination_rate(SCENES, WRONG) == pytest.approx(2 / 6)
    assert order_accuracy(SCENES, [WRONG[0], RIGHT[1], *WRONG[2:]]) == 0.5


def test_order_needs_two_event_sequences_and_both_events() -> None:
    assert order_accuracy(SCENES[:1] + SCENES[3:], WRONG[:1] + WRONG[3:]) is None
    assert order_accuracy(SCENES[1:2], ["a dog barks, then a cat, then a horn"]) == 1.0
    assert order_accuracy(SCENES[1:2], ["a dog barks, then another dog barks"]) == 0.0


def test_order_where_both_are_named_by_hand() -> None:
    figures = score_captions(SCENES, WRONG, resamples=10)
    assert (figures["order_accuracy"], figures["order_named"]) == (0.0, 0.0)  # "rain" does not count as named
    figures = score_captions(SCENES, [WRONG[0], RIGHT[1], *WRONG[2:]], resamples=10)
    assert (figures["order_accuracy"], figures["order_named"]) == (0.5, 1.0)
    assert figures["nothing_named"] == pytest.approx(1 / 6)
    figures = score_captions(SCENES, ["An unclear sound."] * 6, resamples=10)
    assert (figures["order_named"], figures["hallucination_rate"], figures["nothing_named"]) == (None, 0.0, 1.0)


def test_score_captions_gathers_every_figure_and_is_json() -> None:
    captions = [*RIGHT[:4], *WRONG[4:]]
    scores = score_captions(SCENES, captions, resamples=50)
    assert json.loads(json.dumps(scores)) == scores
    assert scores["scenes"] == 6 and scores["words_version"] == 2
    assert scores["event_f1_leaf"] == event_f1(SCENES, captions)
    assert scores["event_f1_broad"] == event_f1(SCENES, captions, broad=True)
    assert scores["order_accuracy"] == order_accuracy(SCENES, captions)
    assert scores["hallucination_rate"] == hallucination_rate(SCENES, captions)
    assert list(scores["by_type"]) == ["single", "sequence", "overlap", "bed"]
    assert scores["by_type"]["sequence"]["event_f1_leaf"] == 1.0 and scores["by_type"]["sequence"]["scenes"] == 3
    assert scores["by_type"]["overlap"]["event_f1_leaf"] == 0.0
    assert scores["by_type"]["single"]["order_accuracy"] is None
    assert scores["by_type"]["single"]["intervals"]["order_accuracy"] is None
    assert scores["novel_pair"]["scenes"] == 1 and scores["novel_pair"]["order_accuracy"] == 1.0
    assert score_captions(SCENES[:2], RIGHT[:2])["novel_pair"] is None
    assert 0 < scores["bleu_1"] <= 1 and scores["cider_d"] > 0 and 0 < scores["rouge_l"] <= 1


def test_intervals_hold_the_figure_shrink_with_scenes_and_repeat() -> None:
    rng = np.random.default_rng(0)
    few = [scene("sequence", "Dog", "Alarm") for _ in range(40)]
    answers = np.array([RIGHT[1], WRONG[1], WRONG[0]])
    captions = answers[rng.integers(0, 3, 40)].tolist()
    narrow, wide = score_captions(few * 9, captions * 9), score_captions(few, captions)
    for figure in ("event_f1_leaf", "order_accuracy", "hallucination_rate"):
        low, high = wide["intervals"][figure]
        assert low < wide[figure] < high
        small = narrow["intervals"][figure]
        assert (small[1] - small[0]) / (high - low) == pytest.approx(1 / 3, abs=0.08)
    # A share's interval is near the normal approximation's.
    share = wide["order_accuracy"]
    half = 1.96 * np.sqrt(share * (1 - share) / 40)
    assert wide["intervals"]["order_accuracy"] == pytest.approx([share - half, share + half], abs=0.04)
    assert score_captions(few, captions) == wide
    assert score_captions(few, captions, seed=1)["intervals"] != wide["intervals"]


def test_a_caption_for_every_scene() -> None:
    with pytest.raises(ValueError, match="got 1 for 6 scenes"):
        score_captions(SCENES, ["a dog"])
