"""A second encoder beside the first: the same sound, its tokens beside each time step, and a folder that holds both."""

from pathlib import Path

import pytest
import torch

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import ConnectorConfig, SecondEncoder
from sonopsis.encoder import EncoderConfig
from sonopsis.folder import ModelConfig, describe
from sonopsis.graphs.write import write_graphs
from sonopsis.mamba2 import Mamba2Config
from sonopsis.mel import MelConfig
from sonopsis.modules import build, save
from sonopsis.pruning import uniform

FIRST = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=64, patch=(8, 32), stride=(8, 32))  # 8 x 4
FINER = EncoderConfig(family="sonopsis", width=8, depth=2, heads=2, frames=128, patch=(4, 64), stride=(4, 64))  # 16 x 2
COARSER = EncoderConfig(family="sonopsis", width=8, depth=2, heads=2, frames=64, patch=(16, 64), stride=(16, 64))  # 4
LM = Mamba2Config(width=16, depth=1, vocab_size=20, state=8, head_dim=8)


def captioner(second: EncoderConfig, pool: int = 1) -> Captioner:
    torch.manual_seed(0)
    connector = ConnectorConfig(16, 16, 4, labels=2, pool=pool, second=16)
    return Captioner(FIRST, 2, connector, LM, second=SecondEncoder(second, 2.0, 0.5)).eval()


@pytest.mark.parametrize(("second", "steps"), [(FINER, 16), (COARSER, 4)])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_each_time_step_has_what_both_encoders_made_of_it(second: EncoderConfig, steps: int, rate: float) -> None:
    model, mel = captioner(second), torch.randn(2, 64, 128)
    assert model.second is not None
    with torch.inference_mode():
        found = model.connector.steps(model.encode(mel, uniform(4, rate)))  # (B, 8, 4 * 16 + 2 * 8)
        first = model.tagger.encode(mel, uniform(4, rate), collect_dropped=True)
        tokens = model.second(2.0 * mel + 0.5).tokens.reshape(2, steps, 16)  # of each step its two rows
    beside = tokens.reshape(2, 8, 2, 16).mean(dim=2) if steps == 16 else tokens.repeat_interleave(2, dim=1)
    torch.testing.assert_close(found[..., 64:], beside)
    if rate == 1:
        torch.testing.assert_close(found[..., :64], first.tokens.reshape(2, 8, 64))


def test_what_was_heard_before_gives_what_the_sound_gives() -> None:
    model, mel, ids = captioner(FINER, pool=2), torch.randn(2, 64, 128), torch.tensor([[4, 1], [7, 9]])
    with torch.inference_mode():
        model.connector.gate.fill_(1.0)
        for found, expected in zip(model(model.hear(mel), ids), model(mel, ids), strict=True):
            torch.testing.assert_close(found, expected)


def test_it_is_not_trained() -> None:
    model = captioner(FINER).train()
    assert model.second is not None and not model.second.training and model.connector.training
    words, _, recognised = model(torch.randn(2, 64, 128), torch.tensor([[4, 9], [7, 3]]))
    assert recognised is not None
    (words.sum() + recognised.sum()).backward()
    assert all(parameter.grad is None for parameter in model.second.parameters())
    assert all(parameter.grad is not None for parameter in model.connector.mlp.parameters())


def test_a_folder_holds_both_and_has_no_graphs(tmp_path: Path) -> None:
    model, mel = captioner(FINER), torch.randn(1, 64, 128)
    with torch.no_grad():
        for parameter in model.parameters():  # what float16 holds
            parameter.copy_(parameter.half())
    config = ModelConfig(["Dog", "Cat"], FIRST, model.connector.config, LM, second=model.second_config)
    save(model, tmp_path, config, MelConfig(64))
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = describe(tmp_path)
    assert folder.config == config
    again = build(folder)
    assert isinstance(again, Captioner)
    with torch.inference_mode():
        torch.testing.assert_close(again.connector(again.encode(mel)), model.connector(model.encode(mel)))
    with pytest.raises(ValueError, match="graphs have no connector with a second encoder"):
        write_graphs(config, folder.weights)


def test_parts_that_do_not_fit_are_refused() -> None:
    connector = ConnectorConfig(16, 16, 4, second=16)
    for second in (None, SecondEncoder(EncoderConfig(family="sonopsis", width=16, depth=1, heads=2, frames=64))):
        with pytest.raises(ValueError, match="must be the width of `second`"):
            ModelConfig(["Dog"], FIRST, connector, LM, second=second)
    with pytest.raises(ValueError, match="a second encoder does not fit layout time_major"):
        ConnectorConfig(16, 16, 4, layout="time_major", second=16)
    with pytest.raises(ValueError, match="reads a second encoder too"):
        model = captioner(FINER)
        model.connector(model.tagger.encode(torch.randn(1, 64, 128)))
