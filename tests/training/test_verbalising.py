"""Facts as a recogniser might score them."""

import torch

from sonopsis.training.verbalising import uncertain


def test_uncertain_facts_are_scores_in_which_what_sounds_stands_out() -> None:
    torch.manual_seed(0)
    facts = torch.zeros(200, 12, 6)
    facts[:, :5, 2] = 1.0
    facts[:, 7:, 4] = 1.0
    scores = uncertain(facts)
    assert scores.shape == facts.shape and bool((scores >= 0).all()) and bool((scores <= 1.02).all())
    sounding = scores[facts == 1].mean()
    assert sounding > 2 * scores[facts == 0].mean()
    assert scores[:, 5:7].mean() < 0.1  # nothing is made up where nothing sounds
    assert (scores[:, :5, 2] < 0.03).float().mean() > 0.05  # gaps
    assert (scores[:, :5, [0, 1, 3, 4, 5]].amax(dim=(1, 2)) > 0.1).float().mean() > 0.2  # other labels beside the true
