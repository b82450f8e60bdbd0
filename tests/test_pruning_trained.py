"""The tables of encoders that were trained for pruning, by hand."""

from typing import Any

import pruning_trained
from pruning_trained import Averaged, Study, joined

from sonopsis.study.variants import Variant


def seed(topk: list[int], random: list[int] | None = None) -> dict[str, Any]:
    """Two folds of two clips, of a source each, all with the label 1: what an arm says of each clip."""

    def fold(number: int) -> dict[str, Any]:
        def said(all_: list[int], macs: float) -> dict[str, Any]:
            return {"macs": [macs, macs], "top": all_[2 * number : 2 * number + 2]}

        runs = {
            "parent": {"unpruned": said([1, 1, 1, 0], 2.0), "topk@0.5": said([1, 0, 0, 0], 1.0)},
            "unpruned": {"unpruned": said([1, 1, 1, 1], 2.0)},
            "topk@0.5": {"topk@0.5": said(topk, 1.0)},
        }
        if random is not None and number == 0:
            runs["random@0.5"] = {"random@0.5": said(random, 1.0)}
        return {"clips": [[f"{2 * number + i}.wav", f"s{number}", [1]] for i in (0, 1)], "runs": runs}

    return {"labels": ["a", "b"], "folds": [fold(0), fold(1)]}


def study(*seeds: dict[str, Any]) -> Study:
    trained, parent = (Averaged([joined(one, parent=which) for one in seeds], "words") for which in (False, True))
    return Study("a model", "phrases", trained, parent)


def test_rows_by_hand() -> None:
    """After training TopK has 3 of 4 clips in one seed and 4 of 4 in the other, before it 1 of 4."""
    found = study(seed([1, 1, 0, 1]), seed([1, 1, 1, 1]))
    rows = pruning_trained.by_rate(found).splitlines()[2:]
    assert [[cell.strip().split(" (")[0] for cell in line.strip("|").split("|")] for line in rows] == [
        ["1", "100 %", "100 %", "100.0", "", "", "+25.0", "2"],
        ["0.5", "50 %", "50 %", "87.5", "-12.5", "-50.0", "+62.5", "2"],
    ]
    assert found.trained.saving(0.5) == found.parent.saving(0.5) == 0.5
    assert pruning_trained.part(found).startswith("The parent of 2 seeds has an accuracy of 75.0")


def test_an_arm_of_some_seeds_is_compared_within_these() -> None:
    """Merging was trained from the first seed alone, in which TopK has all four clips and not two of them."""
    first, second = seed([1, 1, 1, 1]), seed([0, 0, 0, 0])
    for fold in first["folds"]:
        fold["runs"]["merge@0.5"] = {"merge@0.5": {"macs": [1.0, 1.0], "top": [1, 0]}}
    trained = study(first, second).trained
    assert (trained.hits["topk", 0.5].mean(), trained.hits["merge", 0.5].mean()) == (0.5, 0.5)
    change = trained.against(("merge", 0.5), ("topk", 0.5))
    assert change is not None and change.value == -50.0
    assert (len(trained.having(("topk", 0.5))), len(trained.having(("merge", 0.5)))) == (2, 1)


def test_an_arm_that_lacks_a_fold_is_left_out() -> None:
    found = study(seed([1, 1, 1, 1], random=[1, 1, 0, 0]))
    assert ("random", 0.5) not in found.trained.hits and pruning_trained.at_equal_cost(found) == ""


def test_a_seed_is_done_with_every_arm_in_every_fold() -> None:
    found = seed([1, 1, 1, 1], random=[1, 1, 0, 0])
    for fold in found["folds"]:
        fold["variants"] = [vars(Variant("topk", 0.5, 0.5, None, "topk"))]
    assert pruning_trained.done(found)
    found["folds"][1]["variants"].append(vars(Variant("random", 0.5, 0.52, "random", "topk")))
    assert not pruning_trained.done(found)
