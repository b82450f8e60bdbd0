"""`train` and `eval`: what a person gets wrong is one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sonopsis.cli.eval import _flat

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("config", "override", "said"),
    [
        ("stage: tagging\noutput: out\nlearning: 1\n", [], "unknown key `learning`"),
        ("stage: tagging\n", [], "`output` is missing"),
        ("stage: dancing\noutput: out\n", [], "dancing"),
        ("stage: tagging\noutput: out\n", ["steps"], "key=value"),
        ("stage: tagging\noutput: out\n", ["data.root=no-such-folder"], "no-such-folder"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    sonopsis: Run, tmp_path: Path, config: str, override: list[str], said: str
) -> None:
    (tmp_path / "config.yaml").write_text(config)
    result = sonopsis("train", tmp_path / "config.yaml", *override)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and said in line


@pytest.mark.parametrize("content", ["", "no manifest\n"])
def test_a_manifest_without_clips_is_one_line(sonopsis: Run, tiny_model: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(content)
    result = sonopsis("eval", tiny_model, tmp_path / "manifest.jsonl", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ")


def test_figures_are_listed_under_their_full_names() -> None:
    figures = {"model": "tiny", "tagging": {"map": 0.5, "recall": {"Dog": {"clips": 3}}}}
    assert list(_flat(figures)) == [("model", "tiny"), ("tagging.map", 0.5), ("tagging.recall.Dog.clips", 3)]
