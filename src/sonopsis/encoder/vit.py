"""The encoder: log-Mel -> patches -> transformer blocks, some of which drop patches."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sonopsis.encoder.block import Block
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.grids import BlockGrids, put
from sonopsis.encoder.pooling import AttentionPooling, LayerStatistics, mean_and_maximum
from sonopsis.encoder.positions import sincos_table, sinusoid_table
from sonopsis.encoder.stem import make_stem
from sonopsis.pruning.config import Pruning
from sonopsis.pruning.selector import Selector
from sonopsis.pruning.survivors import Survivors


@dataclass
class _Tokens:
    """What goes from block to block."""

    x: Tensor  # (B, P + K, D) prefix tokens, then the patches that are left
    left: Survivors  # what these patches are
    bias: Tensor | None = None  # (B, 1, 1, P + K) added to the logits of attention
    summed: Tensor | None = None  # (B, P + K, D) the sum over layers so far, of an encoder with weights for them
    blocks: list[Tensor] = field(default_factory=list)  # what the head reads of each block so far (B, 2 * D)
    stages: list[Tensor] = field(default_factory=list)  # per pruning block: grid cells of its survivors (B, K)
    dropped: Tensor | None = None  # (B, N + 1, D) last states of patches, if they are collected; last row: padding
    grids: BlockGrids | None = None  # states after earlier blocks, if they are collected
    watch: "Watch | None" = None


# Looks on before each block: its number, what enters it (B, P + K, D), what the patches are, the bias of attention.
Watch = Callable[[int, Tensor, Survivors, Tensor | None], None]


class Encoder(nn.Module):
    """A ViT over a log-Mel spectrogram with token pruning (arXiv 2504.01690, section 3)."""

    positions: Tensor  # learned: (1, P + N, D), a parameter that covers the prefix; otherwise (1, N, D), a constant

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, prefix = config.width, config.prefix_tokens
        time, frequency = config.grid(config.frames)
        self.stem = make_stem(config)
        self.prefix = nn.Parameter(torch.zeros(1, prefix, width))
        if config.position == "learned":
            self.positions = nn.Parameter(torch.zeros(1, prefix + time * frequency, width))
        else:
            self.compute_positions()
        self.norm_in = nn.LayerNorm(width, eps=config.norm_eps) if config.norm == "post" else nn.Identity()
        steps = max(config.depth - 1, 1)
        self.blocks: Sequence[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(config, config.drop_path * i / steps) for i in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.norm_eps) if config.final_norm else nn.Identity()
        self.pooling = AttentionPooling(width, config.heads) if config.pools_by_attention else None
        self.statistics = LayerStatistics(config.depth, width) if config.pooling == "layers" else None
        # Of what enters the first block and leaves each block, the last after the norm; softmax makes shares of them.
        self.layer_weights = nn.Parameter(torch.zeros(config.depth + 1)) if config.layer_weights else None
        self._initialise()

    def forward(
        self,
        mel: Tensor,
        pruning: Pruning | None = None,
        *,
        collect_dropped: bool = False,
        collect_blocks: Collection[int] = (),
        pooled_only: bool = False,
        watch: Watch | None = None,
    ) -> Encoded[Tensor]:
        """Normalised log-Mel (B, T, M) -> the surviving tokens of every clip.

        With `collect_dropped` the last state of each dropped patch comes along, and with `collect_blocks` the state of
        every patch after each of these blocks. With `pooled_only` only `pool` of the result is meaningful: the last
        block computes the prefix tokens alone and `tokens` is empty, or, with mean pooling, the mean alone, as one
        token (grid cell -1). `watch` is called before each block, or, with `pooled_only`, each but the last.
        Raises ValueError when the input or the pruning blocks do not fit this encoder.
        """
        if (collect_dropped or collect_blocks) and pooled_only:
            raise ValueError("pooled_only computes no tokens to collect; give collect_dropped or pooled_only, not both")
        pruning = self._checked(pruning)
        x, grid = self.embed(mel)  # (B, P + N, D)
        state = _Tokens(x, Survivors.all(grid, x.shape[0], x.device), watch=watch)
        if collect_dropped:
            state.dropped = x.new_zeros(x.shape[0], state.left.patches + 1, self.config.width)
        if collect_blocks:
            state.grids = BlockGrids.of(collect_blocks, x, state.left.patches)
        if self.layer_weights is not None:
            state.summed = self.layer_weights.softmax(dim=0)[0] * x
        for number in range(self.config.depth - 1):
            self._run_block(number, state, pruning, mel)
        if pooled_only:
            return self._run_last_for_pooling(state, pruning, mel)
        self._run_block(self.config.depth - 1, state, pruning, mel)
        return self._every_token(state)

    def _run_block(self, number: int, state: "_Tokens", pruning: Pruning, mel: Tensor) -> None:
        """One block for all tokens; fewer are left where it prunes."""
        block, left, prefix = self.blocks[number], state.left, self.config.prefix_tokens
        if state.watch is not None:
            state.watch(number, state.x, left, state.bias)
        if not pruning.prunes(number, left.patches, left.grid):
            state.x = block(state.x, state.bias)
        else:
            selector = self._selector(pruning, left, number, pruning.count(number, left.patches, left.grid), mel)
            keep_seen = state.dropped is not None or state.grids is not None
            pruned = block.forward_pruned(state.x, prefix, selector, keep_seen=keep_seen, bias=state.bias)
            if pruned.seen is not None and pruning.reduce != "merge":  # merging drops nothing
                if state.dropped is not None:  # the cells of survivors are cleared at the end
                    state.dropped = put(state.dropped, left.index, self._last_state(number, pruned.seen, state.summed))
                if state.grids is not None:
                    state.grids.hold(left, pruned.seen)
            state.x, state.left = pruned.x, left.after(pruned.choice)
            state.bias = state.left.bias(prefix, proportional=pruning.reduce == "merge")
            if state.summed is not None:
                state.summed = pruned.choice.reduced(state.summed, prefix)
        if state.summed is not None and self.layer_weights is not None:
            leaving = self.norm(state.x) if number == self.config.depth - 1 else state.x
            state.summed = state.summed + self.layer_weights.softmax(dim=0)[number + 1] * leaving
        if self.statistics is not None:
            state.blocks.append(mean_and_maximum(state.x[:, prefix:], _patches_in(state.left)))
        if state.grids is not None:
            state.grids.after(number, state.left, state.x[:, prefix:])
        if number in pruning.keep:
            state.stages.append(state.left.cells)

    def _run_last_for_pooling(self, state: "_Tokens", pruning: Pruning, mel: Tensor) -> Encoded[Tensor]:
        """The last block, of which only what `pool` reads is computed."""
        number, left, prefix = self.config.depth - 1, state.left, self.config.prefix_tokens
        block = self.blocks[number]
        if self.config.reads_prefix:
            x = self.norm(block.forward_prefix(state.x, prefix, state.bias))  # (B, P, D)
            none = Survivors(left.grid, left.index[:, :0])
            return self._encoded(state, none, tokens=x[:, prefix:], prefix=x)
        if self.config.mean_alone and not pruning.prunes(number, left.patches, left.grid):
            x = self.norm(block.forward_mean(state.x, prefix, state.bias, left.shares()))  # (B, 1, D)
            return self._encoded(state, left.as_one(), tokens=x, prefix=x[:, :0])
        self._run_block(number, state, pruning, mel)
        return self._every_token(state)

    def _every_token(self, state: "_Tokens") -> Encoded[Tensor]:
        """The tokens after the last block, and the last states of those that were dropped, if they were collected."""
        prefix, left = self.config.prefix_tokens, state.left
        x = self.norm(state.x) if state.summed is None else state.summed  # (B, P + K, D)
        tokens = x[:, prefix:]  # (B, K, D)
        if left.mask is not None:
            tokens = tokens * left.mask.unsqueeze(-1)
        encoded = self._encoded(state, left, tokens=tokens, prefix=x[:, :prefix])
        if self.pooling is not None:
            encoded.prefix = torch.cat([self.pooling(tokens, encoded.size * encoded.mask), encoded.prefix], dim=1)
        if self.statistics is not None:
            encoded.layers = self.statistics(state.blocks)
        if state.grids is not None:
            encoded.blocks = state.grids.found
        if state.dropped is not None:
            survivors = torch.zeros_like(tokens[:, : left.patches])
            encoded.dropped = put(state.dropped, left.cells, survivors)[:, :-1]
            encoded.source = left.sources()
        return encoded

    def _last_state(self, number: int, seen: Tensor, summed: Tensor | None) -> Tensor:
        """The last state (B, N, D) of patches that a block drops; in a sum over layers they stay as they were seen."""
        if summed is None or self.layer_weights is None:
            return self.norm(seen)
        shares = self.layer_weights.softmax(dim=0)  # (depth + 1,)
        later = shares[number + 1 : -1].sum() * seen + shares[-1] * self.norm(seen)
        return summed[:, self.config.prefix_tokens :] + later

    def _encoded(self, state: "_Tokens", left: Survivors, *, tokens: Tensor, prefix: Tensor) -> Encoded[Tensor]:
        return Encoded(
            tokens=tokens,
            index=left.index,
            mask=torch.ones_like(left.index, dtype=torch.bool) if left.mask is None else left.mask,
            size=left.sizes(),
            prefix=prefix,
            grid=left.grid,
            stages=state.stages,
            source=left.source,
            fused=left.fused,
            padded=left.mask is not None,
        )

    def compute_positions(self) -> None:
        """Make the fixed position table, also of an encoder that was built on the meta device."""
        grid, width = self.config.grid(self.config.frames), self.config.width
        one = sinusoid_table(grid[0], width) if self.config.position == "sinusoid" else sincos_table(grid, width)
        table = torch.from_numpy(one)  # (N, D)
        self.register_buffer("positions", table[None], persistent=False)

    def embed(self, mel: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Normalised log-Mel (B, T, M) -> what the first block reads (B, P + N, D), and the grid (time, frequency)."""
        if mel.ndim != 3 or mel.shape[2] != self.config.mels:
            raise ValueError(f"log-Mel must have shape (batch, frames, {self.config.mels}), not {tuple(mel.shape)}")
        grid = self.config.grid(mel.shape[1])
        patches = self.stem(mel)  # (B, N, D)
        prefix = self.prefix.expand(mel.shape[0], -1, -1)  # (B, P, D)
        if self.config.position == "learned":
            if grid != self.config.grid(self.config.frames):
                raise ValueError(
                    f"this encoder's learned positions fit {self.config.frames} Mel frames, not {mel.shape[1]}; "
                    "pad or cut the log-Mel to that"
                )
            x = torch.cat([prefix, patches], dim=1) + self.positions
        else:
            x = torch.cat([prefix, patches + self.positions[:, : patches.shape[1]]], dim=1)
        return self.norm_in(x), grid

    def pool(self, encoded: Encoded[Tensor]) -> Tensor:
        """The vector a head reads (B, pooled_width): CLS, the mean of CLS and distillation, or a mean over patches;
        with pooling "layers" what each block makes of the patches follows it."""
        if encoded.layers is not None:
            return torch.cat([encoded.prefix[:, 0], encoded.layers], dim=1)
        if self.config.pooling in ("cls", "attention"):
            return encoded.prefix[:, 0]
        if self.config.pooling == "cls_dist":
            return encoded.prefix[:, :2].mean(dim=1)
        weight = (encoded.size * encoded.mask).unsqueeze(-1)  # (B, K, 1)
        return (encoded.tokens * weight).sum(dim=1) / weight.sum(dim=1)

    def _checked(self, pruning: Pruning | None) -> Pruning:
        pruning = Pruning({}) if pruning is None else pruning
        beyond = sorted(block for block in pruning.keep if block >= self.config.depth)
        if beyond:
            raise ValueError(f"pruning blocks {beyond} do not exist: this encoder has blocks 0-{self.config.depth - 1}")
        if pruning.score in ("cls", "value") and self.config.prefix_tokens == 0:
            raise ValueError(f"pruning score {pruning.score!r} reads a CLS token, and this encoder has none")
        return pruning

    def _selector(self, pruning: Pruning, left: Survivors, block: int, kept: int, mel: Tensor) -> Selector:
        score = self.config.score if pruning.score is None else pruning.score
        return Selector(pruning, score, left, block, kept, mel, self.config.patch, self.config.stride)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.stem.initialise()
        if self.pooling is not None:
            self.pooling.initialise()
        nn.init.trunc_normal_(self.prefix, std=0.02)
        if self.config.position == "learned":
            nn.init.trunc_normal_(self.positions, std=0.02)


def _patches_in(left: Survivors) -> Tensor | None:
    """How many patches each token stands for (B, K), 0 for padding; None: each for itself."""
    if left.mask is None:
        return left.size
    return left.sizes() * left.mask
