"""Parts of a batch: together they are the batch, and their weighted losses are its loss."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.captioning.connector import Heard
from sonopsis.training.batches import Batch
from sonopsis.training.parts import pieces


def batch(count: int) -> Batch:
    torch.manual_seed(count)
    heard = Heard(torch.randn(count, 4, 3), torch.randn(count, 3), torch.randn(count, 3))
    return Batch(torch.empty(0), torch.randn(count, 2), torch.arange(count)[:, None], features=heard)


@given(count=st.integers(1, 12), size=st.none() | st.integers(1, 13), processes=st.integers(1, 4))
def test_every_example_is_in_one_piece_and_the_weighted_mean_is_that_of_the_batch(
    count: int, size: int | None, processes: int
) -> None:
    whole = batch(count)
    if count < processes:
        with pytest.raises(ValueError, match=r"batch_size: .* cannot be shared"):
            list(pieces(whole, size, 0, processes))
        return
    seen, means = [], []
    for process in range(processes):
        mean = torch.zeros(())
        for piece, weight in pieces(whole, size, process, processes):
            assert piece.ids is not None and piece.features is not None
            rows = piece.ids[:, 0]
            assert size is None or len(rows) <= size
            assert torch.equal(piece.features.steps, whole.features.steps[rows])  # type: ignore[union-attr]
            assert piece.mel.numel() == 0
            seen += rows.tolist()
            mean = mean + weight * piece.labels.mean()
        means.append(mean)
    assert seen == list(range(count))
    assert float(torch.stack(means).mean()) == pytest.approx(float(whole.labels.mean()), abs=1e-5)
