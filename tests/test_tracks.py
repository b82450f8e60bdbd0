"""When labels sound, and the facts that a language model is told."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.tracks import facts, sounds


@given(st.lists(st.sampled_from([0.0, 0.29, 0.31, 1.0]), min_size=1, max_size=12))
def test_a_label_sounds_near_its_highest_score_and_short_pauses_are_bridged(track: list[float]) -> None:
    found = sounds(np.array(track, np.float32))
    high = [score >= 0.3 * max(track) for score in track]
    for place, sound in enumerate(found):
        bridged = 0 < place < len(track) - 1 and high[place - 1] and high[place + 1]
        assert sound == (high[place] or bridged)


def test_facts_have_the_labels_that_are_there_in_the_steps_in_which_they_sound() -> None:
    steps = np.array([[0.9, 0.0, 0.2], [0.1, 0.0, 0.2], [0.8, 0.5, 0.2]], np.float32)
    told = facts(steps, [0, 1], summary=True)
    assert told.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]]
    assert facts(steps, [0, 1], summary=False).tolist() == told[:-1].tolist()
    assert not facts(steps, [], summary=True).any()
