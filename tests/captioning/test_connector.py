"""The connector: order of the prefix, what fills pruned cells, and that no pruning changes nothing."""

from dataclasses import replace

import pytest
import torch

from sonopsis.captioning.config import LAYOUTS, ConnectorConfig
from sonopsis.captioning.connector import Connector, fill_grid
from sonopsis.encoder import Encoded, Encoder, EncoderConfig
from sonopsis.pruning import uniform
from sonopsis.pruning.config import REDUCERS, ReducerName

ENCODER = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=64, patch=(16, 32), stride=(16, 32))


WITHOUT_CLS = replace(ENCODER, prefix_tokens=0, pooling="mean", score="attention")


def encode(
    keep_rate: float | None, config: EncoderConfig = ENCODER, reduce: ReducerName = "topk"
) -> Encoded[torch.Tensor]:
    torch.manual_seed(0)
    encoder = Encoder(config).eval()
    mel = torch.randn(2, 64, 128)
    return encoder(mel, uniform(config.depth, keep_rate, reduce=reduce), collect_dropped=True)


def connector(layout: str, summary: bool = False) -> Connector:
    torch.manual_seed(1)
    return Connector(ConnectorConfig(16, 8, 4, layout, summary)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("layout", "length"), [("concat", 4), ("time_major", 16 + 3), ("frequency_major", 16 + 3)])
def test_length_without_pruning(layout: str, length: int) -> None:
    assert connector(layout)(encode(None)).shape == (2, length, 8)
    assert connector(layout, summary=True)(encode(None)).shape == (2, length + 1, 8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keep_rate_1_changes_no_bit(layout: str) -> None:
    assert torch.equal(connector(layout)(encode(None)), connector(layout)(encode(1.0)))


def test_order_against_loops_over_the_grid() -> None:
    """The two long layouts, with pruned cells left out, against the definition written as loops."""
    for layout in ("time_major", "frequency_major"):
        module, encoded = connector(layout), encode(0.7)
        with torch.no_grad():
            module.separator.copy_(torch.randn(8))  # type: ignore[union-attr]
        assert encoded.index.shape[1] < 16
        vectors = module.mlp(module.norm(encoded.tokens))
        for row in range(2):
            place = {int(n): vectors[row, k] for k, n in enumerate(encoded.index[row])}
            wanted = []
            outer, inner = (4, 4)
            for group in range(outer):
                if group:
                    wanted.append(module.separator)
                for member in range(inner):
                    t, f = (group, member) if layout == "time_major" else (member, group)
                    if t * 4 + f in place:
                        wanted.append(place[t * 4 + f])
            torch.testing.assert_close(module(encoded)[row], torch.stack(wanted))


def test_pruned_cells_hold_the_last_state_of_their_token() -> None:
    encoded = encode(0.5)
    grid = fill_grid(encoded)
    assert encoded.dropped is not None
    for row in range(2):
        kept = set(encoded.index[row].tolist())
        for n in range(16):
            source = encoded.tokens[row, encoded.index[row].tolist().index(n)] if n in kept else encoded.dropped[row, n]
            assert torch.equal(grid[row, n], source)
    assert bool((grid.abs().sum(-1) > 0).all())


def test_dropped_states_are_needed() -> None:
    encoded = encode(0.5)
    encoded.dropped = None
    with pytest.raises(ValueError, match="collect_dropped"):
        connector("concat")(encoded)


def test_unknown_layouts_and_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of"):
        ConnectorConfig(16, 8, 4, "diagonal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown connector fields"):
        ConnectorConfig.from_dict({"encoder_width": 1, "width": 1, "frequency_rows": 1, "depth": 2})
    config = ConnectorConfig(16, 8, 4, "time_major", False)
    assert ConnectorConfig.from_dict(config.to_dict()) == config


def test_with_labels_the_prefix_is_what_was_recognised_until_the_gate_opens() -> None:
    torch.manual_seed(1)
    module, encoded = Connector(ConnectorConfig(16, 8, 4, labels=5)).eval(), encode(0.7)
    prefix, logits = module.read(encoded)
    assert logits is not None and logits.shape == (2, 5, 5)  # four time steps and the summary
    torch.testing.assert_close(prefix, logits.sigmoid() @ module.embed.weight.T)
    with torch.no_grad():
        module.gate.fill_(1.0)
    grid = fill_grid(encoded).reshape(2, 4, 64)
    whole = module.summary(encoded.prefix[:, :1])  # type: ignore[misc]
    torch.testing.assert_close(module(encoded) - prefix, torch.cat([module.mlp(module.norm(grid)), whole], dim=1))


def test_reduction_averages_time_steps_and_leaves_the_summary() -> None:
    torch.manual_seed(1)
    whole = Connector(ConnectorConfig(16, 8, 4)).eval()
    reduced = Connector(ConnectorConfig(16, 8, 4, reduction=3)).eval()
    reduced.load_state_dict(whole.state_dict())
    full, found = whole(encode(0.7)), reduced(encode(0.7))  # four time steps and the summary; three, one, the summary
    torch.testing.assert_close(found, torch.stack([full[:, :3].mean(1), full[:, 3], full[:, 4]], dim=1))
    with pytest.raises(ValueError, match="concat"):
        ConnectorConfig(16, 8, 4, "time_major", reduction=2)


def test_pooling_averages_what_the_mlp_reads() -> None:
    torch.manual_seed(1)
    module = Connector(ConnectorConfig(16, 8, 4, labels=5, pool=3)).eval()
    encoded = encode(0.7)
    prefix, logits = module.read(encoded)
    grid = fill_grid(encoded).reshape(2, 4, 64)  # four time steps: three, one
    vectors = module.mlp(module.norm(torch.stack([grid[:, :3].mean(1), grid[:, 3]], dim=1)))
    assert prefix.shape == (2, 3, 8) and logits is not None and module.config.steps(4) == 2
    torch.testing.assert_close(logits[:, :-1], module.score(vectors))
    with pytest.raises(ValueError, match="pool 2 does not fit layout time_major"):
        ConnectorConfig(16, 8, 4, "time_major", pool=2)


@pytest.mark.parametrize("reduce", REDUCERS)
def test_without_a_cls_the_summary_reads_what_the_head_reads(reduce: ReducerName) -> None:
    """The mean over tokens, in which one that stands for several patches counts as often."""
    encoded = encode(0.6, WITHOUT_CLS, reduce)
    module = connector("concat", summary=True)
    pooled = Encoder(WITHOUT_CLS).pool(encoded)
    torch.testing.assert_close(module(encoded)[:, -1], module.summary(pooled))  # type: ignore[misc]


def test_earlier_blocks_are_read_beside_the_last_on_a_scale_of_their_own() -> None:
    torch.manual_seed(1)
    encoder = Encoder(ENCODER).eval()
    mel = torch.randn(2, 64, 128)
    module = Connector(ConnectorConfig(16, 8, 4, pool=2, blocks=(0, 2), summary=False)).eval()
    for rate in (None, 0.6):
        encoded = encoder(mel, uniform(4, rate), collect_dropped=True, collect_blocks=(0, 2))
        assert encoded.blocks is not None
        steps = module.steps(encoded)
        assert steps.shape == (2, 2, 3 * 64)
        for number, grid in enumerate([fill_grid(encoded), *encoded.blocks]):
            rows = grid.reshape(2, 2, 2, 64).mean(dim=2)
            torch.testing.assert_close(steps[..., 64 * number : 64 * (number + 1)], rows)
        assert module(encoded).shape == (2, 2, 8)
    module.train()
    for _ in range(200):  # the scale follows what it hears
        module.read_steps(steps.detach() * 7 + 3, encoded.prefix[:, 0])
    assert module.scale is not None
    scaled = module.eval().scale(steps.detach()[..., 64:].flatten(0, 1) * 7 + 3)  # type: ignore[misc]
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(128), atol=1e-3, rtol=0)


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="only concat reads several"):
        ConnectorConfig(16, 8, 4, "time_major", blocks=(0,))
    for wrong in ((1, 0), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="ascending"):
            ConnectorConfig(16, 8, 4, blocks=wrong)
    config = ConnectorConfig(16, 8, 4, blocks=(0, 1))
    assert ConnectorConfig.from_dict(config.to_dict() | {"blocks": [0, 1]}) == config
