"""Kinds of connectors that change what a prefix is made of: each against its definition, pruned and unpruned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import FILLS, LAYOUTS, ConnectorConfig
from sonopsis.captioning.connector import Connector, fill_grid
from sonopsis.captioning.resampler import Resampler
from sonopsis.captioning.scan import BidirectionalScan
from sonopsis.encoder import Encoded, Encoder, EncoderConfig
from sonopsis.folder import ModelConfig, describe
from sonopsis.graphs.connector import check_connector
from sonopsis.mamba2 import Mamba2Config
from sonopsis.mamba2.block import Mixer
from sonopsis.mel import MelConfig
from sonopsis.modules import build, save
from sonopsis.pruning import uniform
from sonopsis.pruning.config import ReducerName

ENCODER = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=64, patch=(16, 32), stride=(16, 32))
BASE = ConnectorConfig(16, 8, 4, summary=False)  # of 4 time steps and 4 frequency rows
KINDS: list[dict[str, Any]] = [
    {"pool_frequency": 3}, {"pool": 2, "pool_frequency": 4}, {"fill": "zeros"}, {"fill": "mean"}, {"scan": 2},
    {"queries": 5}, {"expand": 3}, {"scan": 1, "queries": 3, "layout": "time_major", "fill": "mean"},
    {"expand": 2, "layout": "frequency_major"}, {"scan": 1, "blocks": (1,), "pool_frequency": 2},
]  # fmt: skip


def encode(rate: float | None, reduce: ReducerName = "topk") -> Encoded[Tensor]:
    torch.manual_seed(0)
    encoder = Encoder(ENCODER).eval()
    mel = torch.randn(2, 64, 128)
    with torch.no_grad():
        for block in encoder.blocks:
            block.attn.qkv.weight *= 8  # type: ignore[union-attr,operator]  # attention that is not flat
    return encoder(mel, uniform(4, rate, reduce=reduce), collect_dropped=True)


def connector(**kind: Any) -> Connector:
    torch.manual_seed(1)
    return Connector(replace(BASE, **kind)).eval()


@pytest.mark.parametrize("rate", [None, 0.5])
def test_pooling_over_time_and_frequency_against_loops(rate: float | None) -> None:
    encoded = encode(rate)
    grid = fill_grid(encoded).reshape(2, 4, 4, 16)
    steps = connector(pool=3, pool_frequency=3).steps(encoded)
    assert steps.shape == (2, 2, 2 * 16)  # three time steps, one; three rows, one
    for t, times in enumerate((slice(0, 3), slice(3, 4))):
        for f, rows in enumerate((slice(0, 3), slice(3, 4))):
            mean = grid[:, times, rows].mean(dim=(1, 2))
            torch.testing.assert_close(steps[:, t, 16 * f : 16 * (f + 1)], mean)


@pytest.mark.parametrize("reduce", ["topk", "merge", "fuse", "mass"])
def test_what_stands_in_the_cells_of_dropped_patches(reduce: ReducerName) -> None:
    encoded = encode(0.6, reduce)
    assert encoded.source is not None
    last, zeros, mean = (fill_grid(encoded, fill) for fill in ("last", "zeros", "mean"))  # type: ignore[arg-type]
    kept = encoded.tokens.shape[1] - encoded.fused
    empty = 0
    for row in range(2):
        living = [k for k in range(kept) if encoded.mask[row, k]]
        average = encoded.tokens[row, living].mean(dim=0)
        for n in range(16):
            source = int(encoded.source[row, n])
            if 0 <= source < kept:
                expected = [encoded.tokens[row, source]] * 3
            else:
                empty += 1
                expected = [encoded.dropped[row, n], torch.zeros(16), average]  # type: ignore[index]
            for grid, cell in zip((last, zeros, mean), expected, strict=True):
                torch.testing.assert_close(grid[row, n], cell)
    assert (empty > 0) == (reduce != "merge")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fill", [fill for fill in FILLS if fill != "omit"])
def test_without_pruning_every_fill_is_the_same(layout: Any, fill: Any) -> None:
    assert torch.equal(connector(layout=layout, fill=fill)(encode(1.0)), connector(layout=layout)(encode(None)))


def test_filled_long_layouts_are_those_of_an_encoder_that_kept_all() -> None:
    for layout in ("time_major", "frequency_major"):
        encoded = encode(0.5)
        module = connector(layout=layout, fill="mean")
        grid = fill_grid(encoded, "mean")
        whole = replace(encode(None), tokens=grid)
        assert module(encoded).shape == (2, 16 + 3, 8)
        torch.testing.assert_close(module(encoded), connector(layout=layout)(whole))


def test_filled_long_layouts_read_clips_that_kept_different_numbers() -> None:
    encoded = encode(0.5)
    assert encoded.source is not None
    cell = int(encoded.index[1, -1])
    encoded.mask[1, -1], encoded.index[1, -1], encoded.source[1, cell], encoded.padded = False, -1, -1, True
    for fill in ("zeros", "mean"):
        grid = fill_grid(encoded, fill)  # type: ignore[arg-type]
        expected = torch.zeros(16) if fill == "zeros" else encoded.tokens[1, :-1].mean(dim=0)
        torch.testing.assert_close(grid[1, cell], expected)
        assert connector(layout="time_major", fill=fill)(encoded).shape == (2, 19, 8)
    with pytest.raises(ValueError, match="fill the cells"):
        connector(layout="time_major")(encoded)


def reference_scan(scan: BidirectionalScan, tokens: Tensor) -> Tensor:
    """The recurrence of each mixer, written as a loop over positions, once from either end."""
    for layer in scan.layers:
        normed = layer.norm(tokens)  # type: ignore[operator]
        for mixer, places in ((layer.forwards, range(len(tokens[0]))), (layer.backwards, range(len(tokens[0]))[::-1])):
            assert isinstance(mixer, Mixer)
            sizes, weights = mixer.config, mixer.step_weights()
            conv = torch.zeros(len(tokens), sizes.conv - 1, sizes.conv_channels)
            state = (conv, torch.zeros(len(tokens), sizes.heads, sizes.head_dim, sizes.state))
            heard = {place: mixer.step(normed[:, place], state, weights) for place in places}
            tokens = tokens + torch.stack([heard[place] for place in sorted(heard)], dim=1)
    return tokens


@pytest.mark.parametrize("rate", [None, 0.5])
def test_the_scan_against_the_recurrence_from_both_ends(rate: float | None) -> None:
    module, encoded = connector(scan=2, layout="time_major"), encode(rate)
    with torch.no_grad():
        expected = reference_scan(module.scan, encoded.tokens)  # type: ignore[arg-type]
        found = module.scan(encoded.tokens)  # type: ignore[misc]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert (found - encoded.tokens).abs().max() > 0.01
        without = connector(layout="time_major")
        without.load_state_dict(module.state_dict(), strict=False)
        torch.testing.assert_close(module(encoded), without(replace(encoded, tokens=expected)), rtol=1e-4, atol=1e-5)


def test_the_scan_of_concat_reads_the_filled_grid_in_time() -> None:
    module, encoded = connector(scan=1, pool=2, pool_frequency=2), encode(0.5)
    grid = fill_grid(encoded).reshape(2, 2, 2, 2, 2, 16).mean(dim=(2, 4)).reshape(2, 4, 16)  # 2 times, 2 rows
    with torch.no_grad():
        expected = module.mlp(module.norm(reference_scan(module.scan, grid).reshape(2, 2, 32)))  # type: ignore[arg-type]
        torch.testing.assert_close(module(encoded), expected, rtol=1e-4, atol=1e-5)


def test_each_token_knows_of_those_before_and_behind_it() -> None:
    torch.manual_seed(0)
    scan, tokens = BidirectionalScan(16, 1), torch.randn(1, 6, 16)
    changed = tokens.clone()
    changed[0, 3] += 1
    moved = (scan(changed) - scan(tokens)).abs().amax(dim=2)[0]
    assert bool((moved > 0).all())


@pytest.mark.parametrize("rate", [None, 0.5])
def test_the_resampler_against_attention_of_torch(rate: float | None) -> None:
    module, encoded = connector(queries=5), encode(rate)
    plain = connector()
    plain.load_state_dict(module.state_dict(), strict=False)
    resampler = module.resampler
    assert isinstance(resampler, Resampler)
    with torch.no_grad():
        vectors = plain(encoded)
        queries = resampler.queries.expand(2, -1, -1)
        for layer in resampler.layers:
            attention = torch.nn.MultiheadAttention(8, layer.heads, bias=False, batch_first=True)  # type: ignore[arg-type]
            weights = torch.cat([layer.query.weight, layer.key_value.weight])  # type: ignore[union-attr,list-item]
            attention.in_proj_weight.copy_(weights)
            attention.out_proj.weight.copy_(layer.out.weight)  # type: ignore[union-attr,arg-type]
            asked = layer.norm_queries(queries)  # type: ignore[operator]
            read = torch.cat([layer.norm_vectors(vectors), asked], dim=1)  # type: ignore[operator]
            queries = queries + attention(asked, read, read)[0]
            queries = queries + layer.mlp(queries)  # type: ignore[operator]
        torch.testing.assert_close(module(encoded), resampler.norm(queries), rtol=1e-4, atol=1e-5)


def test_heads_of_a_resampler_are_64_wide_where_they_can_be() -> None:
    assert [Resampler(width, 1).layers[0].heads for width in (768, 192, 96, 24)] == [12, 3, 3, 3]


@pytest.mark.parametrize("rate", [None, 0.5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_expansion_puts_the_vectors_of_each_token_where_the_token_was(layout: Any, rate: float | None) -> None:
    """Against one connector for each of the k vectors: their prefixes, interleaved, without the separators."""
    module, encoded = connector(layout=layout, expand=3), encode(rate)
    assert module.expand is not None
    if module.separator is not None:
        torch.nn.init.constant_(module.separator, 7.0)
    wanted = []
    with torch.no_grad():
        for part in range(3):
            one = connector(layout=layout)
            one.load_state_dict(module.state_dict(), strict=False)
            rows = slice(8 * part, 8 * (part + 1))
            weight, bias = module.expand.weight[rows], module.expand.bias[rows]
            last: Any = one.mlp[2]
            last.bias.copy_(weight @ last.bias + bias)
            last.weight.copy_(weight @ last.weight)
            wanted.append(one(encoded))
        found = module(encoded)
        for row in range(2):
            expected = []
            for vectors in zip(*(prefix[row] for prefix in wanted), strict=True):
                expected += vectors[:1] if bool((vectors[0] == 7.0).all()) else vectors
            torch.testing.assert_close(found[row], torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_prefix_of_2048_vectors() -> None:
    eat = EncoderConfig(family="eat", width=16, depth=1, heads=2, frames=1024)
    encoded = Encoder(eat).eval()(torch.randn(1, 1024, 128))
    assert connector(frequency_rows=8, expand=32)(encoded).shape == (1, 64 * 32, 8)
    assert connector(frequency_rows=8, layout="time_major", expand=4)(encoded).shape == (1, 2048 + 63, 8)
    assert connector(frequency_rows=8, queries=2048)(encoded).shape == (1, 2048, 8)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_every_kind_is_trained_saved_and_loaded(kind: dict[str, Any], rate: float, tmp_path: Path) -> None:
    torch.manual_seed(2)
    lm = Mamba2Config(width=8, depth=1, vocab_size=20, state=8, head_dim=8)
    config = replace(BASE, **kind)
    model = Captioner(ENCODER, 2, config, lm)
    mel, ids = torch.randn(2, 64, 128), torch.tensor([[4, 9], [7, 3]])
    model(mel, ids, uniform(4, rate))[0].sum().backward()
    untouched = [name for name, p in model.connector.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert [name for name in untouched if name != "separator"] == []
    with torch.no_grad():
        for parameter in model.parameters():  # what float16 holds
            parameter.copy_(parameter.half())
    save(model.eval(), tmp_path, ModelConfig(["Dog", "Cat"], ENCODER, config, lm), MelConfig(64))
    (tmp_path / "tokenizer.json").write_text("{}")
    again = build(describe(tmp_path))
    assert isinstance(again, Captioner) and again.connector.config == config
    with torch.inference_mode():
        for found, wanted in zip(
            again(mel, ids, uniform(4, rate))[:2], model(mel, ids, uniform(4, rate))[:2], strict=True
        ):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ({"pool_frequency": 5}, "does not fit 4 frequency rows"),
        ({"pool_frequency": 2, "layout": "time_major"}, "in concat alone"),
        ({"fill": "ones"}, "choose one of omit, zeros, mean, last"),
        ({"fill": "omit"}, "reads every cell"),
        ({"scan": -1}, "scan must be at least 0"),
        ({"queries": -1}, "queries must be at least 0"),
        ({"expand": 0}, "expand must be at least 1"),
        ({"queries": 4, "expand": 2}, "leave out expand"),
        ({"queries": 4, "labels": 5}, "set labels to 0"),
        ({"expand": 2, "reduction": 2}, "reduction to 1"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(kind: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(BASE, **kind)


def test_graphs_refuse_what_only_torch_computes() -> None:
    for kind in ({"scan": 1}, {"queries": 2}, {"fill": "zeros"}, {"expand": 2, "layout": "time_major"}):
        with pytest.raises(ValueError, match="engine='torch'"):
            check_connector(replace(BASE, **kind))  # type: ignore[arg-type]
    for kind in ({}, {"pool_frequency": 2}, {"expand": 2}, {"fill": "last"}, {"layout": "time_major", "fill": "omit"}):
        check_connector(replace(BASE, **kind))  # type: ignore[arg-type]
