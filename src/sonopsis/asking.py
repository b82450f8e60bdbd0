"""Questions about a recording: each window is heard once, and every question continues from what was heard.

prefix -> language model reads it once -> copies of its state, one for each question -> answers
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sonopsis.audio import Window, is_silent
from sonopsis.calibration import Calibration
from sonopsis.decoding.consensus import CaptionParser
from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.search import ForkingStepper, Hypothesis, Ids, decode
from sonopsis.engines.base import Engine
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder
from sonopsis.mel import mel_input
from sonopsis.pruning.config import Pruning
from sonopsis.results import SILENCE, Answer
from sonopsis.scenes.words import parser

UNCLEAR = "unclear"  # in place of an answer that names what the tags find absent

LONGEST_ANSWER = 24  # tokens
LONGEST_QUESTION = 200  # characters


def asked(question: str) -> str:
    """A question as the training stage writes it: one line, lower case, a question mark at the end.

    Raises ValueError for an empty one and for one that is too long to be a question.
    """
    text = " ".join(question.lower().split()).rstrip(" ?.!")
    if not text:
        raise ValueError('a question must have words, for example "is there a dog?"')
    if len(text) > LONGEST_QUESTION:
        raise ValueError(f"a question has at most {LONGEST_QUESTION} characters, not {len(text)}; ask a shorter one")
    return f"{text}?"


def listener(
    engine: Engine,
    folder: ModelFolder,
    tokenizer: Tokenizer | None,
    questions: str | Sequence[str],
    pruning: Pruning | None,
) -> Callable[[Window], Iterator[Answer]]:
    """What answers questions about one window after another, each question when its answer is asked for.

    Raises ModelError for a model that has not learned to answer, and ValueError for a text that is no question.
    """
    texts = [asked(text) for text in ([questions] if isinstance(questions, str) else questions)]
    config = folder.config
    if not config.answers or config.lm is None or tokenizer is None:
        raise ModelError(f"{folder.name} has not learned to answer questions; train one with data.questions over 0")
    named = parser(config.labels)
    options = DecodingOptions(LONGEST_ANSWER, stop_ids=(config.end_of_text,), forbid_ids=config.lm.padding_ids)

    def listen(window: Window) -> Iterator[Answer]:
        if is_silent(window.samples):
            yield from (Answer(window.start, window.end, text, SILENCE, 0.0) for text in texts)
            return
        prompt = engine.prompt(mel_input(window.samples, folder.mel), pruning)
        found = answers(engine.stepper(), prompt.embeddings, texts, tokenizer, options)
        scores = (config.calibration or Calibration()).probabilities(prompt.logits[0])  # (labels,)
        absent = {
            label
            for label, score in zip(config.labels, scores.tolist(), strict=True)
            if score < config.least.get(label, 0.0)
        }
        for text, answer in zip(texts, found, strict=True):
            said = tokenizer.decode(list(answer.ids)).strip()
            yield Answer(window.start, window.end, text, believable(text, said, named, absent), answer.score)

    return listen


def believable(question: str, said: str, named: CaptionParser, absent: Collection[str]) -> str:
    """An answer, or what the tags allow in its place: no sound that they find absent is there, or is what was heard.

    A question about two sounds takes for granted that they are there.
    """
    asked_about = set(named(question))
    if said == "yes" and len(asked_about) == 1 and asked_about <= set(absent):
        return "no"
    return UNCLEAR if set(named(said)) & set(absent) else said


def answers(
    stepper: ForkingStepper, prompt: Any, questions: Sequence[str], tokenizer: Tokenizer, options: DecodingOptions
) -> Iterator[Hypothesis]:
    """The most probable answer to each of `questions`, as `asked` writes them, about one prompt (1, L + 1, E)."""
    first = stepper.prefill(prompt)  # (1, V)
    for question in questions:
        ids = tokenizer.encode(question, add_special_tokens=False).ids
        ((found, *_),) = decode(_Asked(stepper.fork(), ids, first), None, options)
        yield found


class _Asked:
    """A stepper that has read a prompt, and reads a question where `decode` gives it prompts to read."""

    def __init__(self, stepper: ForkingStepper, ids: Sequence[int], logits: NDArray[np.float32]) -> None:
        self._stepper, self._ids, self._logits = stepper, ids, logits

    def prefill(self, prompts: None) -> NDArray[np.float32]:
        """Read the question, token by token; logits (1, V) of what follows."""
        for token in self._ids:
            self._logits = self._stepper.step(np.array([token], np.int64))
        return self._logits

    def step(self, ids: Ids) -> NDArray[np.float32]:
        """Append one token to each sequence, ids (B,); logits (B, V) of what follows."""
        return self._stepper.step(ids)

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order."""
        self._stepper.reorder(rows)
