"""The adapter gives what transformers gives: logits, greedy words, states; and copies of a state do not mix."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.asking import answers
from sonopsis.causal.config import CausalConfig
from sonopsis.causal.model import CausalLM
from sonopsis.decoding.options import DecodingOptions

ARCHITECTURES = ["llama", "gpt_neox", "gpt2", "mamba", "granite"]
Make = Callable[..., CausalLM]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_logits_behind_a_prefix_are_those_of_transformers(architecture: str, make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal(architecture)
    words = torch.randint(0, 61, (2, 6), generator=torch.Generator().manual_seed(2))
    read = torch.cat([prefix, lm.embed(words)], dim=1)  # (2, 15, E)
    expected = lm.model(inputs_embeds=read).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(lm.logits(read, 15), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(lm.logits(read, 6), expected[:, 9:], rtol=0, atol=1e-5)
    whole = lm.model(input_ids=words).logits
    torch.testing.assert_close(lm.logits(lm.embed(words), 6), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_reading_in_pieces_is_reading_at_once(architecture: str, make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal(architecture)
    words = torch.randint(0, 61, (2, 6), generator=torch.Generator().manual_seed(2))
    expected = lm.logits(torch.cat([prefix, lm.embed(words)], dim=1), 7).numpy()
    decoder = lm.decoder(lm.new_cache(2))
    found = [decoder.prefill((prefix, None))]
    found += [decoder.step(ids.numpy()) for ids in words.T]
    np.testing.assert_allclose(np.stack(found, 1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_words_are_those_of_transformers(architecture: str, make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal(architecture, spread=0.4)
    expected = lm.model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.int64),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=None,
    )
    found = lm.generate(embeds=prefix, max_new_tokens=12)
    assert [list(best.ids) for best, *_ in found] == expected.tolist()
    assert len({best.ids for best, *_ in found}) == 2
    singly = [lm.generate(embeds=one.unsqueeze(0), max_new_tokens=12)[0][0].ids for one in prefix]
    assert singly == [best.ids for best, *_ in found]


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_beams_of_a_batch_are_those_of_each_prompt(architecture: str, make_causal: Make, prefix: Tensor) -> None:
    """Beam search repeats, leaves out and puts in another order what the model has read."""
    lm = make_causal(architecture)
    together = lm.generate(embeds=prefix, max_new_tokens=6, beams=3, stop_ids=(0, 1, 2, 3))
    for one, found in zip(prefix, together, strict=True):
        (alone,) = lm.generate(embeds=one.unsqueeze(0), max_new_tokens=6, beams=3, stop_ids=(0, 1, 2, 3))
        assert [hypothesis.ids for hypothesis in alone] == [hypothesis.ids for hypothesis in found]
        for best in found:  # the score is that of the words, read at once
            read = torch.cat([one, lm.embed(torch.tensor(best.ids, dtype=torch.int64))]).unsqueeze(0)
            with torch.no_grad():
                logprobs = lm.logits(read, len(best.ids) + 1)[0].log_softmax(-1)
            said = sum(float(logprobs[place, token]) for place, token in enumerate(best.ids))
            if len(best.ids) == 6:
                assert best.logprob == pytest.approx(said, abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_a_question_leaves_nothing_for_the_next(architecture: str, make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal(architecture)

    class Words:
        def encode(self, text: str, add_special_tokens: bool) -> "Words":
            assert not add_special_tokens
            self.ids = [int(word) for word in text.split()]
            return self

    options = DecodingOptions(5)
    questions = ["7 9 11", "40 2", "7 9 11", "3"]
    prompt = (prefix[:1], None)
    found = [hypothesis.ids for hypothesis in answers(lm.decoder(lm.new_cache(1)), prompt, questions, Words(), options)]  # type: ignore[arg-type]
    for question, ids in zip(questions, found, strict=True):
        embeds = lm.embed(torch.tensor([[int(word) for word in question.split()]]))
        alone = lm.generate(embeds=torch.cat([prefix[:1], embeds], dim=1), max_new_tokens=5)
        assert ids == alone[0][0].ids
    assert found[0] == found[2] and len(set(found)) > 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stored_weights_make_the_same_model(
    architecture: str, make_causal: Make, prefix: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lm = make_causal(architecture)
    file = tmp_path_factory.mktemp("stored") / "model.safetensors"
    save_file(lm.state_dict(), file)  # which refuses tensors that share memory
    other = CausalLM(CausalConfig.from_dict(lm.config.to_dict())).eval()
    assert other.load_state_dict(load_file(file), assign=True) == ([], [])
    assert torch.equal(other.logits(prefix, 9), lm.logits(prefix, 9))
    head, embedding = other.lm_head.weight, other.model.get_input_embeddings().weight
    assert (head is embedding) == (architecture != "gpt_neox")


def test_low_precision_keeps_the_rotation(make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal("llama")
    before = lm.model.model.rotary_emb.inv_freq.clone()
    lm.to(torch.bfloat16)
    assert lm.embed(torch.tensor([1])).dtype == torch.bfloat16
    assert torch.equal(lm.model.model.rotary_emb.inv_freq, before)
    assert torch.isfinite(lm.logits(prefix.bfloat16(), 2)).all()


def test_more_positions_than_there_are(make_causal: Make) -> None:
    lm = make_causal("gpt2")  # 1024 learned positions
    with pytest.raises(ValueError, match=r"gpt2.*at most 1024 positions, not 1025; .*connector\.pool"):
        lm.logits(torch.zeros(1, 1025, 32), 1)
    decoder = lm.decoder(lm.new_cache(1))
    decoder.prefill((torch.zeros(1, 1024, 32), None))
    with pytest.raises(ValueError, match="1025"):
        decoder.step(np.array([1]))


def test_padding_rows_are_never_generated(make_causal: Make, prefix: Tensor) -> None:
    lm = make_causal("llama")
    plain = {token for best, *_ in lm.generate(embeds=prefix, max_new_tokens=20) for token in best.ids}
    assert max(plain) >= 40
    lm.config = CausalConfig(32, 61, lm.config.transformers, token_count=40)
    assert {t for best, *_ in lm.generate(embeds=prefix, max_new_tokens=20) for t in best.ids} <= set(range(40))


def test_models_without_a_cache_and_prompts_of_several_lengths(make_causal: Make, prefix: Tensor) -> None:
    with pytest.raises(ValueError, match="rwkv: transformers has no cache"):
        CausalLM(CausalConfig(32, 61, {"model_type": "rwkv", "hidden_size": 32, "num_hidden_layers": 2}))
    lm = make_causal("llama")
    with pytest.raises(ValueError, match="one length"):
        lm.decoder(lm.new_cache(2)).prefill((prefix, torch.tensor([9, 8])))
