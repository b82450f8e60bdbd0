"""The whole model against transformers, and against itself read in other ways."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sonopsis.mamba2 import Mamba2Config, Mamba2LM

MakeLM = Callable[..., Mamba2LM]
Peer = Callable[[Mamba2LM], torch.nn.Module]


@pytest.mark.parametrize("sizes", [{}, {"groups": 2}, {"tie_embeddings": False, "expand": 3, "conv": 3}])
def test_logits_of_transformers(make_lm: MakeLM, peer: Peer, ids: Tensor, sizes: dict[str, object]) -> None:
    lm = make_lm(**sizes)
    other = peer(lm)
    with torch.no_grad():
        expected = other(ids).logits
        assert expected.std() > 0.5
        torch.testing.assert_close(lm(ids), expected, atol=5e-4, rtol=0)
        torch.testing.assert_close(lm(embeds=lm.embed(ids)), expected, atol=5e-4, rtol=0)
        assert lm(ids, last_only=True).shape == expected[:, -1].shape


def test_logits_of_transformers_at_the_depth_of_130m(make_lm: MakeLM, peer: Peer, ids: Tensor) -> None:
    lm = make_lm(depth=24)
    with torch.no_grad():
        expected = peer(lm)(ids).logits
        torch.testing.assert_close(lm(ids), expected, atol=2e-3, rtol=0)
        assert torch.equal(lm(ids).argmax(-1), expected.argmax(-1))


def test_gradients_of_transformers(make_lm: MakeLM, peer: Peer, ids: Tensor) -> None:
    lm = make_lm(groups=2)
    other = peer(lm)
    losses = []
    for model, logits in ((lm, lm(ids)), (other, other(ids).logits)):
        losses.append(F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))
        losses[-1].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    torch.testing.assert_close(losses[0], losses[1], atol=1e-4, rtol=1e-4)
    expected = {name.replace("embeddings", "embedding"): p.grad for name, p in other.named_parameters()}
    for name, parameter in lm.named_parameters():
        scale = expected[name].abs().max()
        assert scale > 0, name
        assert (parameter.grad - expected[name]).abs().max() / scale < 1e-3, name


def test_steps_are_one_prefill(lm: Mamba2LM, ids: Tensor, assert_rounded: Callable[..., None]) -> None:
    expected = lm(ids)
    cache = lm.new_cache(2)
    for t in range(ids.shape[1]):
        assert_rounded(lm.step(ids[:, t], cache), expected[:, t], lm)


@pytest.mark.parametrize("cuts", [[1], [2, 3], [8, 16], [10], [20]])
def test_prefill_in_pieces_is_one_prefill(
    make_lm: MakeLM, ids: Tensor, cuts: list[int], assert_rounded: Callable[..., None]
) -> None:
    lm = make_lm(groups=2)
    whole = lm.new_cache(2)
    with torch.no_grad():
        expected = lm(ids, cache=whole)
        cache = lm.new_cache(2)
        pieces = [lm(piece, cache=cache) for piece in ids.tensor_split(cuts, dim=1)]
    assert_rounded(torch.cat(pieces, dim=1), expected, lm)
    assert_rounded(cache.ssm, whole.ssm, lm)
    assert_rounded(cache.conv, whole.conv, lm)


def test_cache_may_be_filled_while_training(lm: Mamba2LM, ids: Tensor) -> None:
    """Gradients of a second piece on top of a cache: the cache is overwritten, yet autograd sees its old value."""
    cache = lm.new_cache(2)
    lm(ids[:, :10], cache=cache)
    before = cache.fork()
    lm(ids[:, 10:], cache=cache).square().mean().backward()
    assert not torch.equal(before.ssm, cache.ssm)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lm.parameters())
    assert not cache.ssm.requires_grad


@pytest.mark.parametrize("lengths", [[21, 5], [1, 2], [8, 16], [13, 21]])
def test_right_padding_is_as_single_runs(
    make_lm: MakeLM, ids: Tensor, lengths: list[int], assert_rounded: Callable[..., None]
) -> None:
    """Logits, the state after, a step from it, and a second padded piece on top of it."""
    lm = make_lm(groups=2)
    padded, more = lm.new_cache(2), torch.flip(ids, (0, 1))[:, :9]
    more_lengths = [9, 4]
    with torch.no_grad():
        logits = lm(ids, cache=padded, lengths=torch.tensor(lengths))
        stepped = lm.step(ids[:, 0], padded.fork())
        second = lm(more, cache=padded, lengths=torch.tensor(more_lengths), last_only=True)
        third = lm.step(ids[:, 1], padded)
        for row, length in enumerate(lengths):
            cache = lm.new_cache(1)
            one = slice(row, row + 1)
            expected = lm(ids[one, :length], cache=cache)
            assert_rounded(logits[one, :length], expected, lm)
            assert_rounded(stepped[one], lm.step(ids[one, 0], cache.fork()), lm)
            expected = lm(more[one, : more_lengths[row]], cache=cache, last_only=True)
            assert_rounded(second[one], expected, lm)
            assert_rounded(third[one], lm.step(ids[one, 1], cache), lm)
            assert_rounded(padded.ssm[:, one], cache.ssm, lm)
            assert_rounded(padded.conv[:, one], cache.conv, lm)


@pytest.mark.parametrize("lengths", [[21, 5], [1, 2], [8, 16]])
def test_left_padding_is_as_single_runs(
    make_lm: MakeLM, ids: Tensor, lengths: list[int], assert_rounded: Callable[..., None]
) -> None:
    """Logits where they were, the cache after, and a second piece, padded on the left too, on top of it."""
    lm = make_lm(groups=2)
    padded, read, more, more_lengths = lm.new_cache(2), lm.new_cache(2), torch.flip(ids, (0, 1))[:, :9], [3, 9]
    ends, more_ends = torch.tensor(lengths), torch.tensor(more_lengths)
    with torch.no_grad():
        logits = lm(ids, cache=padded, lengths=ends, padding="left")
        last = lm.prefill(ids, cache=read, lengths=ends, padding="left")
        second = lm(more, cache=padded, lengths=more_ends, padding="left", last_only=True)
        third = lm.step(ids[:, 1], padded)
        found = lm.generate(ids, lengths=ends, padding="left", max_new_tokens=6)
        for row, length in enumerate(lengths):
            cache, one = lm.new_cache(1), slice(row, row + 1)
            expected = lm(ids[one, -length:], cache=cache)
            assert_rounded(logits[one, -length:], expected, lm)
            assert_rounded(last[one], expected[:, -1], lm)
            assert_rounded(read.ssm[:, one], cache.ssm, lm)
            assert_rounded(read.conv[:, one], cache.conv, lm)
            expected = lm(more[one, -more_lengths[row] :], cache=cache, last_only=True)
            assert_rounded(second[one], expected, lm)
            assert_rounded(third[one], lm.step(ids[one, 1], cache), lm)
            assert found[row][0].ids == lm.generate(ids[one, -length:], max_new_tokens=6)[0][0].ids
    with pytest.raises(ValueError, match="'right' or on the 'left'"):
        lm(ids, lengths=ends, padding="both")


def test_left_padding_of_transformers(make_lm: MakeLM, peer: Peer, ids: Tensor) -> None:
    lm, mask = make_lm(groups=2), torch.ones_like(ids)
    mask[1, :8] = 0
    with torch.no_grad():
        expected = peer(lm)(ids, attention_mask=mask).logits
        logits = lm(ids, lengths=mask.sum(1), padding="left")
    torch.testing.assert_close(logits[mask.bool()], expected[mask.bool()], atol=5e-4, rtol=0)


def test_a_row_of_length_zero_keeps_its_state(lm: Mamba2LM, ids: Tensor) -> None:
    cache = lm.new_cache(2)
    with torch.no_grad():
        lm(ids, cache=cache)
        before = cache.fork()
        lm(ids, cache=cache, lengths=torch.tensor([0, 3]))
    assert torch.equal(cache.ssm[:, 0], before.ssm[:, 0]) and torch.equal(cache.conv[:, 0], before.conv[:, 0])
    assert not torch.equal(cache.ssm[:, 1], before.ssm[:, 1])


@pytest.mark.parametrize("lengths", [None, [21, 5], [3, 12]])
def test_prefill_in_segments(
    lm: Mamba2LM,
    ids: Tensor,
    lengths: list[int] | None,
    monkeypatch: pytest.MonkeyPatch,
    assert_rounded: Callable[..., None],
) -> None:
    monkeypatch.setattr("sonopsis.mamba2.model.PREFILL_SEGMENT", 7)
    ends = None if lengths is None else torch.tensor(lengths)
    whole, cache = lm.new_cache(2), lm.new_cache(2)
    with torch.no_grad():
        expected = lm(ids, cache=whole, lengths=ends, last_only=True)
    assert_rounded(lm.prefill(ids, cache=cache, lengths=ends), expected, lm)
    assert_rounded(cache.ssm, whole.ssm, lm)
    assert_rounded(cache.conv, whole.conv, lm)


def test_chunk_is_no_part_of_the_result(make_lm: MakeLM, ids: Tensor, assert_rounded: Callable[..., None]) -> None:
    with torch.no_grad():
        assert_rounded(make_lm(chunk=3)(ids), (lm := make_lm(chunk=64))(ids), lm)


def test_autocast_keeps_the_state_in_float32(lm: Mamba2LM, ids: Tensor) -> None:
    cache = lm.new_cache(2)
    expected = lm(ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits = lm(ids, cache=cache)
        F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten()).backward()
        step = lm.step(ids[:, 0], cache)
    assert logits.dtype == torch.bfloat16 and cache.ssm.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.1 * expected.std()
    assert torch.isfinite(step).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lm.parameters())


def test_projections_in_bfloat16(lm: Mamba2LM, ids: Tensor) -> None:
    expected = lm(ids)
    low = copy.deepcopy(lm).to(torch.bfloat16)
    cache = low.new_cache(2)
    with torch.no_grad():
        logits = low(ids, cache=cache)
        step = low.step(ids[:, 0], cache)
    assert logits.dtype == step.dtype == torch.bfloat16 and cache.ssm.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.3 * expected.std()


def test_learns(ids: Tensor) -> None:
    """From its own initialisation a model learns a pattern that needs memory: repeat what came 7 positions before."""
    torch.manual_seed(0)
    lm = Mamba2LM(Mamba2Config(width=32, depth=2, vocab_size=8, state=16, head_dim=16, chunk=16))
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        half = torch.randint(0, 8, (8, 7))
        batch = torch.cat([half, half], dim=1)
        loss = F.cross_entropy(lm(batch)[:, 6:-1].flatten(0, 1), batch[:, 7:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5 and losses[-1] < 0.5 * losses[0]


def test_initialisation_is_the_papers() -> None:
    torch.manual_seed(0)
    config = Mamba2Config(width=256, depth=4, vocab_size=50, head_dim=2, state=4)
    mixer = Mamba2LM(config).backbone.layers[0].mixer
    dt, rate = F.softplus(mixer.dt_bias), mixer.A_log.exp()
    assert 1e-3 <= dt.min() < 2e-3 and 0.05 < dt.max() <= 0.1
    assert 1 <= rate.min() < 2 and 15 < rate.max() <= 16
    bound = (1 / config.inner) ** 0.5 / config.depth**0.5
    assert 0.95 * bound < mixer.out_proj.weight.abs().max() <= bound


def test_tied_head_is_the_embedding(make_lm: MakeLM) -> None:
    tied, untied = make_lm(), make_lm(tie_embeddings=False)
    assert tied.lm_head.weight is tied.backbone.embedding.weight
    assert copy.deepcopy(tied).lm_head.weight is not tied.lm_head.weight
    assert "lm_head.weight" not in tied.state_dict() and "lm_head.weight" in untied.state_dict()
    wrapped = torch.nn.ModuleDict({"lm": make_lm(seed=3)})
    wrapped.load_state_dict({f"lm.{name}": tensor for name, tensor in tied.state_dict().items()})
    assert torch.equal(wrapped["lm"].lm_head.weight, tied.lm_head.weight)


def test_bad_calls_say_what_is_wrong(lm: Mamba2LM, ids: Tensor) -> None:
    with pytest.raises(ValueError, match="token ids or embeds"):
        lm()
    with pytest.raises(ValueError, match="token ids or embeds"):
        lm(ids, embeds=lm.embed(ids))
    with pytest.raises(ValueError, match="cache holds 3 sequences"):
        lm(ids, cache=lm.new_cache(3))
    with pytest.raises(ValueError, match="lengths"):
        lm(ids, lengths=torch.tensor([22, 1]))
    with pytest.raises(ValueError, match="at least one position"):
        lm(ids[:, :0])
    with pytest.raises(ValueError, match="at least 1"):
        lm(ids, lengths=torch.tensor([0, 1]), last_only=True)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"width": 30}, "multiple of head_dim"),
        ({"groups": 3}, "groups"),
        ({"depth": 0}, "depth"),
        ({"token_count": 99}, "token_count"),
        ({"layers": 2}, "unknown"),
    ],
)
def test_bad_sizes(make_lm: MakeLM, sizes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_lm(**sizes)


def test_config_round_trip() -> None:
    config = Mamba2Config(width=64, depth=2, vocab_size=10, head_dim=32, token_count=9)
    assert Mamba2Config.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="depth"):
        Mamba2Config.from_dict({"width": 64, "vocab_size": 10})
