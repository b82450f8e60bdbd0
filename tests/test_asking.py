"""Questions about a recording: heard once, answered as if the prompt had been read together with each question."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sonopsis.asking import LONGEST_QUESTION, UNCLEAR, asked, believable
from sonopsis.engines.torch import TorchEngine
from sonopsis.files import ModelError
from sonopsis.folder import describe
from sonopsis.mel import mel_input
from sonopsis.model import Model, load
from sonopsis.results import SILENCE
from sonopsis.scenes.words import parser

QUESTIONS = ["is there a dog?", "what comes first?", "how often is a bell heard?"]


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1


def test_an_answer_continues_the_prompt_and_the_question(answering_model: Path, noise: np.ndarray) -> None:
    model = load(answering_model, engine="torch")
    captioner, tokenizer = model.module, model.tokenizer
    assert tokenizer is not None
    found = model.ask(noise, QUESTIONS, keep_rate=1.0)
    assert [answer.question for answer in found] == QUESTIONS
    with torch.inference_mode():
        prefix = captioner.connector(captioner.encode(torch.from_numpy(mel_input(noise, model.folder.mel))))
        for answer in found:
            ids = torch.tensor([tokenizer.encode(answer.question, add_special_tokens=False).ids])
            prompt = torch.cat([captioner.prompt(prefix), captioner.lm.embed(ids)], dim=1)
            (best, *_) = captioner.lm.generate(embeds=prompt, max_new_tokens=24, stop_ids=(0,))[0]
            assert tokenizer.decode(list(best.ids)).strip() == answer.text
            assert best.score == pytest.approx(answer.score, abs=1e-4)


def test_graphs_answer_alike(answering_model: Path, noise: np.ndarray) -> None:
    ours, theirs = (load(answering_model, engine=engine).ask(noise, QUESTIONS) for engine in ("torch", "onnx"))
    assert [answer.text for answer in ours] == [answer.text for answer in theirs]
    assert [answer.score for answer in ours] == pytest.approx([answer.score for answer in theirs], abs=1e-4)


def test_answers_do_not_depend_on_the_questions_before(answering_model: Path, noise: np.ndarray) -> None:
    for engine in ("torch", "onnx"):
        model = load(answering_model, engine=engine)
        together = model.ask(noise, QUESTIONS)
        assert together == [model.ask(noise, question)[0] for question in QUESTIONS]


def test_the_encoder_hears_a_window_once(answering_model: Path, noise: np.ndarray) -> None:
    class Counting(TorchEngine):
        heard = 0

        def prompt(self, mel, pruning):  # type: ignore[no-untyped-def]
            self.heard += 1
            return super().prompt(mel, pruning)

    engine = Counting(load(answering_model, engine="torch").module)
    Model(describe(answering_model), engine).ask(np.tile(noise, 4), QUESTIONS)  # 4 s: two windows
    assert engine.heard == 2


def test_silence_is_silence(answering_model: Path) -> None:
    (answer,) = load(answering_model).ask(np.zeros(16000, np.float32), "is there a dog")
    assert (answer.question, answer.text, answer.score) == ("is there a dog?", SILENCE, 0.0)
    assert (answer.start, answer.end) == (0.0, 1.0)


def test_questions_are_written_as_in_training() -> None:
    assert asked("  Is there\na DOG ? ") == "is there a dog?"
    with pytest.raises(ValueError, match="must have words"):
        asked(" ?? ")
    with pytest.raises(ValueError, match="ask a shorter one"):
        asked("a" * (LONGEST_QUESTION + 1))


def test_a_model_that_has_not_learned_to_answer_says_so(tiny_model: Path, noise: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"data\.questions"):
        load(tiny_model).ask(noise, "is there a dog?")


def test_an_answer_is_json(answering_model: Path, noise: np.ndarray) -> None:
    fields = json.loads(json.dumps(load(answering_model).ask(noise, QUESTIONS[0])[0].to_dict()))
    assert list(fields) == ["start", "end", "question", "text", "score"]


@pytest.mark.parametrize(
    ("question", "said", "believed"),
    [
        ("is there a dog?", "yes", "no"),  # the tags find dogs absent
        ("is there a bell?", "yes", "yes"),
        ("is there a dog?", "no", "no"),
        ("does a dog come before a bell?", "yes", "yes"),  # takes for granted that both are there
        ("what comes first?", "a dog barking", UNCLEAR),
        ("what comes first?", "a bell ringing", "a bell ringing"),
        ("what can be heard?", "a bell ringing and a dog barking", UNCLEAR),
    ],
)
def test_no_answer_says_what_the_tags_deny(question: str, said: str, believed: str) -> None:
    assert believable(question, said, parser(["Dog", "Bell"]), {"Dog"}) == believed
