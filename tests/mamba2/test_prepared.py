"""Language models prepared for generation: compiled steps beside torch's, at every precision."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sonopsis.mamba2 import Cache, Mamba2LM
from sonopsis.mamba2.kernels.weights import PRECISIONS, Matrix, Precision, State


def rounded(lm: Mamba2LM, precision: Precision) -> Mamba2LM:
    """A float32 model with the weights that `precision` keeps of another's."""
    state = {
        name: torch.from_numpy(Matrix.store(tensor.numpy(), precision).to_float32()) if tensor.ndim == 2 else tensor
        for name, tensor in lm.state_dict().items()
        if tensor.ndim
    }
    other = Mamba2LM(lm.config)
    other.load_state_dict(state)
    return other.eval()


@pytest.fixture
def check_steps(assert_rounded: Callable[[Tensor, Tensor, Mamba2LM], None]) -> Callable[..., None]:
    """Compares compiled steps from the middle of a text with torch's on the same weights in float64."""
    pytest.importorskip("numba")

    def check(lm: Mamba2LM, precision: Precision, batch: int, steps: int) -> None:
        prepared, oracle = lm.prepare(precision, "numba"), rounded(lm, precision).double()
        assert prepared.kernels == "numba"
        ids = torch.randint(0, lm.config.vocab_size, (batch, 5 + steps), generator=torch.Generator().manual_seed(2))
        ours = lm.new_cache(batch)
        lm.prefill(ids[:, :5], cache=ours)
        cache = Cache(ours.conv.double(), ours.ssm.double())
        for i in range(5, 5 + steps):
            assert_rounded(prepared.step(ids[:, i], ours), oracle.step(ids[:, i], cache), lm)
        assert_rounded(ours.ssm, cache.ssm, lm)
        assert_rounded(ours.conv, cache.conv, lm)

    return check


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_steps_in_float32(lm: Mamba2LM, check_steps: Callable[..., None], batch: int) -> None:
    check_steps(lm, "float32", batch, 40)


@pytest.mark.slow  # compiles once per precision and machine
@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("precision", [precision for precision in PRECISIONS if precision != "float32"])
def test_steps_in_less(lm: Mamba2LM, check_steps: Callable[..., None], precision: Precision, batch: int) -> None:
    check_steps(lm, precision, batch, 12)


@pytest.mark.parametrize(
    "sizes",
    [
        {"groups": 2},
        {"width": 40, "head_dim": 20, "state": 12, "conv": 3, "vocab_size": 77, "tie_embeddings": False},
        {"width": 9, "expand": 3, "head_dim": 9, "state": 5, "conv": 1, "vocab_size": 11, "depth": 2},
        {"width": 48, "head_dim": 32, "state": 40, "conv": 2, "expand": 4, "groups": 3},
    ],
)
def test_odd_sizes(
    make_lm: Callable[..., Mamba2LM], check_steps: Callable[..., None], sizes: dict[str, object]
) -> None:
    for batch in (1, 9):
        check_steps(make_lm(**sizes), "float32", batch, 4)


def test_sums_longer_than_a_cache_holds(make_lm: Callable[..., Mamba2LM], check_steps: Callable[..., None]) -> None:
    """Widths beyond `registers.TERMS`, and vectors that fill a register and begin another."""
    check_steps(make_lm(width=168, head_dim=24, vocab_size=131), "float32", 17, 3)


def test_threads_share_one_step(
    lm: Mamba2LM, ids: Tensor, assert_rounded: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three threads, more than some matrices have rows to deal out, say what one says; so do two callers at once."""
    pytest.importorskip("numba")
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr("sonopsis.mamba2.kernels.language_model.WEIGHTS_A_THREAD", 1)
    step = lm.prepare(kernels="numba").compiled
    assert step is not None

    def run(threads: int) -> np.ndarray:
        cache = lm.new_cache(2)
        for i in range(6):
            logits = step.step(ids[:, i].numpy(), State(cache.conv.numpy(), cache.ssm.numpy()), threads)
        return logits

    alone = run(1)
    with ThreadPoolExecutor(2) as pool:
        for logits in pool.map(run, [3, 3, 2, 3]):
            assert_rounded(torch.from_numpy(logits), torch.from_numpy(alone), lm)


def test_generates_what_torch_generates(lm: Mamba2LM, ids: Tensor) -> None:
    """Beams reorder and widen the batch; a stored prefix is continued several times and left as it was."""
    pytest.importorskip("numba")
    prepared = lm.prepare(kernels="numba")
    cache = lm.new_cache(2)
    lm.prefill(ids, cache=cache)
    kept = cache.ssm.clone()
    for beams in (1, 3):
        ours = prepared.generate(ids[:, :2], cache=cache, max_new_tokens=8, beams=beams)
        theirs = lm.generate(ids[:, :2], cache=cache, max_new_tokens=8, beams=beams)
        assert [[h.ids for h in row] for row in ours] == [[h.ids for h in row] for row in theirs]
    assert torch.equal(cache.ssm, kept)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_torch_decodes_in_every_precision(lm: Mamba2LM, ids: Tensor, precision: Precision) -> None:
    """Without kernels the results stay near those of the same weights in float32: activations alone are rounded."""
    prepared, oracle = lm.prepare(precision, "torch"), rounded(lm, precision)
    assert prepared.kernels == "torch"
    cache, other = prepared.new_cache(2), oracle.new_cache(2)
    prepared.prefill(ids, cache=cache)
    oracle.prefill(ids, cache=other)
    found, wanted = prepared.step(ids[:, 0], cache).float(), oracle.step(ids[:, 0], other)
    exact = precision in ("float32", "float16")
    assert (found - wanted).abs().max() < (1e-4 if exact else 0.05 * wanted.abs().max())


def test_the_copy_is_the_models_own(lm: Mamba2LM, ids: Tensor) -> None:
    prepared = lm.prepare(kernels="torch")
    before = prepared(ids)
    torch.testing.assert_close(before, lm(ids))
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.ndim == 1:
                parameter.add_(1.0)
    assert torch.equal(prepared(ids), before)
    assert not any(parameter.requires_grad for parameter in prepared.parameters())


def test_weights_keep_their_nearest_values() -> None:
    weight = np.random.default_rng(0).standard_normal((7, 33), np.float32)
    weight[3] = 0
    bounds = {"float32": 0.0, "bfloat16": 2**-8, "float16": 2**-11}
    for precision, bound in bounds.items():
        found = Matrix.store(weight, precision).to_float32()  # type: ignore[arg-type]
        assert np.all(np.abs(found - weight) <= bound * np.abs(weight))
    torch.testing.assert_close(
        torch.from_numpy(Matrix.store(weight, "bfloat16").to_float32()), torch.from_numpy(weight).bfloat16().float()
    )
    steps = np.abs(weight).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(Matrix.store(weight, "int8").to_float32() - weight) <= steps / 2 + 1e-6)


def test_what_cannot_be_is_refused(lm: Mamba2LM) -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        lm.prepare("int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="numba"):
        lm.prepare(kernels="cuda")  # type: ignore[arg-type]
    pytest.importorskip("numba")
    prepared = lm.prepare(kernels="numba")
    with pytest.raises(ValueError, match="ids must lie"):
        prepared.step(torch.tensor([61]), prepared.new_cache(1))
    with pytest.raises(ValueError, match="one for each"):
        prepared.step(torch.tensor([1, 2]), prepared.new_cache(1))
    with pytest.raises(ValueError, match="another model's"):
        prepared.decoder(Cache(torch.zeros(3, 1, 3, 5), torch.zeros(3, 1, 4, 16, 16)))


def test_without_numba() -> None:
    """An installation without the extra generates the same with torch, and says once what it lacks."""
    program = """
import sys
sys.modules["numba"] = None
import importlib.util
import torch
from sonopsis.mamba2 import Mamba2Config, Mamba2LM
lm = Mamba2LM(Mamba2Config(width=16, depth=1, vocab_size=9, state=8, head_dim=8)).eval()
ids = torch.tensor([[1, 2, 3]])
for _ in range(2):
    prepared = lm.prepare()
assert prepared.kernels == "torch"
assert prepared.generate(ids, max_new_tokens=4) == lm.generate(ids, max_new_tokens=4)
try:
    lm.prepare(kernels="numba")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "sonopsis[fast]" in done.stdout
    assert done.stderr.count("numba is not installed") == 1
