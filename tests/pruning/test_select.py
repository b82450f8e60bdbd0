"""TopK selection: properties for any scores, and for any pruning of an encoder."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.pruning import Pruning, kept_count
from sonopsis.pruning.select import take, topk, with_prefix


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_topk_is_the_first_of_the_best_in_order(scores: list[int], data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, len(scores)))
    expected = sorted(sorted(range(len(scores)), key=lambda n: (-scores[n], n))[:kept])  # of equals, the lower index
    rows = torch.tensor([scores, scores[::-1]], dtype=torch.float32)
    assert topk(rows, kept)[0].tolist() == expected
    assert topk(rows[:1], kept).tolist() == topk(rows, kept)[:1].tolist()


def test_ties_in_long_rows_go_to_the_lower_index() -> None:
    assert topk(torch.zeros(1, 2000), 700)[0].tolist() == list(range(700))


def test_take_gathers_rows_of_sequences_and_of_heads() -> None:
    x = torch.arange(2 * 3 * 5 * 4.0).reshape(2, 3, 5, 4)
    rows = with_prefix(torch.tensor([[0, 2], [1, 2]]), prefix=2)
    assert rows.tolist() == [[0, 1, 2, 4], [0, 1, 3, 4]]
    for clip in range(2):
        assert torch.equal(take(x, rows)[clip], x[clip][:, rows[clip]])
        assert torch.equal(take(x[:, 0], rows)[clip], x[clip, 0][rows[clip]])
        assert torch.equal(take(x[clip : clip + 1, 0], rows[clip : clip + 1]), x[clip : clip + 1, 0, rows[clip]])


@settings(max_examples=40, deadline=None)
@given(
    keep=st.dictionaries(st.integers(0, 3), st.floats(0.05, 1), max_size=4),
    score=st.sampled_from(["cls", "attention"]),
    norm=st.sampled_from(["pre", "post"]),
    prefix=st.integers(1, 3),
    steps=st.integers(1, 5),
    collect=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_pruning_keeps_the_bookkeeping_right(
    keep: dict[int, float], score: str, norm: str, prefix: int, steps: int, collect: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    config = EncoderConfig.from_dict(
        {"family": "sonopsis", "width": 16, "depth": 4, "heads": 2, "frames": 80, "norm": norm, "prefix_tokens": prefix}
        | {"patch": [16, 32], "stride": [16, 32]}
    )
    encoder = Encoder(config).eval()
    with torch.inference_mode():
        encoded = encoder(
            torch.randn(2, 16 * steps, 128),
            Pruning(keep, score=score),  # type: ignore[arg-type]
            collect_dropped=collect,
        )
    patches = 4 * steps
    survivors = [list(range(patches))] * 2
    assert len(encoded.stages) == len(keep)
    for block, stage in zip(sorted(keep), encoded.stages, strict=True):
        count = kept_count(len(survivors[0]), keep[block])
        for clip, cells in enumerate(stage.tolist()):
            assert cells == sorted(set(cells)) and len(cells) == count  # unique, ascending, as many as announced
            assert set(cells) <= set(survivors[clip])  # nothing comes back
        survivors = stage.tolist()
    assert encoded.index.tolist() == survivors
    kept = len(survivors[0])
    assert encoded.prefix.shape == (2, prefix, 16)  # never dropped
    assert encoded.tokens.shape == (2, kept, 16)
    assert encoded.mask.shape == encoded.size.shape == (2, kept)
    if collect:
        assert encoded.dropped is not None
        filled = encoded.dropped.abs().amax(dim=2) > 0
        for clip in range(2):
            assert filled[clip].nonzero().flatten().tolist() == sorted(set(range(patches)) - set(survivors[clip]))
