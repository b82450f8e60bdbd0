"""The file of predictions: what was cut off is done again, what belongs elsewhere is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sonopsis.study.predictions import Lines, packed, unpacked


def settings() -> dict[str, Any]:
    return {"rates": [0.5]}


def test_scores_survive_packing() -> None:
    p = np.array([0.0, 1e-6, 0.2, 0.5, 0.97, 1.0])
    odds = unpacked(packed(p)).astype(float)
    assert (np.diff(odds) > 0).all() and odds[0] == -60 and odds[-1] == 60
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(p, rel=0.01, abs=1e-9)


def test_a_file_is_continued_and_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.jsonl"
    lines = Lines(path, {"weights": "w"}, settings)
    lines.append({"clip": "a"})
    lines.append({"clip": "ü"})
    with path.open("ab") as stream:
        stream.write(b'{"clip":"c')
    again = Lines(path, {"weights": "w"}, lambda: pytest.fail("settings are those of the beginning"))
    assert again.done == {"a", "ü"} and again.header == {"weights": "w", "rates": [0.5]}
    again.append({"clip": "c"})
    assert [line["clip"] for line in again] == ["a", "ü", "c"]


def test_a_file_of_another_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    Lines(path, {"weights": "w", "clips": "c"}, settings)
    with pytest.raises(ValueError, match="other weights; move it away"):
        Lines(path, {"weights": "v", "clips": "c"}, settings)
    path.write_text("not a study\n")
    with pytest.raises(ValueError, match="holds no predictions of a study"):
        Lines(path, {"weights": "w"}, settings)
    assert path.read_text() == "not a study\n"
