"""What a run starts from, its labels, and the model that is built of both."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sonopsis
from sonopsis.captioning.connector import Connector
from sonopsis.data.clips import ClipBank
from sonopsis.encoder import PRESETS
from sonopsis.mel import MelConfig
from sonopsis.training.building import build_captioner, build_tagger
from sonopsis.training.config import TrainConfig
from sonopsis.training.run import train
from sonopsis.training.start import choose_labels, open_start

Clips = tuple[ClipBank, ClipBank]
Make = Callable[..., TrainConfig]
LABELS = ["Alarm", "Bird", "Cattle, bovinae", "Dog", "Speech", "Water"]  # of the data root, sorted


@pytest.mark.parametrize("stage", ["tagging", "verbalising", "captioning"])
def test_a_wrong_path_fails_at_once_in_every_stage(stage: str, write_run: Callable[..., Path]) -> None:
    """Before the data are looked at, which would fail as well."""
    path = write_run(stage, model="no/such/folder.pth", data={"root": "/no/such/data"})
    with pytest.raises(ValueError, match=r"run\.yaml: model: .*no/such/folder\.pth") as refused:
        train(path)
    assert "\n" not in str(refused.value)


def test_a_wrong_language_model_fails_at_once(write_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.yaml: language_model: .*config\.json"):
        train(write_run("captioning", language_model=str(tmp_path)))
    assert not (tmp_path / "run").exists()


def test_the_front_end_is_that_of_the_model(make_config: Make, tiny_model: Path) -> None:
    assert open_start(make_config("tagging")).mel == MelConfig(1024, -9.0, 3.5, "clip_min", multiple=16)
    assert open_start(TrainConfig("tagging", "out", "ast")).mel == MelConfig(1024)
    start = open_start(TrainConfig("tagging", "out", str(tiny_model)))
    assert start.mel == MelConfig(256, multiple=16) and start.encoder.frames == 256
    assert start.captioner is not None and start.tokenizer is not None


def test_pretrained_models_lie_beside_the_recordings(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path))
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "tiny").symlink_to(tiny_model)
    assert open_start(TrainConfig("tagging", "out", "pretrained/tiny")).encoder.frames == 256
    with pytest.raises(ValueError, match=r"model: .*pretrained/other: no such model; fetch .*make pretrained"):
        open_start(TrainConfig("tagging", "out", "pretrained/other"))


def test_a_preset_has_the_sizes_that_the_run_gives_it(make_config: Make) -> None:
    start = open_start(make_config("tagging", encoder={"drop_path": 0.2}))
    assert start.encoder == replace(PRESETS["small"], width=16, depth=4, heads=2, stem="patch", drop_path=0.2)
    assert start.module is None and start.labels == []


def test_a_model_keeps_its_sizes_and_takes_a_drop_path(make_config: Make, tiny_model: Path) -> None:
    assert (
        open_start(make_config("tagging", model=str(tiny_model), encoder={"drop_path": 0.2})).encoder.drop_path == 0.2
    )
    with pytest.raises(ValueError, match=r"encoder\.width is for presets"):
        open_start(make_config("tagging", model=str(tiny_model), encoder={"width": 32}))


def test_labels_are_those_of_the_rows_of_a_list_or_of_the_model(
    make_config: Make, clips: Clips, tiny_model: Path
) -> None:
    start = open_start(make_config("tagging", model=str(tiny_model)))
    rows = clips[0].rows
    assert choose_labels(make_config("tagging"), start, rows) == LABELS
    listed = [*reversed(LABELS), "unicorn"]
    assert choose_labels(make_config("tagging", labels=listed), start, rows) == listed
    mooless = [row for row in rows if row.labels != ("Cattle, bovinae",)]
    assert choose_labels(make_config("tagging", labels="inherit"), start, mooless) == start.labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("inherit", "small has no labels to inherit"),
        (["Dog", "Cattle, bovinae"], r"12 of 18 rows .* does not know: 'Alarm' \(3\).*; list all labels in `labels`"),
        ([*LABELS, "Dog"], "'Dog' is named twice"),
        ([], "give a list"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(make_config: Make, clips: Clips, labels: Any, message: str) -> None:
    config = make_config("tagging", labels=labels)
    with pytest.raises(ValueError, match=message) as refused:
        choose_labels(config, open_start(config), sorted(clips[0].rows, key=lambda row: row.path) if labels else [])
    assert "\n" not in str(refused.value)


def test_an_unknown_label_of_a_validation_row_is_found_before_training(
    write_run: Callable[..., Path], root: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        if row["split"] == "validation" and row["labels"] == ["Cattle, bovinae"]:
            row["labels"] = ["moo"]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"3 of 18 rows of the manifest .*'moo' \(3\)"):
        train(write_run("tagging", data={"manifest": str(tmp_path / "m.jsonl")}))
    assert not (tmp_path / "run").exists()


def test_labels_that_the_model_knows_begin_with_their_weights(make_config: Make, tiny_model: Path) -> None:
    start = open_start(make_config("tagging", model=str(tiny_model)))
    assert start.tagger is not None
    old = start.tagger.eval()
    new = build_tagger(start, ["whale", "Water", "Dog"]).eval()
    mel = torch.randn(2, 256, 128)
    with torch.inference_mode():
        before, after = old(mel), new(mel)
    torch.testing.assert_close(after[:, 1], before[:, start.labels.index("Water")])
    torch.testing.assert_close(after[:, 2], before[:, start.labels.index("Dog")])
    assert not any(torch.allclose(after[:, 0], before[:, i]) for i in range(len(start.labels)))


def test_a_captioner_is_carried_on_as_it_is(make_config: Make, tiny_model: Path) -> None:
    config = make_config("captioning", model=str(tiny_model), labels="inherit")
    start = open_start(config)
    captioner, tokenizer = build_captioner(config, start, start.labels, lambda: pytest.fail("no tokenizer is trained"))
    assert start.captioner is not None and tokenizer is start.tokenizer
    for name, value in start.captioner.state_dict().items():
        assert torch.equal(captioner.state_dict()[name], value), name
    captioner.lm.backbone.norm_f.weight.data += 1  # a copy: what the run starts from stays as it was
    assert not torch.equal(captioner.lm.backbone.norm_f.weight, start.captioner.lm.backbone.norm_f.weight)


def test_another_connector_is_drawn_and_the_language_model_kept(make_config: Make, tiny_model: Path) -> None:
    config = make_config("captioning", model=str(tiny_model), connector={"layout": "time_major", "labels": 0})
    start = open_start(config)
    captioner, _ = build_captioner(config, start, start.labels, lambda: [])
    assert start.captioner is not None and captioner.connector.config.layout == "time_major"
    assert torch.equal(captioner.lm.backbone.embedding.weight, start.captioner.lm.backbone.embedding.weight)


def test_a_connector_of_another_kind_keeps_what_fits(make_config: Make, tiny_model: Path) -> None:
    """Pooled frequency rows leave the MLP another input, whose weights are drawn; its output layer is carried on."""
    config = make_config("captioning", model=str(tiny_model), labels="inherit", connector={"pool_frequency": 2})
    start = open_start(config)
    captioner, _ = build_captioner(config, start, start.labels, list)
    trained, found = start.captioner.connector.state_dict(), captioner.connector.state_dict()  # type: ignore[union-attr]
    assert found["mlp.0.weight"].shape[1] * 2 == trained["mlp.0.weight"].shape[1]
    assert torch.equal(found["mlp.2.weight"], trained["mlp.2.weight"])
    assert bool(found["mlp.0.weight"].isfinite().all())


def test_a_connector_that_reads_more_blocks_begins_as_the_one_that_it_carries_on(
    make_config: Make, tiny_model: Path
) -> None:
    start = open_start(make_config("captioning", model=str(tiny_model), labels="inherit"))
    assert start.captioner is not None
    trained = start.captioner.connector.config
    settings = {"pool": trained.pool, "reduction": trained.reduction, "summary": trained.summary, "blocks": [0]}
    if not trained.labels:
        settings["labels"] = 0
    config = make_config("captioning", model=str(tiny_model), labels="inherit", connector=settings)
    captioner, _ = build_captioner(config, start, start.labels, lambda: [])
    assert captioner.connector.config.blocks == (0,)
    mel = torch.randn(1, 64, start.encoder.mels)
    with torch.inference_mode():
        wanted = start.captioner.eval().connector(start.captioner.encode(mel))
        assert torch.equal(captioner.eval().connector(captioner.encode(mel)), wanted)


def test_what_a_connector_of_pooled_rows_reads_is_not_carried_over(make_config: Make, tiny_model: Path) -> None:
    start = open_start(make_config("captioning", model=str(tiny_model), labels="inherit"))
    assert start.captioner is not None
    start.captioner.connector = trained = Connector(replace(start.captioner.connector.config, pool_frequency=2))
    settings = {"labels": trained.config.labels, "summary": trained.config.summary, "blocks": [0]}
    config = make_config("captioning", model=str(tiny_model), labels="inherit", connector=settings)
    captioner, _ = build_captioner(config, start, start.labels, lambda: [])
    own, theirs = (module.state_dict()["mlp.0.weight"] for module in (captioner.connector, trained))
    assert not torch.equal(own[:, : theirs.shape[1]], theirs)
    assert torch.equal(captioner.connector.state_dict()["mlp.2.weight"], trained.state_dict()["mlp.2.weight"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"connector": {"labels": 5}}, r"connector\.labels: it scores all 6 labels"),
        (
            {"connector": {"layout": "time_major", "reduction": 2}},
            "connector: reduction 2 does not fit layout time_major",
        ),
        ({"connector": {"blocks": [9]}}, r"connector\.blocks \[9\] must be blocks before the last one"),
        ({"lora": {"targets": ["conv1d"]}}, r"lora: LoRA targets \['conv1d'\] match nothing"),
        (
            {"connector": {"layout": "time_major"}, "pruning": {"reduce": "mass"}},
            r"pruning\.reduce: mass .* layout time_major cannot read",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused_by_key(
    make_config: Make, keys: dict[str, Any], message: str
) -> None:
    config = make_config("captioning", language_model={"width": 16, "depth": 1, "state": 8, "head_dim": 8}, **keys)
    with pytest.raises(ValueError, match=message):
        build_captioner(config, open_start(config), LABELS, lambda: ["a dog", "a cow"])


def test_an_encoder_without_cls_has_a_captioner_with_a_pooled_connector(make_config: Make) -> None:
    start = open_start(make_config("tagging", model="whisper-tiny", encoder={"width": 16, "depth": 2, "heads": 2}))
    config = make_config(
        "captioning", connector={"pool": 8}, language_model={"width": 16, "depth": 1, "state": 8, "head_dim": 8}
    )
    captioner, _ = build_captioner(config, start, LABELS, lambda: ["a dog"])
    prefix, logits = captioner.connector.read(captioner.encode(torch.randn(1, 400, 80)))  # 4 s
    assert prefix.shape[1] == 200 / 8 + 1 and logits is not None and logits.shape[1] == prefix.shape[1]


def test_a_model_that_hears_too_little_is_not_made_to_caption_scenes(
    write_run: Callable[..., Path], tiny_model: Path
) -> None:
    with pytest.raises(ValueError, match=r"hears 2\.56 s at once, and scenes last up to 10 s"):
        train(write_run("captioning", model=str(tiny_model)))


def test_encoder_learning_rate_of_nought_leaves_the_encoder_as_it_was(
    write_run: Callable[..., Path], tiny_model: Path
) -> None:
    """Biases and BatchNorm's statistics included; the head learns."""
    encoder = {"learning_rate": 0, "stem": "conv"}
    first = train(write_run("tagging", "first", encoder={"stem": "conv"}))
    keys: dict[str, Any] = {"model": str(first), "labels": "inherit", "steps": 4, "ema": 0.0, "learning_rate": 0.1}
    second = train(write_run("tagging", "second", encoder={"learning_rate": encoder["learning_rate"]}, **keys))
    before, after = (sonopsis.load(folder, engine="torch").module.state_dict() for folder in (first, second))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head"}
