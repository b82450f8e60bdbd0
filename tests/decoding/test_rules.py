"""Where generated sequences end and what they may not repeat, over a small random table of a language model."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.decoding import DecodingOptions, Sampling, decode
from sonopsis.decoding.rules import Rules

VOCABULARY = 6
PROMPTS = [0, 3, 5]


class Markov:
    """What follows depends on the last token alone."""

    def __init__(self, seed: int, spread: float = 2.0) -> None:
        self.table = spread * np.random.default_rng(seed).standard_normal((VOCABULARY, VOCABULARY))
        self.last = np.zeros(0, dtype=np.int64)

    def prefill(self, prompts: list[int]) -> np.ndarray:
        self.last = np.array(prompts)
        return self.table[self.last]

    def step(self, ids: np.ndarray) -> np.ndarray:
        assert len(ids) == len(self.last)
        self.last = ids
        return self.table[ids]

    def reorder(self, rows: np.ndarray) -> None:
        self.last = self.last[rows]

    def logprobs(self, prompt: int, ids: tuple[int, ...]) -> list[float]:
        rows = self.table[[prompt, *ids[:-1]]]
        return list((rows - np.log(np.exp(rows).sum(1, keepdims=True)))[np.arange(len(ids)), list(ids)])


MODES = [{}, {"beams": 3}, {"sampling": Sampling(samples=3, seed=4)}]


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 3))
def test_no_run_is_written_twice(mode: dict[str, object], seed: int, size: int) -> None:
    """A vocabulary of 6 runs out of new runs, so some sequences end before the limit: as they are."""
    for hypotheses in decode(Markov(seed), PROMPTS, DecodingOptions(max_new_tokens=12, no_repeat_ngram=size, **mode)):
        assert hypotheses
        for hypothesis in hypotheses:
            runs = [hypothesis.ids[i : i + size] for i in range(len(hypothesis.ids) - size + 1)]
            assert len(set(runs)) == len(runs) and (len(hypothesis.ids) == 12 if size == 3 else hypothesis.ids)
            assert len(hypothesis.ids) <= VOCABULARY or size > 1


def test_sequences_end_where_the_rules_leave_nothing() -> None:
    model = Markov(0)
    for mode in MODES:
        for prompt, hypotheses in zip(
            PROMPTS, decode(model, PROMPTS, DecodingOptions(max_new_tokens=12, no_repeat_ngram=1, **mode)), strict=True
        ):
            for hypothesis in hypotheses:
                assert sorted(hypothesis.ids) == list(range(VOCABULARY))
                assert hypothesis.logprob == pytest.approx(sum(model.logprobs(prompt, hypothesis.ids)))
                assert hypothesis.score == pytest.approx(hypothesis.logprob / VOCABULARY)


def test_penalty_multiplies_what_was_written() -> None:
    """Greedy and exhaustive beams against a direct computation of penalised scores."""
    model, penalty = Markov(3), 1.7

    def penalised(prompt: int, ids: tuple[int, ...]) -> list[float]:
        pairs = zip(ids, model.logprobs(prompt, ids), strict=True)
        return [logprob * (penalty if token in ids[:i] else 1) for i, (token, logprob) in enumerate(pairs)]

    greedily = decode(model, PROMPTS, DecodingOptions(max_new_tokens=4, repetition_penalty=penalty))
    exact = decode(model, PROMPTS, DecodingOptions(max_new_tokens=4, repetition_penalty=penalty, beams=6**4))
    for prompt, (first,), hypotheses in zip(PROMPTS, greedily, exact, strict=True):
        ids: tuple[int, ...] = ()
        for _ in range(4):
            ids = max(((*ids, token) for token in range(VOCABULARY)), key=lambda ids: penalised(prompt, ids)[-1])
        assert first.ids == ids
        best = max(itertools.product(range(VOCABULARY), repeat=4), key=lambda ids: sum(penalised(prompt, ids)))
        assert hypotheses[0].ids == best and len(hypotheses) == 6**4
        for hypothesis in (first, hypotheses[0], hypotheses[100]):
            assert hypothesis.score == pytest.approx(sum(penalised(prompt, hypothesis.ids)) / 4)
            assert hypothesis.logprob == pytest.approx(sum(model.logprobs(prompt, hypothesis.ids)))
    assert greedily != decode(model, PROMPTS, DecodingOptions(max_new_tokens=4))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), minimum=st.integers(0, 4))
def test_stops(mode: dict[str, object], seed: int, minimum: int) -> None:
    model, sequences = Markov(seed), [(1, 2), (4,), (2, 2, 3)]
    options = {"max_new_tokens": 10, "stop_ids": [0], "stop_sequences": sequences, "min_new_tokens": minimum, **mode}
    stops = [(0,), *sequences]
    for prompt, hypotheses in zip(PROMPTS, decode(model, PROMPTS, DecodingOptions(**options)), strict=True):
        for hypothesis in hypotheses:
            assert minimum <= len(hypothesis.ids) <= 10
            for stop in stops:
                places = range(len(hypothesis.ids) - len(stop) + 1)
                assert not any(hypothesis.ids[i : i + len(stop)] == stop for i in places)
            endings = [hypothesis.ids] if len(hypothesis.ids) == 10 else [(*hypothesis.ids, *stop) for stop in stops]
            sums = [sum(model.logprobs(prompt, ids)) for ids in endings if len(ids) <= 10]
            assert any(hypothesis.logprob == pytest.approx(total) for total in sums)


def test_stop_sequences_cut_the_greedy_sequence() -> None:
    """Stopping changes where a sequence ends and nothing else."""
    for seed in range(8):
        whole = decode(Markov(seed), [0], DecodingOptions(max_new_tokens=12))[0][0].ids
        stop = whole[4:6]
        place = next(i for i in range(12) if whole[i : i + 2] == stop)
        options = DecodingOptions(max_new_tokens=12, stop_sequences=[stop])
        assert decode(Markov(seed), [0], options)[0][0].ids == whole[:place]


@pytest.mark.parametrize("mode", [{}, {"sampling": Sampling(temperature=1.5, seed=2)}])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_streamed_tokens_are_the_result(mode: dict[str, object], seed: int) -> None:
    """A token is not passed on while it may be the beginning of a stop."""
    streamed: dict[int, list[int]] = {row: [] for row in range(len(PROMPTS))}
    options = {"max_new_tokens": 9, "stop_ids": [0], "stop_sequences": [(1, 2, 1), (2, 3)], **mode}
    found = decode(Markov(seed), PROMPTS, DecodingOptions(**options), lambda row, token: streamed[row].append(token))
    assert [tuple(ids) for ids in streamed.values()] == [hypotheses[0].ids for hypotheses in found]
    assert found == decode(Markov(seed), PROMPTS, DecodingOptions(**options))


def test_streaming_does_not_wait_and_may_end_a_prompt() -> None:
    model = Markov(1)
    whole = decode(model, PROMPTS, DecodingOptions(max_new_tokens=8))
    events: list[tuple[int, int]] = []
    steps: list[int] = []
    step = model.step

    def counted(ids: np.ndarray) -> np.ndarray:
        steps.append(len(events))
        return step(ids)

    model.step = counted  # type: ignore[method-assign]

    def enough(row: int, token: int) -> bool:
        events.append((row, token))
        return row == 1 and sum(event[0] == 1 for event in events) == 3

    found = decode(model, PROMPTS, DecodingOptions(max_new_tokens=8), on_token=enough)
    assert steps[:3] == [3, 6, 9] and steps[3] == 11
    assert [h[0].ids for h in found] == [whole[0][0].ids, whole[1][0].ids[:3], whole[2][0].ids]
    assert found[1][0].logprob == pytest.approx(sum(model.logprobs(PROMPTS[1], found[1][0].ids)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_new_tokens": 5}, "min_new_tokens"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram"),
        ({"length_penalty": 5000.0}, "length_penalty"),
        ({"stop_sequences": [()]}, "at least one token"),
        ({"stop_sequences": [(1, 9)]}, "outside of the vocabulary"),
        ({"min_new_tokens": 1, "stop_ids": [0, 1, 2], "forbid_ids": [3, 4, 5]}, "are forbidden"),
        ({"beams": 2, "sampling": Sampling()}, "does not sample"),
        ({"beams": 2, "on_token": print}, "on_token"),
        ({"sampling": Sampling(samples=2), "on_token": print}, "on_token"),
    ],
)
def test_impossible_requests(options: dict[str, object], words: str) -> None:
    options = dict(options)
    with pytest.raises(ValueError, match=words):
        on_token = options.pop("on_token", None)
        decode(Markov(0), PROMPTS, DecodingOptions(**{"max_new_tokens": 4, **options}), on_token)


def test_early_stops_are_forbidden_by_length_without_the_stop() -> None:
    rules = Rules(DecodingOptions(9, stop_ids=[7], stop_sequences=[(3, 4)], min_new_tokens=2))
    logprobs = np.zeros((4, 8))
    scores = rules.score(logprobs, [[], [3], [1, 3], [1, 1, 3]])
    assert [np.flatnonzero(np.isinf(row)).tolist() for row in scores] == [[7], [4, 7], [4], []]
