"""Questions in training: the texts that a tokenizer learns from, and how many of a model's answers are right."""

import random
from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from sonopsis.asking import LONGEST_ANSWER, answers
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import ClipBank
from sonopsis.decoding.options import DecodingOptions
from sonopsis.scenes.compose import compose
from sonopsis.scenes.questions import Question, ask
from sonopsis.scenes.scene import Scene

TRAINING_SCENES = 4000  # whose captions and questions a tokenizer is trained on


def training_captions(bank: ClipBank) -> Iterator[str]:
    """All captions of the first composed training scenes."""
    for scene in compose(bank.rows, seed=0, count=TRAINING_SCENES, split="train"):
        yield from scene.captions


def training_texts(bank: ClipBank, questions: bool) -> Iterator[str]:
    """The captions, and if wanted a question of each of the same scenes with its answer."""
    yield from training_captions(bank)
    if questions:
        for scene in compose(bank.rows, seed=0, count=TRAINING_SCENES, split="train"):
            yield from question_of(scene)[1:]


def question_of(scene: Scene) -> Question:
    """One question about a scene, always the same."""
    return ask(scene.facts, random.Random(f"{scene.id}/question"))


@torch.inference_mode()
def answer(captioner: Captioner, tokenizer: Tokenizer, prefix: Tensor, question: str) -> str:
    """The most probable answer to a question about one prefix (1, L, E)."""
    lm = captioner.lm
    options = DecodingOptions(LONGEST_ANSWER, stop_ids=(captioner.end_of_text,), forbid_ids=lm.config.padding_ids)
    prompt = (captioner.prompt(prefix), None)
    (found,) = answers(lm.decoder(lm.new_cache(1)), prompt, [question], tokenizer, options)
    return tokenizer.decode(list(found.ids)).strip()


def question_accuracy(questions: Sequence[Question], said: Sequence[str]) -> float:
    """The share of right answers."""
    right = [question.answered_by(text) for question, text in zip(questions, said, strict=True)]
    return sum(right) / len(right)
