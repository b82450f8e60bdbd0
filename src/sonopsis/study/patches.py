"""What patches are: intensity and variation, their clusters over a whole study, and what pruning leaves of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.vit import Encoder
from sonopsis.pruning.config import Pruning
from sonopsis.pruning.scores import Candidates, ScoreFunction, attention_column, cls_row, patch_values
from sonopsis.pruning.survivors import Survivors

CLUSTERS = 5
LOW = 2  # the lowest so many clusters are called low
SEED = 123
BINS = 20
STATISTICS = ("mean", "std")  # intensity and variation
Values = dict[str, NDArray[np.float32]]


def statistics(mel: NDArray[np.float32], config: EncoderConfig) -> Values:
    """Mean and unbiased standard deviation of the log-Mel (1, T, M) in each patch (N,), in grid order."""
    values = patch_values(torch.as_tensor(mel), config.patch, config.stride)[0]  # (N, patch area)
    return {"mean": values.mean(dim=1).numpy(), "std": values.std(dim=1).numpy()}


@dataclass(frozen=True)
class Clusters:
    """One-dimensional K-means clusters of patch statistics, and the range of the heat maps."""

    edges: dict[str, list[float]]  # statistic -> rising borders between neighbouring clusters
    centres: dict[str, list[float]]
    shares: dict[str, list[float]]  # of the patches
    mean_range: tuple[float, float]
    std_range: tuple[float, float]

    @classmethod
    def of(cls, sample: Values) -> "Clusters":
        """The clusters of the patches (S,) of a whole study (arXiv 2504.01690, its analysis)."""
        edges: dict[str, list[float]] = {}
        centres: dict[str, list[float]] = {}
        shares: dict[str, list[float]] = {}
        for name in STATISTICS:
            values = sample[name].astype(np.float64)
            count = min(CLUSTERS, len(np.unique(values)))
            fitted = KMeans(count, random_state=SEED, n_init=4).fit(values[:, None])
            found = np.sort(fitted.cluster_centers_[:, 0])
            edges[name] = [float(edge) for edge in (found[1:] + found[:-1]) / 2]
            centres[name] = [float(centre) for centre in found]
            members = np.bincount(np.searchsorted(edges[name], values), minlength=count)
            shares[name] = [float(share) for share in members / len(values)]
        low, high = float(sample["mean"].min()), float(sample["mean"].max())
        return cls(edges, centres, shares, (low, high), (0.0, float(sample["std"].max())))

    def numbers(self, statistic: str, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The cluster (N,) of each value, 0 the lowest."""
        return np.searchsorted(self.edges[statistic], values)

    def histogram(self, values: Values, cells: NDArray[np.int64]) -> list[int]:
        """How many of the patches at `cells` have which mean and variation: BINS x BINS counts, row by row."""
        mean, std = (
            np.clip(values[name][cells], *bounds)
            for name, bounds in (("mean", self.mean_range), ("std", self.std_range))
        )
        counts, _, _ = np.histogram2d(mean, std, BINS, [self.mean_range, self.std_range])
        return [int(count) for count in counts.ravel()]


@dataclass(frozen=True)
class Seen:
    """What one window showed: for each block the patches that entered it and their scores, and who survived."""

    cells: list[NDArray[np.int64]]  # per block (K,)
    scores: list[NDArray[np.float32]]  # per block (K,) by the encoder's own rule
    stages: list[NDArray[np.int64]]  # per pruning block (K,) cells of its survivors


@torch.inference_mode()
def observe(encoder: Encoder, mel: NDArray[np.float32], pruning: Pruning | None) -> Seen:
    """Run one window (1, T, M) and look at the attention in every block, also in those that do not prune."""
    cells: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.float32]] = []
    config = encoder.config

    def watch(number: int, x: Tensor, left: Survivors, bias: Tensor | None) -> None:
        weights = encoder.blocks[number].weights(x, bias)  # (1, H, P + K, P + K)
        rule = cls_row if config.score == "cls" else attention_column
        cells.append(left.index[0].cpu().numpy())
        scores.append(rule(weights, config.prefix_tokens)[0].cpu().numpy())

    encoded = encoder(torch.as_tensor(mel).to(next(encoder.parameters())), pruning, watch=watch)
    return Seen(cells, scores, [stage[0].cpu().numpy() for stage in encoded.stages])


def lowest_first(statistic: str, config: EncoderConfig) -> ScoreFunction:
    """A score by which patches of low intensity ("mean") or variation ("std") survive, the reverse of the score of
    that name. It reads the grid cell of every candidate, so prefix tokens shift nothing."""

    def score(candidates: Candidates) -> Tensor:
        values = patch_values(candidates.mel, config.patch, config.stride)  # (B, N, area)
        found = values.mean(dim=2) if statistic == "mean" else values.std(dim=2)
        return -found.gather(1, candidates.index)

    return score


def pooled(sums: Iterable[Any]) -> NDArray[np.int64]:
    """Nested lists of equal shape from all clips, added up."""
    total: NDArray[np.int64] | None = None
    for part in sums:
        values = np.asarray(part)
        total = values if total is None else total + values
    assert total is not None, "there is at least one clip"
    return total
