"""A run that cannot go on says why, and leaves what was good."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sonopsis.training.batches import Batch
from sonopsis.training.config import TrainConfig
from sonopsis.training.environment import ENVIRONMENT
from sonopsis.training.loop import fit
from sonopsis.training.stops import TrainingStopped


class Line:
    """A straight line through the origin; from `bad` on its loss is no number, from `large` on memory runs out."""

    criterion = "fit"
    fixed: list[nn.Module] = []  # noqa: RUF012 - as the protocol has it

    def __init__(self, bad: int = 99, large: int = 99) -> None:
        torch.manual_seed(0)
        self.module, self.bad, self.large = nn.Linear(1, 1, bias=False), bad, large
        self.step = 0

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        for self.step in range(first, last):
            yield Batch(torch.randn(4, 1, 1, generator=torch.Generator().manual_seed(self.step)), torch.zeros(4, 1))

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        if self.step + 1 >= self.large:
            torch.empty(1 << 60)
        x = batch.mel[:, 0]
        loss = (module(x) - 3 * x).square().mean()
        if self.step + 1 >= self.bad:
            loss = loss * torch.nan
        return loss, {"loss": loss.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        return {"fit": 1.0}

    def export(self, module: nn.Module, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "w.safetensors")


@pytest.fixture
def config(tmp_path: Path, make_config: Callable[..., TrainConfig]) -> TrainConfig:
    keys = {"steps": 12, "save_every": 4, "log_every": 1, "validate_every": 100, "batch_size": 4, "checkpoints": 2}
    return make_config("tagging", **keys)


def test_a_diverging_run_names_its_last_good_checkpoint_and_goes_on_from_it(config: TrainConfig) -> None:
    with pytest.raises(TrainingStopped, match=r"diverged in step 10 \(loss nan.*checkpoint, of step 8,.*learning_rate"):
        fit(Line(bad=10), config)
    folder = fit(Line(), config)  # the fault is gone
    untroubled = fit(Line(), replace(config, output=f"{config.output}-other"))
    ours, theirs = load_file(folder / "w.safetensors"), load_file(untroubled / "w.safetensors")
    assert torch.equal(ours["weight"], theirs["weight"])


def test_a_run_that_diverges_before_its_first_checkpoint_says_so(config: TrainConfig) -> None:
    with pytest.raises(TrainingStopped, match=r"diverged in step 2 .*there is no checkpoint yet"):
        fit(Line(bad=2), config)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "examples computed at once: 4; set micro_batch to 2"),
        ({"micro_batch": 2}, "examples computed at once: 2; set micro_batch to 1"),
        ({"micro_batch": 1}, "examples computed at once: 1; an example alone is too large: lower data.seconds"),
    ],
)
def test_where_memory_runs_out_the_key_to_lower_is_named(keys: dict[str, int], said: str, config: TrainConfig) -> None:
    with pytest.raises(TrainingStopped, match=f"memory ran out in step 3, {said}"):
        fit(Line(large=3), replace(config, **keys))


def test_another_error_of_a_step_is_left_alone(config: TrainConfig) -> None:
    class Wrong(Line):
        def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
            return module(torch.zeros(2, 5)).sum(), {}

    with pytest.raises(RuntimeError, match="shapes"):
        fit(Wrong(), config)


@pytest.mark.parametrize("size", [1, 3])
def test_small_pieces_make_the_steps_of_whole_batches(size: int, config: TrainConfig) -> None:
    whole = fit(Line(), config)
    parts = fit(Line(), replace(config, output=f"{config.output}-parts", micro_batch=size))
    ours, theirs = load_file(parts / "w.safetensors"), load_file(whole / "w.safetensors")
    torch.testing.assert_close(ours["weight"], theirs["weight"], rtol=1e-5, atol=1e-7)
    curves = [[json.loads(line).get("loss") for line in (f.parent / "log.jsonl").open()] for f in (whole, parts)]
    assert curves[0][:12] == pytest.approx(curves[1][:12], abs=2e-4)


def test_the_output_says_what_it_was_computed_with(config: TrainConfig) -> None:
    fit(Line(), config)
    found = json.loads((Path(config.output) / ENVIRONMENT).read_text())
    assert found["packages"]["torch"] == torch.__version__ and found["processes"] == 1
    assert (found["parameters"], found["trainable"]) == (1, 1)
