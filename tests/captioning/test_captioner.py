"""The captioner's parts are put together in the order that its picture shows."""

import pytest
import torch

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import LAYOUTS, ConnectorConfig
from sonopsis.encoder import EncoderConfig
from sonopsis.mamba2 import Mamba2Config
from sonopsis.pruning import uniform

ENCODER = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=64, patch=(16, 32), stride=(16, 32))
LM = Mamba2Config(width=16, depth=1, vocab_size=20, state=8, head_dim=8)
END = 3


def captioner(layout: str = "concat", labels: int = 5) -> Captioner:
    torch.manual_seed(0)
    connector = ConnectorConfig(16, 16, ENCODER.grid(64)[1], layout=layout, labels=labels)  # type: ignore[arg-type]
    return Captioner(ENCODER, 5, connector, LM, end_of_text=END).eval()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_words_are_predicted_from_the_prompt_and_the_words_before(layout: str) -> None:
    """Teacher forcing gives, position by position, the logits that a language model gives when it reads on."""
    model = captioner(layout)
    ids = torch.tensor([[4, 9, 2, END], [7, END, -100, -100]])
    with torch.inference_mode():
        prefix = model.connector(model.encode(torch.randn(2, 64, 128)))
        words = model.words(prefix, ids)
        for row, length in ((0, 4), (1, 2)):
            read = torch.cat([model.prompt(prefix[row : row + 1]), model.lm.embed(ids[row : row + 1, : length - 1])], 1)
            expected = model.lm(embeds=read)[0, prefix.shape[1] :]
            torch.testing.assert_close(words[row, :length], expected, rtol=1e-4, atol=1e-5)


def test_the_prompt_is_the_prefix_and_the_start_token() -> None:
    model, prefix = captioner(), torch.randn(2, 5, 16)
    prompt = model.prompt(prefix)
    torch.testing.assert_close(prompt[:, :5], prefix, rtol=0, atol=0)
    torch.testing.assert_close(prompt[:, 5], model.lm.embed(torch.tensor([END, END])), rtol=0, atol=0)


def test_a_connector_without_labels_recognises_nothing() -> None:
    mel, ids = torch.randn(1, 64, 128), torch.tensor([[4, END]])
    assert captioner(labels=0)(mel, ids)[2] is None
    words, tags, recognised = captioner(labels=5)(mel, ids)
    assert words.shape == (1, 2, 20) and tags.shape == (1, 5)
    assert recognised is not None and recognised.shape == (1, ENCODER.grid(64)[0] + 1, 5)


@pytest.mark.parametrize("keep_rate", [1.0, 0.6])
def test_what_was_heard_before_gives_what_the_sound_gives(keep_rate: float) -> None:
    model, mel, ids = captioner(), torch.randn(2, 64, 128), torch.tensor([[4, END], [7, 9]])
    with torch.no_grad():
        model.connector.gate.fill_(1.0)
        pruning = uniform(ENCODER.depth, keep_rate)
        heard = model.hear(mel, pruning)
        for found, expected in zip(model(heard, ids), model(mel, ids, pruning), strict=True):
            torch.testing.assert_close(found, expected)
