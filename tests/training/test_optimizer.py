"""What is trained and how fast."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sonopsis.encoder import Encoder
from sonopsis.encoder.tagger import Tagger
from sonopsis.training.config import EncoderTraining, TrainConfig
from sonopsis.training.optimizer import adopt_rates, freeze, make_optimizer, rate_of, schedule


def share_at(step: int, settings: TrainConfig) -> float:
    return schedule(step, settings.steps, settings.warmup_steps)


def config(**keys: Any) -> TrainConfig:
    return TrainConfig("tagging", "out", learning_rate=0.1, weight_decay=0.3, **keys)


def tagger(make_encoder: Callable[..., Encoder]) -> Tagger:
    encoder = make_encoder(depth=4)
    tagger = Tagger(encoder.config, 3)
    tagger.encoder = encoder
    return tagger


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("head.linear.weight", 0.1),
        ("lm.backbone.layers.0.mixer.in_proj.weight", 0.1),
        ("connector.mlp.0.weight", 0.1),
        ("tagger.encoder.norm.weight", 0.02),
        ("tagger.encoder.blocks.3.fc1.weight", 0.02 * 0.5),
        ("encoder.blocks.0.norm1.weight", 0.02 * 0.5**4),
        ("encoder.stem.proj.weight", 0.02 * 0.5**5),
        ("encoder.prefix", 0.02 * 0.5**5),
    ],
)
def test_rates_decay_from_the_last_block_to_the_stem(name: str, rate: float) -> None:
    settings = config(encoder=EncoderTraining(learning_rate=0.02, layer_decay=0.5))
    assert rate_of(name, 3, settings) == pytest.approx(rate)


def test_without_decay_all_of_the_encoder_has_its_own_rate_or_that_of_the_run() -> None:
    assert rate_of("encoder.prefix", 3, config()) == 0.1
    assert rate_of("encoder.prefix", 3, config(encoder=EncoderTraining(learning_rate=0.03))) == 0.03


def test_vectors_do_not_decay_and_every_parameter_is_optimised_once(make_encoder: Callable[..., Encoder]) -> None:
    module = tagger(make_encoder)
    groups = make_optimizer(module, config(encoder=EncoderTraining(layer_decay=0.5))).param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert len(decays) == sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
    assert all(decays[id(parameter)] == (0.0 if parameter.ndim < 2 else 0.3) for parameter in module.parameters())


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        (EncoderTraining(), {"stem", "prefix", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "norm"}),
        (EncoderTraining(train=2), {"blocks.2", "blocks.3", "norm"}),
        (EncoderTraining(train="frozen"), set()),
        (EncoderTraining(learning_rate=0), set()),
    ],
)
def test_frozen_parts_have_no_gradient_and_stay_in_evaluation_mode(
    settings: EncoderTraining, trained: set[str], make_encoder: Callable[..., Encoder]
) -> None:
    encoder = make_encoder(depth=4).train()
    for part in freeze(encoder, settings):
        part.eval()
    found = {
        ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad
    }
    assert found == trained
    assert [block.training for block in encoder.blocks] == [f"blocks.{i}" in trained for i in range(4)]
    assert encoder.stem.training == ("stem" in trained)


def test_a_block_that_does_not_exist_is_refused(make_encoder: Callable[..., Encoder]) -> None:
    with pytest.raises(ValueError, match=r"encoder\.train: this encoder has blocks 0-3, no block 4"):
        freeze(make_encoder(depth=4), EncoderTraining(train=4))


def test_a_run_without_anything_to_train_is_refused(make_encoder: Callable[..., Encoder]) -> None:
    module = tagger(make_encoder)
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing is left to train"):
        make_optimizer(module, config())


def test_the_rate_rises_then_falls_to_a_hundredth() -> None:
    settings = config(steps=100, warmup_steps=10)
    rates = [share_at(step, settings) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == pytest.approx(1.0) and rates[55] == pytest.approx(0.505) and rates[100] == pytest.approx(0.01)
    assert bool((torch.tensor(rates[10:]).diff() < 0).all())


def test_a_resumed_optimizer_takes_the_rates_of_its_new_configuration(make_encoder: Callable[..., Encoder]) -> None:
    module = tagger(make_encoder)

    def made(rate: float) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR, TrainConfig]:
        settings = TrainConfig("tagging", "out", steps=50, warmup_steps=5, learning_rate=rate)
        optimizer = make_optimizer(module, settings)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_at(step, settings)), settings

    before, rates, _ = made(0.1)
    for _ in range(20):
        before.step()
        rates.step()
    after, new_rates, settings = made(0.001)
    planned = [{key: group[key] for key in ("initial_lr", "weight_decay")} for group in after.param_groups]
    after.load_state_dict(before.state_dict())
    new_rates.load_state_dict(rates.state_dict())
    adopt_rates(after, new_rates, planned, share_at(20, settings))
    assert [group["lr"] for group in after.param_groups] == pytest.approx([0.001 * share_at(20, settings)] * 2)
    after.step()
    new_rates.step()
    assert [group["lr"] for group in after.param_groups] == pytest.approx([0.001 * share_at(21, settings)] * 2)
