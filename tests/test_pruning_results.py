"""docs/results-pruning.md says what the predictions in results/pruning/ say."""

from typing import Any

import numpy as np
import pruning_figures
import pruning_patches
import pruning_results
import pytest
from pruning_figures import Points, draws

VARIANTS = [
    {"arm": "unpruned", "keep_rate": 1.0, "macs": [2.0, 2.0], "top": [0, 1, 0, 0]},
    {"arm": "topk", "keep_rate": 0.5, "macs": [1.5, 1.0], "top": [0, 1, 1, 0]},
    {"arm": "random", "keep_rate": 0.5, "macs": [1.0, 1.0], "top": [1, 1, 1, 0]},
]
CLIPS = [[f"{i}.wav", "one", [i % 2]] for i in range(4)]


def test_the_page_is_what_the_predictions_say() -> None:
    page = pruning_results.PAGE.read_text(encoding="utf-8")
    assert pruning_results.filled(page) == page, "run python scripts/pruning_results.py"


def test_rows_by_hand() -> None:
    """Four clips, of which pruning loses one: 75 % becomes 50 %; all of one source, so nothing can be drawn anew."""
    found = {"clips": CLIPS, "labels": ["a", "b"], "of": 4, "variants": VARIANTS}
    times = [{"arm": "unpruned", "keep_rate": 1.0, "ms": 30.0}, {"arm": "topk", "keep_rate": 0.5, "ms": 20.0}]
    results = pruning_results.Results(found, "general", {"variants": times})
    rows = pruning_results.tradeoff(results).splitlines()[2:]
    assert rows == [
        "| 1 | 100 % | 100 % | 1.00 | 75.0 (75.0 to 75.0) |  |  |",
        "| 0.5 | 50 % | 75 % | 1.50 | 50.0 (50.0 to 50.0) | -25.0 (-25.0 to -25.0) | +25.0 (+25.0 to +25.0) |",
    ]
    rows = pruning_results.reducers(results).splitlines()[2:]
    assert rows == ["| TopK | -25.0 |  | 1.50 |", "| random | -50.0 | -25.0 (-25.0 to -25.0) |  |"]
    assert results.saving(0.5) == 0.5 and results.saving(0.6) is None
    chosen = pruning_results.choices({"one model": results}).splitlines()
    assert chosen[2] == "| one model | no rate | no rate |"
    results.hits["topk", 0.5] = results.hits["unpruned", 1.0]
    chosen = pruning_results.choices({"one model": results}).splitlines()
    assert chosen[2] == "| one model | 0.5 (saves 50 %) | 0.5 (saves 50 %) |"
    assert pruning_figures.counts(found) == "4 test clips (all), 1 sources, 2 labels."
    said = {"0.wav": "a", "1.wav": "a", "2.wav": "b"}  # one of three right, and nothing said of the last
    theirs, ahead, count = pruning_figures.log_mel(results, said)
    assert (round(theirs.value, 1), round(ahead.value, 1), count) == (33.3, 66.7, 3)


def test_random_patches_drawn_again_count_by_their_share() -> None:
    """Of two draws the first is right in one of four clips, the second in three."""
    found = {"clips": CLIPS, "labels": ["a", "b"], "of": 4, "variants": VARIANTS}
    again = {"draws": 1, "variants": [{"arm": "random", "keep_rate": 0.5, "top": [[0], [1], [0], [0]]}]}
    results = pruning_results.Results(found, "general", None, again)
    assert results.hits["random", 0.5].tolist() == [0.5, 1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("change", "ahead", "random", "said"),
    [
        ((-0.5, -0.9), (12, 3), (2, 0.1), "reached; **it counts**"),
        ((-0.5, -4.0), (12, 3), (2, 0.1), "reached, but a loss of 4.0 cannot be excluded; **it counts**"),
        ((-1.1, -4.0), (12, 3), (2, 0.1), "not reached"),
        ((0.0, -0.9), (9, 3), (2, -0.1), "and random patches at this cost cannot be told from TopK"),
        ((0.0, -0.9), None, (2, 0.1), "log-Mel statistics were not measured"),
    ],
)
def test_verdicts_of_headlines(
    change: tuple[float, float], ahead: tuple[float, float] | None, random: tuple[float, float], said: str
) -> None:
    """A value and the lower bound of its interval each."""

    def points(pair: tuple[float, float]) -> Points:
        return Points(pair[0] / 100, np.full(10, pair[1] / 100))

    verdict = pruning_results.verdict(points(change), None if ahead is None else points(ahead), points(random))
    assert said in verdict


def test_sources_are_drawn_whole() -> None:
    """One source all right, one all wrong: their mean is 0, 50 or 100 %, whatever the number of clips."""
    weights = draws(["a"] * 9 + ["b"] * 9)
    assert Points.share(np.array([True] * 9 + [False] * 9), weights).plain() == "50.0 (0.0 to 100.0)"


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-3, -1, "held"), (-1, 2, "did not hold"), (-3, 2, "cannot be told")]
)
def test_what_a_change_tells_of_a_loss(low: float, high: float, said: str) -> None:
    """An interval below 0 shows a loss; one that allows at most a point of it shows none."""
    assert pruning_figures.lost(Points(0.0, np.array([low, high] * 50) / 100)) == said


def importance() -> dict[str, Any]:
    """Two sources of two clips, one block: low patches matter to the first source alone."""
    clips = [["a", "x", [0]], ["b", "x", [0]], ["c", "y", [0]], ["d", "y", [0]]]
    right, half = [0, 0, 0, 0], [1, 1, 0, 0]
    names = ("unpruned", *pruning_patches.ABLATIONS)
    seen = {
        # concordant, discordant, tied_score, tied_cluster, tied_both
        "x": {"pairs": [[[30, 10, 0, 0, 0]]] * 2, "retained": [[[4, 4], [1, 3]]] * 2},
        "y": {"pairs": [[[10, 30, 0, 0, 0]]] * 2, "retained": [[[4, 4], [1, 3]]] * 2},
    }
    attention = {"attention": [[6.0, 2.0]], "patches": [4, 4]}  # 1.5 of the uniform share, and 0.5
    return {
        "clips": clips,
        "blocks": [0],
        "ablations": {name: half if name == "drop low mean" else right for name in names},
        "seen": {source: part | attention for source, part in seen.items()},
    }


def test_what_was_seen_by_hand() -> None:
    one = pruning_patches.Seen(importance(), "general")
    assert one.kendall("mean", 0, "tau_b") == (0.0, -0.5, 0.5)  # +0.5 in one source, -0.5 in the other
    assert one.attention(0) == (3.0, 3.0, 3.0)
    assert one.retained("mean").tolist() == [[0.25, 0.75]]
    change = one.change("drop low mean")
    assert (change.value, change.low, change.high) == (-50.0, -100.0, 0.0)
    assert pruning_patches.followed(one, "mean") == (
        "cannot be told",
        "above 0 in 0 and below 0 in 0 of 1 pruning blocks: tau-b 0.00",
    )
    assert pruning_patches.attended(one)[0] == "held"


def test_the_contrast_is_general_less_words() -> None:
    """General sounds lose 50 points without low patches and none without high ones; phrases lose nothing."""
    words = importance()
    words["ablations"]["drop low mean"] = [0, 0, 0, 0]
    seen = {
        ("default", "general"): pruning_patches.Seen(importance(), "general"),
        ("default", "words"): pruning_patches.Seen(words, "words"),
    }
    contrast = pruning_patches.contrast_of(seen, "default", "mean")
    assert (contrast.value, contrast.low, contrast.high) == (50.0, 0.0, 100.0)


def test_what_pretraining_with_masks_keeps() -> None:
    """Of 16 low patches in two sources 4 are left after masked pretraining and 8 from scratch, in each source alike."""
    masked, scratch = importance(), importance()
    for found, left in ((masked, 1), (scratch, 2)):
        for part in found["seen"].values():
            part["retained"] = [[[4, 4, 8], [left, left, 8]]] * 2
    models = {("masked", "general"): masked, ("scratch", "general"): scratch}
    seen = {key: pruning_patches.Seen(found, key[1]) for key, found in models.items()}
    assert pruning_patches.kept_low(seen["masked", "general"], "mean").plain() == "25.0 (25.0 to 25.0)"
    (sentence,) = pruning_patches.self_supervised(seen)
    assert sentence.endswith("general sounds: did not hold (-25.0 (-25.0 to -25.0) points).")
    assert pruning_patches.self_supervised({("masked", "general"): seen["masked", "general"]}) == []
