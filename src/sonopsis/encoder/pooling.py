"""One vector for a clip: the mean of its tokens, with weights that are learned."""

from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """A mean over tokens in which every token has a learned weight for each part of the width.

    A short event in a long window would be thinned out by a plain mean. The weights start out equal, so that training
    begins with the plain mean.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(width, heads)
        self.initialise()

    def initialise(self) -> None:
        """Give all tokens the same weight."""
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tensor, size: Tensor) -> Tensor:
        """Tokens (B, K, D), each standing for `size` (B, K) patches, 0 for padding -> (B, 1, D)."""
        scores = self.score(tokens) + size.to(tokens.dtype).log().unsqueeze(-1)  # (B, K, H)
        weights = scores.softmax(dim=1).transpose(1, 2).unsqueeze(2)  # (B, H, 1, K)
        parts = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, K, D/H)
        return (weights @ parts).transpose(1, 2).flatten(2)  # (B, 1, D)
