"""Pruning of live Hugging Face models: against our own encoder, against a plain loop, and back again."""

import copy
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sonopsis
from sonopsis.checkpoints import read_checkpoint
from sonopsis.encoder import Head
from sonopsis.pruning import Pruning, kept_count

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 5}
AST = {"max_length": 96, "frequency_stride": 16, "time_stride": 16}  # 8 bands x 6 times = 48 patches
IMAGE = {"image_size": 48, "patch_size": 8}  # 36 patches
KINDS = {
    "ASTModel": 2,  # prefix tokens
    "ASTForAudioClassification": 2,
    "ViTModel": 1,
    "ViTForImageClassification": 1,
    "ViTMSNModel": 1,
    "ViTMSNForImageClassification": 1,
    "DeiTModel": 2,
    "DeiTForImageClassification": 2,
    "DeiTForImageClassificationWithTeacher": 2,
}
SPEECH, PICTURE = "ASTForAudioClassification", "ViTForImageClassification"


def tiny(kind: str, attention: str = "sdpa", **changes: Any) -> Any:
    """A random model in evaluation mode in which every parameter matters and attention is sharp."""
    fields = SIZES | (AST if kind.startswith("AST") else IMAGE) | {"initializer_range": 0.3, **changes}
    torch.manual_seed(1)
    family = re.sub("Model$|For.*$", "", kind)
    config = getattr(transformers, f"{family}Config")(**fields, attn_implementation=attention)
    model = getattr(transformers, kind)(config).eval()
    for parameter in model.parameters():  # biases, norms and positions start as constants, which hide errors
        parameter.data += 0.15 * torch.randn_like(parameter)
    return model


def clips(kind: str, count: int = 3) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(count, 96, 128) if kind.startswith("AST") else torch.randn(count, 3, 48, 48)


def answers(model: Any, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        found = model(inputs)
    answer: Tensor = found.logits if "logits" in found else found.last_hidden_state
    return answer


def body(model: Any) -> Any:
    return getattr(model, model.base_model_prefix, model)


def patches(kind: str) -> int:
    return 48 if kind.startswith("AST") else 36


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_patches_kept_is_the_model_itself_and_restore_gives_it_back(kind: str, attention: str) -> None:
    model, inputs = tiny(kind, attention), clips(kind)
    before, attributes = answers(model, inputs), {name: set(vars(m)) for name, m in model.named_modules()}
    for pruning in (1.0, Pruning({0: 1.0, 2: 0.999})):  # 0.999 of these few is all of them
        assert sonopsis.prune(model, pruning) is model
        assert answers(model, inputs).equal(before)
    sonopsis.prune(model, keep_rate=0.5)
    changed = answers(model, inputs)
    assert changed.shape != before.shape or (changed - before).abs().max() > 1e-2
    assert sonopsis.restore(model) is model
    assert answers(model, inputs).equal(before)
    assert {name: set(vars(m)) for name, m in model.named_modules()} == attributes


@pytest.mark.parametrize("kind", [SPEECH, PICTURE])
def test_restoring_a_part_or_the_whole_leaves_no_trace_on_either(kind: str) -> None:
    model, inputs = tiny(kind), clips(kind)
    before = answers(model, inputs)
    for prune, restore in ((model, body(model)), (body(model), model), (model, model), (body(model), body(model))):
        sonopsis.prune(prune, keep_rate=0.5)
        answers(model, inputs)
        sonopsis.restore(restore)
        assert not hasattr(model, "sonopsis_trace") and not hasattr(body(model), "sonopsis_trace")
        assert answers(model, inputs).equal(before)
    sonopsis.prune(body(sonopsis.prune(model)))  # the outer model is no longer the one that was pruned last
    assert not hasattr(model, "sonopsis_trace") and len(body(model).sonopsis_trace) == 3
    again = copy.deepcopy(sonopsis.prune(model))
    sonopsis.restore(body(again))
    assert not hasattr(again, "sonopsis_trace") and len(model.sonopsis_trace) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_blocks_prune_and_prefix_tokens_stay(kind: str) -> None:
    model = sonopsis.prune(tiny(kind), keep_rate=0.7)
    with torch.inference_mode():
        found = body(model)(clips(kind), output_hidden_states=True)
    count, prefix = patches(kind), KINDS[kind]
    first = kept_count(count, 0.7)
    second = kept_count(first, 0.7)
    third = kept_count(second, 0.7)
    assert [h.shape[1] - prefix for h in found.hidden_states] == [count, count, first, second, third]
    assert found.last_hidden_state.shape == (3, prefix + third, 32)
    assert [tuple(stage.shape) for stage in model.sonopsis_trace] == [(3, first), (3, second), (3, third)]
    for earlier, later in pairwise([torch.arange(count).expand(3, -1), *model.sonopsis_trace]):
        assert (later.diff(dim=1) > 0).all()
        assert all(set(few) <= set(many) for few, many in zip(later.tolist(), earlier.tolist(), strict=True))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("score", ["cls", "attention"])
@pytest.mark.parametrize("frames", [96, 100])
def test_ast_has_the_numbers_of_our_own_encoder(frames: int, score: Any, attention: str, tmp_path: Path) -> None:
    model = tiny(SPEECH, attention, max_length=frames, time_stride=16 if frames == 96 else 10)
    model.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    encoder = checkpoint.encoder()
    head = Head(checkpoint.config.width, 5, checkpoint.config.head_norm_eps)
    head.load_state_dict({name[5:]: t for name, t in checkpoint.state.items() if name.startswith("head.")})
    pruning = Pruning({1: 0.5, 2: 0.8, 3: 0.5}, score=score)
    mel = torch.randn(2, frames, 128)
    with torch.inference_mode():
        ours = encoder(mel, pruning)
        expected = head(encoder.pool(ours))
        theirs = sonopsis.prune(model, pruning)(mel, output_hidden_states=True)
        tokens = body(model).layernorm(theirs.hidden_states[-1])
    (time, frequency), prefix = ours.grid, 2
    assert len(model.sonopsis_trace) == len(ours.stages) == 3
    for own, stage in zip(ours.stages, model.sonopsis_trace, strict=True):
        assert own.equal((stage % time * frequency + stage // time).sort(dim=1).values)
    order = (stage % time * frequency + stage // time).argsort(dim=1)  # theirs is frequency-major
    tokens = tokens[:, prefix:].gather(1, order.unsqueeze(-1).expand(-1, -1, 32))
    torch.testing.assert_close(tokens, ours.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs.logits, expected, atol=1e-5, rtol=1e-5)


def plain_vit(state: dict[str, Tensor], image: Tensor, keep: dict[int, int], score: str) -> tuple[Tensor, list[Any]]:
    """One image (3, 48, 48) through a ViT written out: logits, and the survivors of each block of `keep`."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-12).sqrt() * state[f"{name}.weight"]
            + state[f"{name}.bias"]
        )

    kernel, bias = (state[f"vit.embeddings.patch_embeddings.projection.{x}"] for x in ("weight", "bias"))
    rows = [state["vit.embeddings.cls_token"][0, 0]]
    for top in range(0, 48, 8):
        for left in range(0, 48, 8):
            rows.append((kernel * image[:, top : top + 8, left : left + 8]).sum((1, 2, 3)) + bias)
    x = torch.stack(rows) + state["vit.embeddings.position_embeddings"][0]
    cells, stages = list(range(36)), []
    for block in range(4):
        name = f"vit.layers.{block}"
        y = norm(f"{name}.layernorm_before", x)
        q, k, v = (linear(f"{name}.attention.{part}_proj", y) for part in "qkv")
        heads = [slice(8 * head, 8 * head + 8) for head in range(4)]
        weights = [F.softmax(q[:, head] @ k[:, head].T / math.sqrt(8), dim=1) for head in heads]
        mixed = torch.cat([w @ v[:, head] for w, head in zip(weights, heads, strict=True)], dim=1)
        x = x + linear(f"{name}.attention.o_proj", mixed)
        if block in keep:
            mean = sum(weights) / 4
            scores = mean[0, 1:] if score == "cls" else mean[1:, 1:].mean(0)
            best = sorted(sorted(range(len(cells)), key=lambda n: -scores[n].item())[: keep[block]])
            x = torch.cat([x[:1], x[1:][best]])
            cells = [cells[n] for n in best]
            stages.append(cells)
        hidden = linear(f"{name}.mlp.fc1", norm(f"{name}.layernorm_after", x))
        x = x + linear(f"{name}.mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
    return linear("classifier", norm("vit.layernorm", x)[0]), stages


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("score", ["cls", "attention"])
def test_vit_has_the_numbers_of_a_plain_loop_one_image_at_a_time(score: Any, attention: str) -> None:
    model = sonopsis.prune(tiny(PICTURE, attention), Pruning({0: 0.75, 1: 0.5, 3: 0.3}, score=score))
    images, state = clips(PICTURE), model.state_dict()
    found = answers(model, images)
    for number, image in enumerate(images):
        expected, stages = plain_vit(state, image, {0: 27, 1: 14, 3: 5}, score)
        assert [stage[number].tolist() for stage in model.sonopsis_trace] == stages
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(answers(model, image[None])[0], found[number], atol=1e-5, rtol=1e-5)
        answers(model, images)


def test_pruning_again_replaces_what_was_there() -> None:
    model, inputs = tiny(SPEECH), clips(SPEECH)
    once = answers(sonopsis.prune(tiny(SPEECH), Pruning({2: 0.4})), inputs)
    sonopsis.prune(sonopsis.prune(model, 0.5), Pruning({2: 0.4}))
    assert answers(model, inputs).equal(once)
    assert [stage.shape[1] for stage in model.sonopsis_trace] == [kept_count(48, 0.4)]
    assert body(model).sonopsis_trace is model.sonopsis_trace  # of the encoder inside just as well


def test_the_score_of_cls_is_the_default_and_differs_from_that_of_patches() -> None:
    inputs, keep = clips(PICTURE), {1: 0.5}
    default, cls, column = (
        answers(sonopsis.prune(tiny(PICTURE), pruning), inputs)
        for pruning in (Pruning(keep), Pruning(keep, score="cls"), Pruning(keep, score="attention"))
    )
    assert default.equal(cls) and not default.equal(column)


def test_attentions_come_as_the_implementation_gives_them() -> None:
    kept = [48, 48, 24, 12]  # patches that enter each block
    model = sonopsis.prune(tiny(SPEECH, "eager"), keep_rate=0.5)
    with torch.inference_mode():
        attentions = model(clips(SPEECH), output_attentions=True).attentions
    assert [tuple(a.shape) for a in attentions] == [(3, 4, n + 2, n + 2) for n in kept]
    for weights in attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    model = sonopsis.prune(tiny(SPEECH), keep_rate=0.5)
    with torch.inference_mode():
        assert not model(clips(SPEECH), output_attentions=True).attentions  # sdpa has none, pruned or not


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_gradients_reach_every_parameter_and_checkpointing_does_not_change_them(attention: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        runs: list[nn.Module] = []
        model = tiny(SPEECH, attention, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        sonopsis.prune(model, keep_rate=0.5)
        for layer in body(model).layers:
            layer.mlp.register_forward_hook(lambda module, args, output, runs=runs: runs.append(module))
        torch.manual_seed(3)
        model(clips(SPEECH), labels=torch.tensor([0, 1, 2])).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        assert [stage.shape[1] for stage in model.sonopsis_trace] == [24, 12, 6]
        assert len(runs) == (8 if checkpointing else 4)  # each of the four layers once more in the backward pass
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.abs().max() > 0, name
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_dropout_is_where_the_model_has_it(attention: str) -> None:
    mel = clips(SPEECH)
    model = sonopsis.prune(tiny(SPEECH, attention, attention_probs_dropout_prob=1.0), keep_rate=0.5).train()
    dropped = model(mel).logits
    for layer in body(model).layers:  # nothing to attend to, but the same patches chosen
        nn.init.zeros_(layer.attention.v_proj.weight)
        nn.init.zeros_(layer.attention.v_proj.bias)
    torch.testing.assert_close(dropped, model.eval()(mel).logits)

    model = sonopsis.prune(tiny("ASTModel", attention, hidden_dropout_prob=1.0), keep_rate=0.5).train()
    tokens = model(mel).last_hidden_state  # no embedding, no branch of any layer
    torch.testing.assert_close(tokens, model.layernorm.bias.expand_as(tokens))


def test_the_gradient_is_that_of_the_same_choice_without_pruning_code() -> None:
    """Finite differences of the pruned loss, in float64, along one direction."""
    model = sonopsis.prune(tiny(SPEECH).double(), keep_rate=0.5)
    mel, labels = clips(SPEECH).double(), torch.tensor([0, 1, 2])
    direction = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    model(mel, labels=labels).loss.backward()
    slope = sum((p.grad * direction[name]).sum() for name, p in model.named_parameters())
    losses, choices = [], []
    for step in (1e-6, -1e-6):
        moved = tiny(SPEECH).double()
        with torch.no_grad():
            for name, p in moved.named_parameters():
                p += step * direction[name]
            losses.append(sonopsis.prune(moved, keep_rate=0.5)(mel, labels=labels).loss)
        choices.append(moved.sonopsis_trace)
    assert all(a.equal(b) for a, b in zip(*choices, strict=True))
    torch.testing.assert_close((losses[0] - losses[1]) / 2e-6, slope.detach(), rtol=1e-4, atol=1e-6)


def test_a_copy_is_pruned_by_itself() -> None:
    model, inputs = tiny(SPEECH), clips(SPEECH)
    before = answers(model, inputs)
    copied = copy.deepcopy(sonopsis.prune(model, keep_rate=0.5))
    pruned = answers(model, inputs)
    sonopsis.restore(model)
    copied.classifier.dense.weight.data.zero_()
    body(copied).layers[1].attention.o_proj.weight.data.zero_()
    assert answers(model, inputs).equal(before)
    assert not answers(copied, inputs).equal(pruned) and len(copied.sonopsis_trace) == 3


def test_weights_and_files_do_not_know_of_pruning(tmp_path: Path) -> None:
    model, inputs = tiny(SPEECH), clips(SPEECH)
    before, names = answers(model, inputs), list(model.state_dict())
    sonopsis.prune(model, keep_rate=0.5).save_pretrained(tmp_path)
    assert list(model.state_dict()) == names
    assert answers(transformers.ASTForAudioClassification.from_pretrained(tmp_path), inputs).equal(before)


def test_hooks_of_others_run_as_before() -> None:
    model, seen = tiny(SPEECH), []
    for part in (body(model).layers[1], body(model).layers[1].attention, body(model).layers[1].mlp):
        part.register_forward_hook(lambda module, args, output: seen.append(type(module).__name__))
    answers(sonopsis.prune(model, keep_rate=0.5), clips(SPEECH))
    assert seen == ["ASTAttention", "ASTMLP", "ASTLayer"]


def test_a_forward_within_another_disturbs_nothing() -> None:
    """What another thread does between two blocks, at a moment that is always the same."""
    model, inputs, nested = sonopsis.prune(tiny(SPEECH), keep_rate=0.5), clips(SPEECH), []
    expected = answers(model, inputs)

    def interrupt(module: nn.Module, args: Any, output: Any) -> None:
        if not nested:
            nested.append(None)
            model(inputs[:1])

    body(model).layers[1].register_forward_hook(interrupt)
    assert answers(model, inputs).equal(expected) and nested


@pytest.mark.slow
def test_a_pruned_model_compiles_to_one_graph() -> None:
    model, inputs = sonopsis.prune(tiny(SPEECH), keep_rate=0.5), clips(SPEECH)
    with torch.no_grad():
        found = torch.compile(model, backend="eager", fullgraph=True)(inputs).logits
    assert found.equal(answers(model, inputs))


def test_half_precision_and_autocast_choose_in_float32() -> None:
    model = sonopsis.prune(tiny(SPEECH), keep_rate=0.5)
    answers(model, clips(SPEECH))
    full = model.sonopsis_trace[0].clone()
    with torch.autocast("cpu", torch.bfloat16):
        cast = answers(model, clips(SPEECH))
    assert cast.isfinite().all()
    common = [len(set(a) & set(b)) for a, b in zip(full.tolist(), model.sonopsis_trace[0].tolist(), strict=True)]
    assert min(common) >= 22  # of 24: q and k themselves are rounded
    half = answers(model.to(torch.bfloat16), clips(SPEECH).bfloat16())
    assert half.dtype == torch.bfloat16 and half.isfinite().all()


@pytest.mark.parametrize("pruning", [Pruning({4: 0.5}), Pruning({1: 0.5, 7: 0.5})])
def test_blocks_that_do_not_exist_are_refused_and_leave_the_model_as_it_was(pruning: Pruning) -> None:
    model = sonopsis.prune(tiny(SPEECH), keep_rate=0.5)
    with pytest.raises(ValueError, match=r"do not exist: this model has blocks 0-3"):
        sonopsis.prune(model, pruning)
    assert len(model.sonopsis_trace) == 3


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="keep rate"):
        sonopsis.prune(tiny(SPEECH), keep_rate=rate)


def test_scores_and_reducers_it_does_not_have_are_refused() -> None:
    for fields in ({"score": "loudness"}, {"reduce": "fuse"}):
        with pytest.raises(ValueError):
            sonopsis.prune(tiny(SPEECH), Pruning({1: 0.5}, **fields))  # type: ignore[arg-type]


def test_other_models_are_refused_with_the_names_of_those_that_work() -> None:
    rebuilding = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**SIZES, **IMAGE))
    for model in (nn.Linear(2, 2), nn.Sequential(tiny(SPEECH)), rebuilding):
        for change in (sonopsis.prune, sonopsis.restore):
            with pytest.raises(ValueError, match=f"ASTForAudioClassification.*ViTModel.*not {type(model).__name__}"):
                change(model)


def test_layers_built_otherwise_are_refused_by_the_parts_they_lack() -> None:
    model = tiny(SPEECH)
    body(model).layers[2].attention = nn.Identity()
    with pytest.raises(ValueError, match=r"block 2 has no attention\.q_proj.*transformers 5"):
        sonopsis.prune(model)
    del body(model).layers
    with pytest.raises(ValueError, match=r"this ASTModel is not built as in transformers 5"):
        sonopsis.prune(model)


@pytest.mark.parametrize("part", ["", ".attention"])
def test_a_forward_that_others_replaced_is_left_alone(part: str) -> None:
    model, inputs = tiny(SPEECH), clips(SPEECH)
    before = answers(model, inputs)
    module = body(model).get_submodule(f"layers.1{part}")
    own = module.forward
    module.forward = lambda *args, **kwargs: own(*args, **kwargs)  # as accelerate does
    with pytest.raises(ValueError, match="forward of block 1 is already replaced"):
        sonopsis.prune(model)
    module.forward = own  # as accelerate leaves it
    pruned = answers(sonopsis.prune(model), inputs)
    ours = module.forward
    module.forward = theirs = lambda *args, **kwargs: ours(*args, **kwargs)
    assert answers(model, inputs).equal(pruned)
    for change in (sonopsis.restore, sonopsis.prune):
        with pytest.raises(ValueError, match="replaced"):
            change(model)
    assert module.forward is theirs and answers(model, inputs).equal(pruned)
    module.forward = ours
    assert answers(sonopsis.restore(model), inputs).equal(before)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_attention_mask_is_refused_unless_it_hides_nothing(attention: str) -> None:
    model, images = sonopsis.prune(tiny("ViTModel", attention), keep_rate=0.5), clips(PICTURE)
    mask = torch.ones(3, 37, dtype=torch.long)
    assert model(images, attention_mask=mask).last_hidden_state.equal(model(images).last_hidden_state)
    mask[0, 30:] = 0
    with pytest.raises(ValueError, match="leave attention_mask out"):
        model(images, attention_mask=mask)
    sonopsis.restore(model)(images, attention_mask=mask)
