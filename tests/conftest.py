"""What every test shares: one thread for each process, hypothesis without a clock, a tiny model, recordings for it."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist fills the cores

import hypothesis
import numpy as np
import pytest
import soundfile
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

hypothesis.settings.register_profile("sonopsis", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("sonopsis")

LABELS = ["dog", "cat", "water", "speech", "bird", "horn"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that tags and captions 2.56 s at once."""
    import torch

    from sonopsis.captioner import Captioner
    from sonopsis.connector import ConnectorConfig
    from sonopsis.encoder import EncoderConfig
    from sonopsis.folder import TOKENIZER, ModelConfig
    from sonopsis.mamba2 import Mamba2Config
    from sonopsis.mel import MelConfig
    from sonopsis.modules import save

    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()

    torch.manual_seed(0)
    encoder = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=256)
    connector = ConnectorConfig(encoder_width=16, width=16, frequency_rows=8)
    lm = Mamba2Config(width=16, depth=1, vocab_size=len(alphabet), state=8, head_dim=8)
    config = ModelConfig(
        LABELS, encoder.to_dict(), connector.to_dict(), lm.to_dict(), max_caption_tokens=6, training={"steps": 0}
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(Captioner(encoder, len(LABELS), connector, lm), folder, config, MelConfig(frames=256, multiple=16))
    tokenizer.save(str(folder / TOKENIZER))
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: noise.wav (6 s), deep/tone.flac (1 s), deep/silence.ogg (1 s), and notes.txt."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "deep").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * 16_000)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(folder / "noise.wav", noise, 16_000)
    soundfile.write(folder / "deep" / "tone.flac", tone, 44_100)
    soundfile.write(folder / "deep" / "silence.ogg", np.zeros(16_000), 16_000)
    (folder / "notes.txt").write_text("not a recording\n")
    return folder
