"""A language model's weights with the compiled functions that use them, called with NumPy arrays. No torch."""

import numpy as np
from numpy.typing import NDArray

from sonopsis.mamba2.kernels import matmul
from sonopsis.mamba2.kernels.matmul import ProductMemory
from sonopsis.mamba2.kernels.prompt import PromptMemory, add_and_norm, mix
from sonopsis.mamba2.kernels.step import StepMemory, step
from sonopsis.mamba2.kernels.threads import run_beside_torch, team
from sonopsis.mamba2.kernels.weights import Array, Floats, Matrix, State, Weights

# How much work a further thread must be given before it pays to wake it.
NUMBERS_A_THREAD = 30_000  # of the residual
STATE_CHANGES_A_THREAD = 4_000_000  # numbers of the state, times positions
WEIGHTS_A_THREAD = 3_000_000  # read by a step


class CompiledLM:
    """Decoding steps and the parts of a prompt of one language model, as machine code."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._layers = [weights.parameters.layer(index) for index in range(len(weights.parameters.norm))]

    def step(self, ids: NDArray[np.int64], state: State, threads: int = 1) -> Floats:
        """Append ids (B,) to sequences with the `State` of all layers, updated in place; logits (B, V).

        Raises ValueError for ids outside of the vocabulary, and unless there is one for each sequence.
        """
        batch, vocabulary = len(ids), self.weights.embedding.data.shape[0]
        if batch != state.ssm.shape[1]:
            raise ValueError(f"{batch} ids for {state.ssm.shape[1]} sequences; give one for each")
        if batch and not 0 <= ids.min() <= ids.max() < vocabulary:
            raise ValueError(f"ids must lie in 0..{vocabulary - 1}, got {ids.tolist()}")
        threads = max(1, min(threads, 1 + self.weights.read_by_a_step * min(batch, 4) // WEIGHTS_A_THREAD))
        memory = StepMemory.new(self.weights, batch, threads)
        team(threads).run(step, (np.ascontiguousarray(ids), self.weights, state, memory))
        return memory.logits

    def add_and_norm(self, index: int, residual: Floats, added: Array, out: Array, threads: int = 1) -> None:
        """residual (N, E) += added (N, E), and its norm before layer `index` into `out` (N, E).

        added and out are float32, or bfloat16 bits as uint16.
        """
        threads = max(1, min(threads, 1 + residual.size // NUMBERS_A_THREAD))
        run_beside_torch(add_and_norm, (residual, added, self._layers[index], out, _counters(2)), threads)

    def mix(
        self,
        index: int,
        projected: Array,
        state: State,
        lengths: NDArray[np.int64],
        memory: PromptMemory,
        threads: int = 1,
    ) -> None:
        """What layer `index` does between its projections: [z | x B C | dt] (B, L, projected) -> memory.out (B, L,
        inner), each float32 or bfloat16 bits as uint16.

        The layer's state is moved on in place by each row's first lengths (B,) positions; what lies behind them comes
        out as zero.
        """
        threads = max(1, min(threads, 1 + projected.shape[1] * state.ssm.size // STATE_CHANGES_A_THREAD))
        memory.counters[:] = 0
        run_beside_torch(mix, (projected, lengths, self._layers[index], state, memory), threads)


def multiply(matrix: Matrix, x: Floats, out: Floats, threads: int = 1, memory: ProductMemory | None = None) -> None:
    """out (N, R) = x (N, K) @ the matrix (R, K), transposed, in float32.

    `memory` for N vectors and at least K terms and `threads` threads saves making it anew.
    """
    if memory is None:
        memory = ProductMemory.new(threads, x.shape[1], len(x))
    threads = max(1, min(threads, 1 + matrix.data.size * max(1, len(x) // 8) // WEIGHTS_A_THREAD))
    run_beside_torch(matmul.multiply, (matrix, x, out, memory, _counters(3)), threads)


def _counters(count: int) -> NDArray[np.int64]:
    """Zeros, each in a cache line of its own."""
    return np.zeros((count, 8), np.int64)
