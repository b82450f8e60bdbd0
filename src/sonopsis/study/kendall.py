"""Rank correlation of a score with clusters, pooled over clips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Pairs of tokens counted by how score and cluster order them; sums over clips are pooled."""

    concordant: int = 0
    discordant: int = 0
    tied_score: int = 0  # equal scores in different clusters
    tied_cluster: int = 0  # different scores in one cluster
    tied_both: int = 0

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(*(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> list[int]:
        """The five counts in the order of the fields."""
        return [self.concordant, self.discordant, self.tied_score, self.tied_cluster, self.tied_both]

    @property
    def total(self) -> int:
        """All pairs."""
        return sum(self.counts)

    @property
    def tied_share(self) -> float:
        """The share of pairs with a tie: what `paper` says of a score without any relation to the clusters."""
        return (self.tied_score + self.tied_cluster + self.tied_both) / self.total if self.total else float("nan")

    @property
    def tau_a(self) -> float:
        """Kendall's tau-a."""
        return (self.concordant - self.discordant) / self.total if self.total else float("nan")

    @property
    def tau_b(self) -> float:
        """Kendall's tau-b, which ties do not pull towards 0; NaN where all scores or all clusters are the same."""
        of_score = self.concordant + self.discordant + self.tied_cluster
        of_cluster = self.concordant + self.discordant + self.tied_score
        both = float(of_score) * float(of_cluster)
        return (self.concordant - self.discordant) / both**0.5 if both else float("nan")

    @property
    def paper(self) -> float:
        """The variant of arXiv 2504.01690, in which every tie counts as concordant."""
        return self.tau_a + self.tied_share


def count_pairs(score: NDArray[np.floating], cluster: NDArray[np.integer]) -> Pairs:
    """The pairs of one clip: score (N,) and cluster number (N,), in N log N steps for few clusters."""
    groups = [np.sort(score[cluster == number]) for number in np.unique(cluster)]  # by rising cluster
    concordant = discordant = tied_score = 0
    for low, lower in enumerate(groups):
        for higher in groups[low + 1 :]:
            below = int(np.searchsorted(lower, higher, side="left").sum())
            upto = int(np.searchsorted(lower, higher, side="right").sum())
            concordant += below
            tied_score += upto - below
            discordant += len(lower) * len(higher) - upto
    same = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    both = 0
    for group in groups:
        _, times = np.unique(group, return_counts=True)
        both += int((times * (times - 1) // 2).sum())
    return Pairs(concordant, discordant, tied_score, same - both, both)
