"""The torch engine: captions by compiled kernels, beside a module that can still be trained."""

from pathlib import Path

import pytest
import torch

import sonopsis
from sonopsis import lora
from sonopsis.mamba2 import Mamba2LM
from sonopsis.mamba2.prepared import PreparedLM

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_prepared_model_captions_by_compiled_kernels(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts stay the same."""
    pytest.importorskip("numba")
    prepared = counted(monkeypatch)
    files = [str(EXAMPLES / name) for name in ("arrow.wav", "helicopter.ogg")] + [str(sounds / "noise.wav")]
    plain = sonopsis.load(engine="torch")
    said = [plain.caption(file)[0].text for file in files]
    assert prepared == []
    model = sonopsis.load(engine="torch")
    model.prepare()
    assert [model.caption(file)[0].text for file in files] == said
    assert [lm.kernels for lm in prepared] == ["numba"]


def test_kernels_leave_the_module_as_it_is(tiny_model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be trained after any number of captions, and they are those of its weights at the time."""
    prepared = counted(monkeypatch)
    model, unprepared = sonopsis.load(tiny_model, engine="torch"), sonopsis.load(tiny_model, engine="torch")
    model.prepare()
    lm = model.module.lm
    file = str(sounds / "noise.wav")
    before = model.caption(file)[0]
    assert model.module.lm is lm and all(parameter.requires_grad for parameter in lm.parameters())
    model.module(torch.as_tensor(model.mel(file)), torch.tensor([[1, 2]]))[0].sum().backward()
    torch.optim.SGD(lm.parameters(), lr=1.0).step()
    after, again = model.caption(file)[0], model.caption(file)[0]
    assert after == again != before
    unprepared.module.load_state_dict(model.module.state_dict())
    plain = unprepared.caption(file)[0]
    assert plain.text == after.text and plain.score == pytest.approx(after.score, abs=1e-4)
    lora.attach(lm)
    assert model.caption(file)[0] == plain  # by torch again, adapters and all
    assert len(prepared) == 2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[PreparedLM]:
    """The language models that are prepared from now on."""
    prepared: list[PreparedLM] = []
    prepare = Mamba2LM.prepare

    def noted(lm: Mamba2LM) -> PreparedLM:
        prepared.append(prepare(lm))
        return prepared[-1]

    monkeypatch.setattr(Mamba2LM, "prepare", noted)
    return prepared
