"""One transformer block, and the ways an encoder runs it: plain, pruning, and only what pooling will read."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.onednn import FastAttention, FastLinear, FastMlp, HasFastForm
from sonopsis.pruning.mix import Choice
from sonopsis.pruning.scores import attention_weights
from sonopsis.pruning.selector import Selector

KEYS = 16  # torch's attention in bfloat16 is fast for multiples of this


class Attention(HasFastForm):
    """Multi-head self-attention whose queries, keys and values can be computed for different rows."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.fast: FastAttention | None = None  # computes in place of the parameters
        self.width, self.heads = width, heads
        self.qkv = nn.Linear(width, 3 * width)  # rows: all q, all k, all v
        self.proj = nn.Linear(width, width)

    def forward(self, y: Tensor, bias: Tensor | None = None) -> Tensor:
        """Every token attends to every token: (B, T, D) -> (B, T, D); `bias` (B, 1, 1, T) is added to the logits."""
        return self.attend(*self.queries_keys_values(y), bias)

    def make_fast(self) -> None:
        """Lay the weights out for oneDNN."""
        weight, bias, width = self.qkv.weight, self.qkv.bias, self.width
        self.fast = FastAttention(
            queries=FastLinear(weight[:width], bias[:width]),
            keys_values=FastLinear(weight[width:], bias[width:]),
            proj=FastLinear(self.proj.weight, self.proj.bias),
        )

    def drop_fast_form(self) -> None:
        """Compute from the parameters again."""
        self.fast = None

    def queries_keys_values(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, D/H) of the given rows (B, T, D), in one product where there is one."""
        if self.fast is not None:
            return self.queries(y), *self.keys_values(y)
        q, k, v = self._split(self.qkv(y), 3)
        return q, k, v

    def queries(self, y: Tensor) -> Tensor:
        """Queries (B, H, T, D/H) of the given rows (B, T, D)."""
        if self.fast is not None:
            return self._split(self.fast.queries(y), 1)[0]
        return self._split(F.linear(y, self.qkv.weight[: self.width], self.qkv.bias[: self.width]), 1)[0]

    def keys_values(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, D/H) of the given rows (B, T, D)."""
        if self.fast is not None:
            k, v = self._split(self.fast.keys_values(y), 2)
        else:
            k, v = self._split(F.linear(y, self.qkv.weight[self.width :], self.qkv.bias[self.width :]), 2)
        return k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """The output rows of the given queries (B, T, D), without a stored attention matrix."""
        if q.dtype == torch.bfloat16 and q.device.type == "cpu" and not self.training:
            k, v, bias = filled_up(k, v, bias)
        return self._merge(F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype)))

    def mix(self, weights: Tensor, v: Tensor) -> Tensor:
        """The output rows (B, T, D) of attention weights (B, H, T, T_keys) already computed."""
        return self._merge(weights.to(v.dtype) @ v)

    def _split(self, rows: Tensor, parts: int) -> tuple[Tensor, ...]:
        batch, length, _ = rows.shape
        parted = rows.view(batch, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4)  # (parts, B, H, T, D/H)
        return parted.unbind(0)

    def _merge(self, heads: Tensor) -> Tensor:
        rows = heads.transpose(1, 2).flatten(2)
        out: Tensor = self.proj(rows) if self.fast is None else self.fast.proj(rows)
        return out


def filled_up(k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys, values (B, H, T, D/H) and `bias` (B, 1, 1, T) with further keys that nothing attends to, where that pays.

    Torch's bfloat16 kernel is up to four times slower for some numbers of keys below 512 (301, 361 or 501, but not 303
    or 360), never for multiples of KEYS. Short sequences take no harm.
    """
    length = k.shape[2]
    missing = -length % KEYS
    if not missing or not 160 < length < 512:
        return k, v, bias
    bias = k.new_zeros(1, 1, 1, length) if bias is None else bias
    return F.pad(k, (0, 0, 0, missing)), F.pad(v, (0, 0, 0, missing)), F.pad(bias, (0, missing), value=-torch.inf)


@dataclass
class Pruned:
    """What a pruning block leaves."""

    x: Tensor  # (B, P + K, D) after the MLP
    choice: Choice  # which of the block's patches survived, and what became of the others
    seen: Tensor | None  # (B, N, D) all its patches after attention, when the caller keeps dropped states


class Block(HasFastForm):
    """Attention and MLP with residuals; LayerNorm before each (pre-norm) or after each residual (post-norm)."""

    def __init__(self, config: EncoderConfig, drop_path: float) -> None:
        super().__init__()
        self.fast: FastMlp | None = None  # computes in place of fc1 and fc2
        hidden = round(config.width * config.mlp_ratio)
        self.pre_norm = config.norm == "pre"
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def make_fast(self) -> None:
        """Lay the weights of attention and MLP out for oneDNN, for inference alone."""
        self.attn.make_fast()
        self.fast = FastMlp(
            FastLinear(self.fc1.weight, self.fc1.bias, gelu=True), FastLinear(self.fc2.weight, self.fc2.bias)
        )

    def drop_fast_form(self) -> None:
        """Compute fc1 and fc2 from the parameters again."""
        self.fast = None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """All tokens: (B, P + N, D) -> (B, P + N, D); `bias` (B, 1, 1, P + N) is added to every row of attention."""
        return self._feed_forward(self._add_attention(x, self.attn(self._attention_input(x), bias)))

    def forward_prefix(self, x: Tensor, prefix: int, bias: Tensor | None = None) -> Tensor:
        """The first `prefix` tokens (B, P, D) of what `forward` returns, at the cost of their rows alone."""
        y = self._attention_input(x)
        k, v = self.attn.keys_values(y)
        out = self.attn.attend(self.attn.queries(y[:, :prefix]), k, v, bias)
        return self._feed_forward(self._add_attention(x[:, :prefix], out))

    def forward_mean(self, x: Tensor, prefix: int, bias: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """The mean (B, 1, D) over patches of what a pre-norm `forward` returns, with the last linear map after it.

        `weight` (B, N), summing to 1 in each clip, makes it a weighted mean.
        """
        x = self._add_attention(x, self.attn(self._attention_input(x), bias))[:, prefix:]
        hidden = self.hidden(self.norm2(x))  # (B, N, 4 D)
        if weight is None:
            x, hidden = x.mean(dim=1, keepdim=True), hidden.mean(dim=1, keepdim=True)
        else:
            x = (x * weight.unsqueeze(-1)).sum(dim=1, keepdim=True).to(x.dtype)
            hidden = (hidden * weight.unsqueeze(-1)).sum(dim=1, keepdim=True).to(hidden.dtype)
        return x + self._drop_path(self.out(hidden))

    def forward_pruned(
        self, x: Tensor, prefix: int, selector: Selector, *, keep_seen: bool, bias: Tensor | None = None
    ) -> Pruned:
        """Attention, the choice of the patches that survive, and the MLP for them (arXiv 2504.01690).

        Every token attends and is attended to; only the output rows of dropped patches are left out, unless
        `keep_seen` asks for them or they live on in other tokens.
        """
        y = self._attention_input(x)
        every = keep_seen or selector.mixes
        if selector.reads == "matrix":
            q, k, v = self.attn.queries_keys_values(y)
            weights = attention_weights(q, k, bias)  # (B, H, P + N, P + N)
            choice = selector.choose(weights, k, v, y, prefix)
            out = self.attn.mix(weights if every else choice.survivors(weights, prefix), v)
        else:  # one row of attention, or none, decides: it comes first and the rest follows for survivors only
            k, v = self.attn.keys_values(y)
            row = attention_weights(self.attn.queries(y[:, :1]), k, bias) if selector.reads == "row" else None
            choice = selector.choose(row, k, v, y, prefix)
            out = self.attn.attend(self.attn.queries(y if every else choice.survivors(y, prefix)), k, v, bias)
        if not every:
            x = self._add_attention(choice.survivors(x, prefix), out)  # (B, P + K, D)
            return Pruned(self._feed_forward(x), choice, None)
        x = self._add_attention(x, out)  # (B, P + N, D)
        return Pruned(self._feed_forward(choice.reduced(x, prefix)), choice, x[:, prefix:])

    def weights(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention weights (B, H, P + N, P + N) float32 of what enters the block (B, P + N, D), to look at them."""
        y = self._attention_input(x)
        return attention_weights(self.attn.queries(y), self.attn.keys_values(y)[0], bias)

    def hidden(self, y: Tensor) -> Tensor:
        """The inside of the MLP: (B, T, D) -> (B, T, 4 D)."""
        return F.gelu(self.fc1(y)) if self.fast is None else self.fast.hidden(y)

    def out(self, hidden: Tensor) -> Tensor:
        """The inside of the MLP (B, T, 4 D) -> (B, T, D)."""
        out: Tensor = self.fc2(hidden) if self.fast is None else self.fast.out(hidden)
        return out

    def _attention_input(self, x: Tensor) -> Tensor:
        return self.norm1(x) if self.pre_norm else x

    def _add_attention(self, x: Tensor, out: Tensor) -> Tensor:
        x = x + self._drop_path(out)
        return x if self.pre_norm else self.norm1(x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        out = self.out(self.hidden(self.norm2(x) if self.pre_norm else x))
        x = x + self._drop_path(out)
        return x if self.pre_norm else self.norm2(x)

    def _drop_path(self, branch: Tensor) -> Tensor:
        """Zero the whole branch of a clip with probability `drop_path` while training, scaled to keep its mean."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.drop_path
        return branch * (keep / (1 - self.drop_path)).to(branch.dtype)
