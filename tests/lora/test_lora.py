"""Adapters: what they compute, what they train, and how they are stored."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis import lora
from sonopsis.lora import LoRAConfig
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

PARTS = ("in_proj.z", "in_proj.x", "in_proj.B", "in_proj.C", "in_proj.dt")
TARGETS = [("in_proj", "out_proj"), ("out_proj",), ("in_proj.x",), PARTS, ("in_proj.B", "in_proj.dt", "out_proj")]


def make(seed: int = 0, dtype: torch.dtype = torch.float32) -> Mamba2LM:
    torch.manual_seed(seed)
    config = Mamba2Config(width=32, depth=3, vocab_size=61, state=16, head_dim=16, groups=2, chunk=8)
    return Mamba2LM(config).to(dtype).eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 61, (2, 13), generator=torch.Generator().manual_seed(1))


def train(lm: Mamba2LM) -> None:
    """Adapters as training might leave them: B no longer zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def projections(lm: Mamba2LM) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in lm.state_dict().items() if name.endswith("_proj.weight")}


@pytest.mark.parametrize("targets", TARGETS)
def test_identity_until_trained(ids: Tensor, targets: tuple[str, ...]) -> None:
    lm = make()
    expected = lm(ids)
    lora.attach(lm, LoRAConfig(rank=4, targets=targets))
    assert torch.equal(lm(ids), expected)
    train(lm)
    assert (lm(ids) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("targets", TARGETS)
def test_every_adapter_gets_a_gradient_and_nothing_else_does(ids: Tensor, targets: tuple[str, ...]) -> None:
    lm = make().train()
    lora.attach(lm, LoRAConfig(rank=4, targets=targets, dropout=0.1))
    lm(ids).logsumexp(-1).sum().backward()
    adapters = [name for name, _ in lm.named_parameters() if ".lora_" in name]
    assert len(adapters) == 2 * 3 * len(targets)
    for name, parameter in lm.named_parameters():  # B is zero at first, so A has no influence yet
        assert (parameter.grad is not None) == parameter.requires_grad == (name in adapters), name
        assert name not in adapters or (parameter.grad.abs().max() > 0) == name.endswith("lora_B"), name
    train(lm)
    lm.zero_grad()
    lm(ids).logsumexp(-1).sum().backward()
    for name in adapters:
        assert lm.get_parameter(name).grad.abs().amax() > 0, name


@pytest.mark.parametrize(
    ("part", "rows"), [("z", (0, 64)), ("x", (64, 128)), ("B", (128, 160)), ("C", (160, 192)), ("dt", (192, 196))]
)
def test_a_part_changes_its_rows_alone(part: str, rows: tuple[int, int]) -> None:
    lm = make()
    before = projections(lm)
    lora.attach(lm, LoRAConfig(rank=40, alpha=7, targets=(f"in_proj.{part}",)))  # a rank above the rows of dt
    train(lm)
    lora.merge(lm)
    for name, weight in projections(lm).items():
        changed = (weight != before[name]).any(1).nonzero().flatten().tolist()
        assert changed == (list(range(*rows)) if "in_proj" in name else [])


@pytest.mark.parametrize("targets", TARGETS)
def test_merge_and_unmerge(ids: Tensor, targets: tuple[str, ...]) -> None:
    lm = make()
    lora.attach(lm, LoRAConfig(rank=3, alpha=5.0, targets=targets, dropout=0.5))
    train(lm)
    before, expected = projections(lm), lm(ids)
    lora.merge(lm)
    lora.merge(lm)  # a second time does nothing
    torch.testing.assert_close(lm(ids), expected, atol=1e-5, rtol=0)
    assert any(not torch.equal(weight, before[name]) for name, weight in projections(lm).items())
    lora.unmerge(lm)
    assert all(torch.equal(weight, before[name]) for name, weight in projections(lm).items())
    assert torch.equal(lm(ids), expected)


def test_unmerge_is_exact_in_bfloat16(ids: Tensor) -> None:
    lm = make(dtype=torch.bfloat16)
    lora.attach(lm)
    train(lm)
    assert {p.dtype for p in lm.parameters() if p.requires_grad} == {torch.float32}
    before, expected = projections(lm), lm(ids)
    lora.merge(lm)
    assert (lm(ids) - expected).abs().max() < 0.3 * expected.std()
    lora.unmerge(lm)
    assert all(torch.equal(weight, before[name]) for name, weight in projections(lm).items())


def test_generation_and_steps_use_the_adapters(ids: Tensor) -> None:
    lm = make()
    plain = lm.generate(ids, max_new_tokens=9)
    lora.attach(lm, LoRAConfig(rank=8))
    train(lm)
    cache = lm.new_cache(2)
    lm.prefill(ids[:, :-1], cache=cache)
    torch.testing.assert_close(lm.step(ids[:, -1], cache), lm(ids)[:, -1], atol=1e-5, rtol=0)
    adapted = lm.generate(ids, max_new_tokens=9)
    assert adapted != plain
    lora.merge(lm)
    assert [h[0].ids for h in lm.generate(ids, max_new_tokens=9)] == [h[0].ids for h in adapted]


def test_prepared_models_have_merged_adapters(ids: Tensor) -> None:
    lm = make()
    lora.attach(lm)
    train(lm)
    expected = lm(ids)
    assert lora.has_unmerged(lm)
    with pytest.raises(ValueError, match=r"sonopsis\.lora\.merge"):
        lm.prepare()
    lora.merge(lm)
    assert not lora.has_unmerged(lm)
    torch.testing.assert_close(lm.prepare()(ids), expected, atol=1e-4, rtol=0)


def test_merged_adapters_refuse_to_train(ids: Tensor) -> None:
    lm = make()
    lora.attach(lm)
    lora.merge(lm)
    lm.train()
    with pytest.raises(ValueError, match="unmerge"):
        lm(ids)
    lora.unmerge(lm)
    lm(ids).sum().backward()


def test_dropout_is_of_training_alone(ids: Tensor) -> None:
    lm = make()
    lora.attach(lm, LoRAConfig(dropout=0.5))
    train(lm)
    assert torch.equal(lm(ids), lm(ids))
    lm.train()
    assert not torch.equal(lm(ids), lm(ids))


def test_detached_models_are_plain_again(ids: Tensor, tmp_path: Path) -> None:
    lm = make()
    plain = lm(ids)
    lora.attach(lm)
    train(lm)
    adapted = lm(ids)
    with pytest.raises(ValueError, match="adapters"):
        lm.save(tmp_path / "model")
    lora.merge(lm)
    lora.detach(lm)
    assert type(lm.backbone.layers[0].mixer.in_proj) is torch.nn.Linear
    lm.save(tmp_path / "model")
    torch.testing.assert_close(Mamba2LM.load(tmp_path / "model")(ids), adapted, atol=1e-5, rtol=0)
    assert all(parameter.requires_grad for parameter in lm.parameters())
    other = make()
    lora.attach(other)
    train(other)
    lora.detach(other)
    assert torch.equal(other(ids), plain)


@pytest.mark.parametrize("targets", TARGETS)
def test_stored_and_loaded(ids: Tensor, targets: tuple[str, ...], tmp_path: Path) -> None:
    lm = make()
    lora.attach(lm, LoRAConfig(rank=5, alpha=3.5, dropout=0.25, targets=targets))
    train(lm)
    lora.save(lm, tmp_path / "adapter", base="state-spaces/mamba2-130m")
    other = make()
    lora.load(other, tmp_path / "adapter")
    assert torch.equal(other(ids), lm(ids))
    assert lora.coverage(other) == lora.coverage(lm)
    assert {m.p for m in other.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize("targets", TARGETS)
def test_the_file_means_in_peft_what_the_model_computes(ids: Tensor, targets: tuple[str, ...], tmp_path: Path) -> None:
    """Merge the tensors by hand as PEFT defines them, weight + alpha / r B A, from names, ranks and patterns alone."""
    lm = make()
    lora.attach(lm, LoRAConfig(rank=5, alpha=3.5, targets=targets))
    train(lm)
    lora.save(lm, tmp_path)
    fields = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert fields["peft_type"] == "LORA" and fields["target_modules"] == sorted({t.split(".")[0] for t in targets})
    plain = make()
    with torch.no_grad():
        for name in [name for name in tensors if "lora_A" in name]:
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            A, B = tensors.pop(name), tensors.pop(name.replace("lora_A", "lora_B"))
            kind = module.rpartition(".")[2]
            assert fields["rank_pattern"].get(kind, fields["r"]) == len(A)
            scale = fields["alpha_pattern"].get(kind, fields["lora_alpha"]) / len(A)
            plain.get_submodule(module).weight += scale * B @ A
    assert not tensors
    torch.testing.assert_close(plain(ids), lm(ids), atol=1e-5, rtol=0)
    stripped = {name: t for name, t in load_file(tmp_path / "adapter_model.safetensors").items()}
    save_file(stripped, tmp_path / "adapter_model.safetensors")  # as another program would write it
    other = make()
    lora.load(other, tmp_path)
    torch.testing.assert_close(other(ids), lm(ids), atol=1e-5, rtol=0)
    assert not any("." in target for target in lora.coverage(other).adapters)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"rank_pattern": {"layers.0.mixer.in_proj": 4}}, "rank"),
        ({"r": None}, "do not fit|not supported"),
    ],
)
def test_other_adapters_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    lm = make()
    lora.attach(lm)
    lora.save(lm, tmp_path)
    fields = json.loads((tmp_path / "adapter_config.json").read_text()) | changes
    kept = {name: value for name, value in fields.items() if value is not None}
    (tmp_path / "adapter_config.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=words):
        lora.load(make(), tmp_path)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    lm = make()
    lora.attach(lm)
    lora.save(lm, tmp_path)
    deeper = Mamba2LM(Mamba2Config(width=32, depth=4, vocab_size=61, state=16, head_dim=16, groups=2))
    with pytest.raises(ValueError, match=r"4 tensors.*layers\.3"):
        lora.load(deeper, tmp_path)
    assert not lora.coverage(deeper).adapters
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    save_file({n.replace("in_proj", "lm_head"): t for n, t in tensors.items()}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="lm_head"):
        lora.load(make(), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        lora.load(make(), tmp_path)
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        lora.load(make(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("x_proj",), r"x_proj.*in_proj\.dt.*out_proj"),
        (("in_proj", "in_proj.q"), r"in_proj\.q"),
        ((), "match nothing"),
        (("in_proj", "in_proj.x"), "overlap"),
        (("out_proj", "out_proj"), "overlap"),
    ],
)
def test_targets_are_checked(targets: tuple[str, ...], words: str) -> None:
    lm = make()
    with pytest.raises(ValueError, match=words):
        lora.attach(lm, LoRAConfig(targets=targets))
    assert all(parameter.requires_grad for parameter in lm.parameters())


def test_bad_calls() -> None:
    lm = make()
    for call in (lora.merge, lora.unmerge, lora.detach):
        with pytest.raises(ValueError, match="no adapters"):
            call(lm)
    lora.attach(lm)
    with pytest.raises(ValueError, match="already"):
        lora.attach(lm)
    with pytest.raises(ValueError, match="rank"):
        LoRAConfig(rank=0)
    with pytest.raises(ValueError, match="dropout"):
        LoRAConfig(dropout=1.0)


@pytest.mark.parametrize(("rank", "millions", "share"), [(8, 1.23, 0.0096), (256, 39.5, 0.306)])
def test_published_sizes_at_130m(rank: int, millions: float, share: float) -> None:
    with torch.device("meta"):
        lm = Mamba2LM(Mamba2Config(width=768, depth=24, vocab_size=50288))
    lora.attach(lm, LoRAConfig(rank=rank))
    found = lora.coverage(lm)
    assert found.adapters == {"in_proj": 24, "out_proj": 24} and found.layers == 24
    assert found.trainable == found.adapter_parameters == rank * (98_880 + 55_296)
    assert found.adapter_parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert found.model_parameters == 128_989_632 and found.share == pytest.approx(share, rel=0.01)
    assert "in_proj in 24 of 24 layers" in str(found)


def test_copies_are_independent(ids: Tensor) -> None:
    lm = make()
    lora.attach(lm)
    train(lm)
    other = copy.deepcopy(lm)
    lora.merge(other)
    assert torch.equal(lm(ids), lm(ids)) and lm.backbone.layers[0].mixer.in_proj.unmerged is None
    lora.unmerge(other)
    assert torch.equal(other(ids), lm(ids))
