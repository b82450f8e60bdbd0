"""Generation by the model: transformers as oracle, prompts of different lengths, continued caches."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sonopsis.decoding import Sampling
from sonopsis.mamba2 import Mamba2LM

MakeLM = Callable[..., Mamba2LM]
Peer = Callable[[Mamba2LM], torch.nn.Module]
STOP = 0


def trimmed(sequence: Tensor) -> tuple[int, ...]:
    """A sequence of transformers up to its first stop token."""
    ids = sequence.tolist()
    return tuple(ids[: ids.index(STOP)] if STOP in ids else ids)


@pytest.mark.parametrize("seed", range(2))
def test_greedy_of_transformers(make_lm: MakeLM, peer: Peer, ids: Tensor, seed: int) -> None:
    lm = make_lm(seed)
    expected = peer(lm).generate(ids, max_new_tokens=12, do_sample=False)[:, ids.shape[1] :]
    for found in (
        lm.generate(ids, max_new_tokens=12, stop_ids=[STOP]),
        lm.generate(embeds=lm.embed(ids), max_new_tokens=12, stop_ids=[STOP]),
    ):
        assert [hypotheses[0].ids for hypotheses in found] == [trimmed(row) for row in expected]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("penalty", [1.0, 0.5])
def test_beams_of_transformers(make_lm: MakeLM, peer: Peer, ids: Tensor, seed: int, penalty: float) -> None:
    lm = make_lm(seed, groups=2)
    expected = peer(lm).generate(
        ids,
        max_new_tokens=10,
        do_sample=False,
        num_beams=3,
        num_return_sequences=3,
        length_penalty=penalty,
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = lm.generate(ids, max_new_tokens=10, beams=3, length_penalty=penalty, stop_ids=[STOP])
    flat = [hypothesis for hypotheses in found for hypothesis in hypotheses]
    assert [h.ids for h in flat] == [trimmed(row) for row in expected.sequences[:, ids.shape[1] :]]
    torch.testing.assert_close(
        torch.tensor([h.score for h in flat]), expected.sequences_scores, atol=1e-4, rtol=0, check_dtype=False
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(
    "options", [{"repetition_penalty": 1.6}, {"no_repeat_ngram": 2}, {"no_repeat_ngram": 1, "min_new_tokens": 5}]
)
def test_repetition_control_of_transformers(
    make_lm: MakeLM, peer: Peer, ids: Tensor, seed: int, beams: int, options: dict[str, float]
) -> None:
    """The prompt is given as embeddings, so that theirs does not count it either.

    Their greedy search penalises logits and their beams log-probabilities; ours always the latter.
    """
    processors = pytest.importorskip("transformers").generation
    lm = make_lm(seed)
    wanted = processors.LogitsProcessorList([processors.LogitNormalization()])
    if "repetition_penalty" in options:
        wanted.append(processors.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    if "no_repeat_ngram" in options:
        wanted.append(processors.NoRepeatNGramLogitsProcessor(options["no_repeat_ngram"]))
    expected = peer(lm).generate(
        inputs_embeds=lm.embed(ids),
        max_new_tokens=12,
        min_new_tokens=options.get("min_new_tokens"),
        do_sample=False,
        num_beams=beams,
        logits_processor=wanted,
    )
    found = lm.generate(ids, max_new_tokens=12, beams=beams, stop_ids=[STOP], **options)
    assert [hypotheses[0].ids for hypotheses in found] == [trimmed(row) for row in expected]
    assert found != lm.generate(ids, max_new_tokens=12, beams=beams, stop_ids=[STOP])


@pytest.mark.parametrize("options", [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.6}, {"top_k": 9, "top_p": 0.8}])
def test_distributions_of_transformers(lm: Mamba2LM, ids: Tensor, options: dict[str, float]) -> None:
    warpers = pytest.importorskip("transformers").generation
    with torch.no_grad():
        expected = lm(ids)[:, -1]
    if "temperature" in options:
        expected = warpers.TemperatureLogitsWarper(options["temperature"])(ids, expected)
    if "top_k" in options:
        expected = warpers.TopKLogitsWarper(options["top_k"])(ids, expected)
    if "top_p" in options:
        expected = warpers.TopPLogitsWarper(options["top_p"])(ids, expected)
    for row, scores in zip(expected.softmax(-1), lm(ids)[:, -1].detach().numpy(), strict=True):
        tokens, probabilities = Sampling(**options).choices(scores)
        found = torch.zeros_like(row, dtype=torch.float64).index_put(
            (torch.from_numpy(tokens),), torch.tensor(probabilities)
        )
        torch.testing.assert_close(found, row.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"sampling": Sampling(samples=2, seed=7)}])
def test_lists_of_different_lengths_are_as_alone(make_lm: MakeLM, ids: Tensor, options: dict[str, object]) -> None:
    lm = make_lm(2)
    prompts = [ids[0].tolist(), ids[1, :4].tolist(), [5]]
    found = lm.generate(prompts, max_new_tokens=8, stop_ids=[STOP], repetition_penalty=1.2, **options)
    for prompt, hypotheses in zip(prompts, found, strict=True):
        alone = lm.generate(
            torch.tensor([prompt]), max_new_tokens=8, stop_ids=[STOP], repetition_penalty=1.2, **options
        )
        assert [h.ids for h in hypotheses] == [h.ids for h in alone[0]]
        assert [h.score for h in hypotheses] == pytest.approx([h.score for h in alone[0]], abs=1e-4)
    with pytest.raises(ValueError, match="leave out"):
        lm.generate(prompts, lengths=torch.tensor([1, 1, 1]), max_new_tokens=8)
    with pytest.raises(ValueError, match="at least one token"):
        lm.generate([[1], []], max_new_tokens=8)


def test_streaming(lm: Mamba2LM, ids: Tensor) -> None:
    streamed: list[tuple[int, int]] = []
    found = lm.generate(ids, max_new_tokens=6, on_token=lambda row, token: streamed.append((row, token)))
    assert streamed == [(row, found[row][0].ids[t]) for t in range(6) for row in range(2)]


@pytest.mark.parametrize("beams", [1, 3])
def test_scores_are_the_models(lm: Mamba2LM, ids: Tensor, beams: int) -> None:
    for prompt, hypotheses in zip(ids, lm.generate(ids, max_new_tokens=8, beams=beams, stop_ids=[STOP]), strict=True):
        for hypothesis in hypotheses:
            new = list(hypothesis.ids) + ([STOP] if len(hypothesis.ids) < 8 else [])
            with torch.no_grad():
                logits = lm(torch.cat([prompt, torch.tensor(new)])[None])[0, len(prompt) - 1 : -1]
            logprobs = logits.log_softmax(-1).gather(1, torch.tensor(new)[:, None])
            assert hypothesis.logprob == pytest.approx(logprobs.sum().item(), abs=1e-3)
            assert hypothesis.score == pytest.approx(logprobs.mean().item(), abs=1e-3)


@pytest.mark.parametrize("beams", [1, 4])
def test_right_padded_prompts_are_as_alone(make_lm: MakeLM, ids: Tensor, beams: int) -> None:
    lm = make_lm(2)
    lengths = [21, 6]
    found = lm.generate(ids, lengths=torch.tensor(lengths), max_new_tokens=9, beams=beams, stop_ids=[STOP])
    for row, length in enumerate(lengths):
        alone = lm.generate(ids[row : row + 1, :length], max_new_tokens=9, beams=beams, stop_ids=[STOP])[0]
        assert [h.ids for h in found[row]] == [h.ids for h in alone]
        assert [h.score for h in found[row]] == pytest.approx([h.score for h in alone], abs=1e-4)


def test_continuing_a_cache_leaves_it_as_it_is(lm: Mamba2LM, ids: Tensor) -> None:
    """Read a prompt once, ask it twice: the same as reading everything each time."""
    cache = lm.new_cache(2)
    lm.prefill(ids[:, :14], cache=cache)
    for question in (ids[:, 14:], torch.flip(ids[:, 14:], (1,))):
        whole = torch.cat([ids[:, :14], question], dim=1)
        found = lm.generate(question, cache=cache, max_new_tokens=7, beams=2)
        expected = lm.generate(whole, max_new_tokens=7, beams=2)
        assert [[h.ids for h in hypotheses] for hypotheses in found] == [
            [h.ids for h in hypotheses] for hypotheses in expected
        ]


def test_padding_rows_are_never_generated(make_lm: MakeLM, ids: Tensor) -> None:
    """Rows of the embedding beyond the real tokens, made as probable as can be."""
    lm = make_lm(tie_embeddings=False, token_count=58)
    with torch.no_grad():
        lm.lm_head.weight[58:] *= 20
    assert lm(ids)[:, -1].argmax(-1).max() >= 58
    hot = Sampling(temperature=5.0, samples=8)
    for options in ({}, {"beams": 3}, {"sampling": hot}, {"no_repeat_ngram": 1}, {"forbid_ids": [3]}):
        for hypotheses in lm.generate(ids, max_new_tokens=10, stop_ids=[59], min_new_tokens=2, **options):
            assert all(max(h.ids) < 58 and len(h.ids) == 10 for h in hypotheses)
    everything = lm.generate(ids[:1], max_new_tokens=61, no_repeat_ngram=1)[0][0]
    assert sorted(everything.ids) == list(range(58))  # when all real tokens are used up, it ends instead


def test_weights_changed_by_training_are_used(lm: Mamba2LM, ids: Tensor) -> None:
    """Nothing a generation prepared outlives it."""
    before = lm.generate(ids, max_new_tokens=8)
    changed = copy.deepcopy(lm)
    with torch.no_grad():
        for layer in lm.backbone.layers:
            layer.mixer.A_log += 1
            layer.mixer.conv1d.weight *= -1
        for layer in changed.backbone.layers:
            layer.mixer.A_log += 1
            layer.mixer.conv1d.weight *= -1
    after = lm.generate(ids, max_new_tokens=8)
    assert after != before and after == changed.generate(ids, max_new_tokens=8)
