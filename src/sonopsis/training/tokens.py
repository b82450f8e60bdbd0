"""Captions <-> token ids: a tokenizer trained on captions, or that of a pretrained language model."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from sonopsis.files import TOKENIZER

END_OF_TEXT = 0  # of the tokenizers that are trained here: it starts a caption and ends it

WIDTH_STEP = 8  # caption tokens; a matrix product of a new shape is compiled first, which takes longer than padding
PADDING = -100  # label of padded word positions; cross_entropy ignores it


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of captions with at most `vocabulary` tokens; id 0 is the end of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer.json of a language model's folder; raises ValueError when there is none that fits.

    Id 0 must be the end of text, as in GPT-NeoX's, which the published Mamba-2 models use.
    """
    file = folder / TOKENIZER
    if not file.is_file():
        raise ValueError(
            f"{file} is missing; put the model's tokenizer there "
            "(for state-spaces/mamba2-* it is that of EleutherAI/gpt-neox-20b)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{file} is not a tokenizer ({error})") from error
    first = tokenizer.id_to_token(END_OF_TEXT)
    if first is None or "endoftext" not in first.replace("_", "").lower():
        raise ValueError(f"{file}: token 0 must be the end of text, as in GPT-NeoX's tokenizer; it is {first!r}")
    return tokenizer


def encode_captions(tokenizer: Tokenizer, captions: list[str]) -> Tensor:
    """Sentences -> ids (B, W) int64: the end of text follows the last word, PADDING follows that."""
    ids = [[*encoding.ids, END_OF_TEXT] for encoding in tokenizer.encode_batch(captions)]
    width = -(-max(len(row) for row in ids) // WIDTH_STEP) * WIDTH_STEP
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in ids])
