"""`info` tells what a model is, and its counts are those of the model."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from click.testing import Result

import sonopsis as package

Run = Callable[..., Result]


def test_json_has_the_names_that_programs_rely_on(sonopsis: Run, tiny_model: Path) -> None:
    result = sonopsis("info", tiny_model, "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    model = package.load(tiny_model)
    assert facts["family"] == "sonopsis"
    assert facts["labels"] == model.labels
    assert [found["label"] for found in facts["classes"]] == model.labels
    assert facts["classes"][0] == {
        "label": "Dog",
        "id": "/m/0bt9lr",
        "parents": ["Animal", "Domestic animals, pets"],
        "distilled": False,
    }
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.module.parameters())
    assert facts["parameters"] == sum(facts["parts"].values())
    assert list(facts["macs_g"]) == ["1.0", "0.9", "0.8", "0.7", "0.6", "0.5"]


def test_fewer_tokens_cost_fewer_macs_and_no_more_are_executed_than_counted(sonopsis: Run, tiny_model: Path) -> None:
    counts = list(json.loads(sonopsis("info", tiny_model, "--json").stdout)["macs_g"].values())
    assert all(0 < count["executed"] <= count["reference"] for count in counts)
    assert all(more["executed"] > less["executed"] for more, less in pairwise(counts))
    # 16 x 8 patches of 16 x 16 and a CLS token, width 16, depth 4, 6 labels; without pruning, by hand:
    n, d = 129, 16
    block = 4 * n * d * d + 2 * n * n * d + 8 * n * d * d
    assert counts[0]["reference"] * 1e9 == round(128 * 256 * d + 4 * block + d * 6, -3)


def test_a_person_reads_sizes_costs_and_labels(sonopsis: Run, tiny_model: Path) -> None:
    result = sonopsis("info", tiny_model)
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("tiny", "keep rate", "0.7", "- Dog  /m/0bt9lr", "Natural sounds", "steps: 0"):
        assert words in result.stdout


def test_labels_without_recordings_and_labels_of_ones_own_are_told(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "own")
    fields = json.loads((tiny_model / "config.json").read_text())
    fields |= {"labels": ["Dog", "robin", "Ocean", "wren", "Laser", "Bird"], "distilled_labels": ["Ocean"]}
    (tmp_path / "own" / "config.json").write_text(json.dumps(fields))
    classes = json.loads(sonopsis("info", tmp_path / "own", "--json").stdout)["classes"]
    assert [found["label"] for found in classes if found["distilled"]] == ["Ocean"]
    assert classes[1] == {"label": "robin", "id": None, "parents": [], "distilled": False}
    text = sonopsis("info", tmp_path / "own").stdout
    for words in ("- Ocean  /m/05kq4  (distilled)", "- Laser  (no id)", "robin; wren", "1 marked (distilled)"):
        assert words in text
    model = package.load(tmp_path / "own")
    pairs = model.tag(sounds / "noise.wav", top_k=6)[0].labels
    assert {pair.label: pair.distilled for pair in pairs} == {name: name == "Ocean" for name in model.labels}


def test_no_model_is_one_line(sonopsis: Run, tmp_path: Path) -> None:
    result = sonopsis("info", tmp_path / "nothing", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
