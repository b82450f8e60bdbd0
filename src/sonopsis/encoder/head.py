"""The classifier on the pooled output."""

from torch import Tensor, nn


class Head(nn.Module):
    """LayerNorm and a linear layer: pooled output (B, D) -> logits (B, labels)."""

    def __init__(self, width: int, labels: int, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.linear = nn.Linear(width, labels)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled output (B, D) -> logits (B, labels)."""
        logits: Tensor = self.linear(self.norm(pooled))
        return logits
