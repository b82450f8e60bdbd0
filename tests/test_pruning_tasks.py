"""The tasks of the pruning study hold whole voices out, and their heads are chosen on validation alone."""

from pathlib import Path

import pruning_tasks
import pytest
import torch
from pruning_tasks import FOLDS, NO_WORD, VOICES

import sonopsis


def test_every_voice_is_tested_once_and_never_teaches_then() -> None:
    splits = {voice: [pruning_tasks._split(voice, fold) for fold in range(FOLDS)] for voice in VOICES}
    for said in splits.values():
        assert sorted(said) == ["test", "train", "train", "train", "validation"]


@pytest.mark.parametrize("name", ["Ow1", "Ooff3", "Jump2", "Laugh", "Hmm", "PoisonCough", "Firepunch6"])
def test_what_is_no_phrase(name: str) -> None:
    assert NO_WORD.fullmatch(name)


@pytest.mark.parametrize("name", ["Oops", "Ohdear", "Justyouwait", "Fire", "Hello", "Uh-oh"])
def test_what_is_a_phrase(name: str) -> None:
    assert not NO_WORD.fullmatch(name)


def test_the_penalty_is_the_one_of_validation() -> None:
    """More inputs than clips: penalties differ on clips that taught nothing, and the best one is used."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 60, generator=generator)
    target = torch.nn.functional.one_hot((inputs[:, 0] + torch.randn(40, generator=generator) > 0).long(), 2).float()
    fresh = torch.randn(400, 60, generator=generator)
    truth = torch.nn.functional.one_hot((fresh[:, 0] > 0).long(), 2).float()
    found = pruning_tasks.chosen((inputs, target), (fresh, truth), join=False)
    right = {}
    for decay in pruning_tasks.DECAYS:
        weight, bias = pruning_tasks.regression(inputs, target, decay)
        best = (fresh @ weight.T + bias).argmax(1)
        right[decay] = float((best == truth.argmax(1)).float().mean())
    expected = pruning_tasks.regression(inputs, target, max(right, key=lambda decay: right[decay]))
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    assert len(set(right.values())) > 1


def test_an_encoder_that_was_trained_here_is_read_as_it_was_trained(
    tiny_model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model is trained by its CLS token; of the clips that taught it, a new head tells most apart."""
    monkeypatch.setenv("SONOPSIS_DATA", str(root))
    monkeypatch.setitem(pruning_tasks.STARTS, "scratch", str(tiny_model))
    (folder,) = pruning_tasks.fit_heads("scratch", "general", tmp_path)
    model = sonopsis.load(str(folder), engine="torch")
    assert (model.engine.config.pooling, model.engine.config.score) == ("cls", "cls")
    rows = [row for row in pruning_tasks.folds("general")[0] if row.split == "train" and row.labels]
    right = [model.tag(root / row.path, threshold=0.0)[0].labels[0][0] in row.labels for row in rows]
    assert sum(right) > len(rows) / 2
    written = (folder / "config.json").stat().st_mtime_ns
    assert pruning_tasks.fit_heads("scratch", "general", tmp_path) == [folder]
    assert (folder / "config.json").stat().st_mtime_ns == written
