"""What decoding options refuse, and what they say of themselves."""

import math

import pytest

from sonopsis.decoding import DecodingOptions, Sampling


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"min_new_tokens": 5}, "min_new_tokens"),
        ({"beams": 0}, "beams"),
        ({"beams": 2, "sampling": Sampling()}, "does not sample"),
        ({"length_penalty": math.nan}, "length_penalty"),
        ({"length_penalty": 5000.0}, "length_penalty"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram"),
        ({"stop_sequences": [[]]}, "at least one token"),
    ],
)
def test_values_that_allow_nothing_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DecodingOptions(**{"max_new_tokens": 4, **options})


def test_stops_are_the_ids_and_the_runs_together() -> None:
    options = DecodingOptions(4, stop_ids=[0, 7], stop_sequences=[[1, 2], (7,)])
    assert options.stops == {(0,), (7,), (1, 2)}


def test_samples_are_those_of_the_sampling() -> None:
    assert DecodingOptions(4).samples == 1
    assert DecodingOptions(4, sampling=Sampling(samples=5)).samples == 5
