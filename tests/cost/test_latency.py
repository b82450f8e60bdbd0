"""A keep rate for a time budget: found on a clock that only runs of the test move."""

import numpy as np
import pytest

import sonopsis
from sonopsis.cost import latency
from sonopsis.cost.latency import RATES, for_latency


class Clock:
    """A machine on which a run takes 0.1 s and 0.9 s times the keep rate."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tried: set[float] = set()

    def perf_counter(self) -> float:
        return self.now

    def run(self, keep_rate: float) -> None:
        self.tried.add(keep_rate)
        self.now += 0.1 + 0.9 * keep_rate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


@pytest.mark.parametrize("rate", RATES)
def test_the_highest_rate_that_fits_is_found(clock: Clock, rate: float) -> None:
    assert for_latency(clock.run, 0.1 + 0.9 * rate + 0.001) == rate
    assert len(clock.tried) <= 7  # of twenty


def test_what_cannot_be_met_is_said_with_what_can(clock: Clock) -> None:
    with pytest.raises(ValueError, match=r"100 ms cannot be met.*145\.0 ms"):
        for_latency(clock.run, 0.1)
    with pytest.raises(ValueError, match="positive"):
        for_latency(clock.run, 0)


def test_a_real_model_is_asked_for_its_keep_rates(clock: Clock) -> None:
    """The model runs; what a run takes is made up, so that no real clock decides."""
    model = sonopsis.load(engine="onnx")
    mel = np.zeros((1, 256, model.folder.mel.mels), np.float32)

    def run(keep_rate: float) -> None:
        assert model.logits(mel, keep_rate=keep_rate).shape == (1, len(model.labels))
        clock.run(keep_rate)

    assert for_latency(run, 1.01) == 1.0
    assert for_latency(run, 0.56) == 0.5
    with pytest.raises(ValueError, match="cannot be met"):
        for_latency(run, 1e-6)
