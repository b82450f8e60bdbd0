"""docs/results-pruning.md says what the predictions in results/pruning/ say."""

import numpy as np
import pruning_results


def test_the_page_is_what_the_predictions_say() -> None:
    page = pruning_results.PAGE.read_text(encoding="utf-8")
    assert pruning_results.filled(page) == page, "run python scripts/pruning_results.py"


def test_a_row_by_hand() -> None:
    """Four clips, of which pruning loses one: 75 % becomes 50 %; all of one source, so nothing can be drawn anew."""
    clips = [[f"{i}.wav", "one", [i % 2]] for i in range(4)]
    variants = [
        {"arm": "unpruned", "keep_rate": 1.0, "macs": [2.0, 2.0], "top": [0, 1, 0, 0]},
        {"arm": "topk", "keep_rate": 0.5, "macs": [1.5, 1.0], "top": [0, 1, 1, 0]},
        {"arm": "random", "keep_rate": 0.5, "macs": [1.0, 1.0], "top": [1, 1, 1, 0]},
    ]
    found = {"clips": clips, "labels": ["a", "b"], "of": 4, "variants": variants}
    rows = pruning_results.tradeoff(found).splitlines()[2:]
    assert rows[0] == "| no pruning | 1 | 100 % | 100 % | 75.0 (75.0 to 75.0) |  |  |"
    topk = "| TopK | 0.5 | 50 % | 75 % | 50.0 (50.0 to 50.0) | -25.0 (-25.0 to -25.0) | +25.0 (+25.0 to +25.0) |"
    assert rows[1] == topk
    assert pruning_results.counts(found) == "4 test clips (all), 1 sources, 2 labels."
    said = {"0.wav": "a", "1.wav": "a", "2.wav": "b"}  # one of three right, and nothing said of the last
    assert "33.3 (33.3 to 33.3) on 3 of these clips" in pruning_results.baseline(found, said)
    assert "is +66.7 (" in pruning_results.baseline(found, said)


def test_sources_are_drawn_whole() -> None:
    """One source all right, one all wrong: their mean is 0, 50 or 100 %, whatever the number of clips."""
    weights = pruning_results.draws(["a"] * 9 + ["b"] * 9)
    assert pruning_results.share(np.array([True] * 9 + [False] * 9), weights) == "50.0 (0.0 to 100.0)"
