"""Captions <-> token ids: a tokenizer trained on captions, or that of a pretrained language model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from sonopsis.files import TOKENIZER

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>")  # the first that a tokenizer has starts and ends captions

WIDTH_STEP = 8  # caption tokens; a matrix product of a new shape is compiled first, which takes longer than padding
PADDING = -100  # label of padded word positions; cross_entropy ignores it


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of captions with at most `vocabulary` tokens; id 0 is the end of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT[0]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer.json of a language model's folder; raises ValueError when there is none with an end of text."""
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
    try:
        end_of_text(tokenizer)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return tokenizer


def end_of_text(tokenizer: Tokenizer) -> int:
    """The id that starts a caption and ends it; raises ValueError when the tokenizer has no such token."""
    for name in END_OF_TEXT:
        found: int | None = tokenizer.token_to_id(name)
        if found is not None:
            return found
    raise ValueError(f"no token is an end of text; a tokenizer needs one of {', '.join(END_OF_TEXT)}")


def encode_captions(tokenizer: Tokenizer, captions: Sequence[str]) -> Tensor:
    """Sentences -> ids (B, W) int64: the end of text follows the last word, PADDING follows that."""
    return encode_answers(tokenizer, [("", caption) for caption in captions])[0]


def encode_answers(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Questions with their answers -> ids (B, W) int64, and the same as targets, in which the question is PADDING.

    A caption is the answer to the empty question. The end of text follows the last word, PADDING follows that.
    """
    end = end_of_text(tokenizer)
    asked, said = (
        [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        for texts in zip(*pairs, strict=True)
    )
    ids = [[*question, *answer, end] for question, answer in zip(asked, said, strict=True)]
    width = -(-max(len(row) for row in ids) // WIDTH_STEP) * WIDTH_STEP
    padded = torch.tensor([row + [PADDING] * (width - len(row)) for row in ids])  # (B, W)
    lengths = torch.tensor([[len(question)] for question in asked])  # (B, 1)
    return padded, padded.masked_fill(torch.arange(width) < lengths, PADDING)
