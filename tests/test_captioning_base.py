"""What the study's language model reads before it hears anything, and in which order."""

from itertools import islice
from pathlib import Path

import captioning_base
import numpy as np
import pytest
import torch
from captioning_base import BATCH, LENGTH, definitions, examples, stream_of

from sonopsis.mamba2 import Mamba2Config, Mamba2LM
from sonopsis.training.tokens import end_of_text, train_tokenizer

LICENCE = "  1 This software and database is being provided to you, the LICENSEE  \n"
DOG = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 02083346 n 0000 ~ 01322604 n 0000 | a member of "
    'the genus Canis; "the dog barked all night"  \n'
)
LOUD = "01448324 00 a 01 loud(p) 0 000 | in a loud manner  \n"


def test_definitions_have_their_words_and_examples(tmp_path: Path) -> None:
    for part, lines in {"noun": LICENCE + DOG, "verb": LICENCE, "adj": LICENCE + LOUD, "adv": ""}.items():
        (tmp_path / f"data.{part}").write_text(lines)
    assert definitions(tmp_path) == [
        'dog, domestic dog, Canis familiaris: a member of the genus Canis; "the dog barked all night"',
        "loud: in a loud manner",
    ]


def test_each_text_follows_an_end_of_text() -> None:
    tokenizer = train_tokenizer(["a dog barks", "a bell rings"], 300)
    ids = stream_of(["a dog barks", "a bell rings"], tokenizer)
    starts = np.flatnonzero(ids == end_of_text(tokenizer))
    assert len(starts) == 2 and starts[0] == 0
    assert [tokenizer.decode(part[1:].tolist()).strip() for part in np.split(ids, starts[1:])] == [
        "a dog barks",
        "a bell rings",
    ]


def test_a_run_that_carries_on_reads_what_it_would_have_read() -> None:
    ids = np.arange(40 * LENGTH + 1)
    whole = list(islice(examples(ids, 0), 12))
    rest = list(islice(examples(ids, 5), 7))
    assert all(torch.equal(one, other) for one, other in zip(whole[5:], rest, strict=True))
    assert whole[0].shape == (BATCH, LENGTH + 1)
    read = torch.cat(whole[:2])[:, 0]  # less than one pass over the text: no place comes twice
    assert len(set(read.tolist())) == 2 * BATCH
    assert all((np.diff(row) == 1).all() for row in whole[0].numpy())


def test_perplexity_of_a_model_that_knows_nothing_is_the_number_of_tokens() -> None:
    lm = Mamba2LM(Mamba2Config(64, 1, 50, state=16)).eval()
    torch.nn.init.zeros_(lm.backbone.embedding.weight)  # so that all tokens are equally probable
    ids = np.random.default_rng(0).integers(0, 50, 3 * LENGTH + 1)
    assert captioning_base.perplexity(lm, ids) == pytest.approx(50, rel=1e-3)
