"""Captioners learn from clips that people described, from the published list to the figures of `sonopsis eval`."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.utils import set_seed

import sonopsis
from sonopsis.asking import asked
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Question, Row, read, write
from sonopsis.data.published.layouts import build_rows, find_items
from sonopsis.metrics.evaluate import evaluate
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_config
from sonopsis.training.described import Described, caption_clips
from sonopsis.training.described_clips import DescribedClips
from sonopsis.training.run import train
from sonopsis.training.start import open_start
from sonopsis.training.tokens import PADDING, train_tokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
LM = {"width": 32, "depth": 1, "state": 16, "head_dim": 16, "vocabulary": 320}
# Real recordings, and what people would say of them, in the published layout of Clotho.
SAID = {
    "development": {
        "cow.ogg": ("A cow moos", "A cow is mooing", "Cattle moo", "A cow lows in a field", "A cow"),
        "duck.ogg": ("A duck quacks", "A duck is quacking", "Quacking", "A duck calls", "Ducks"),
        "horse.ogg": ("A horse neighs", "A horse is neighing", "Neighing", "A horse calls", "A horse"),
        "helicopter.ogg": ("A helicopter flies", "A rotor turns", "A machine", "A helicopter hovers", "An aircraft"),
    },
    "validation": {"footsteps_on_ice.mp3": ("Steps on ice", "Someone walks", "Walking", "A walk", "Feet crunch")},
    "evaluation": {
        "car_passing.mp3": ("A car passes", "A car drives by", "A vehicle", "Traffic", "A car goes past"),
        "arrow.wav": ("An arrow hits wood", "An arrow is shot", "A shot", "A hit", "Archery"),
    },
}


@pytest.fixture(scope="module")
def clotho(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clotho")
    for part, clips in SAID.items():
        (folder / part).mkdir()
        lines = ["file_name,caption_1,caption_2,caption_3,caption_4,caption_5"]
        for name, captions in clips.items():
            shutil.copy(EXAMPLES / name, folder / part / name)
            lines.append(",".join((name, *captions)))
        (folder / f"clotho_captions_{part}.csv").write_text("\n".join(lines) + "\n")
    write(build_rows(find_items("clotho", folder), "clotho", folder).rows, folder / "manifest.jsonl")
    return folder


@pytest.fixture
def make_run(clotho: Path, tmp_path: Path) -> Callable[..., Path]:
    """Keys -> the YAML file of a tiny run on the clips with captions."""

    def make(**keys: Any) -> Path:
        data = {"root": str(clotho), "captions": "manifest", "workers": 0, "time_masks": 0, "frequency_masks": 0}
        fields: dict[str, Any] = {
            "stage": "captioning", "output": str(tmp_path / "run"), "precision": "no", "labels": ["Dog"],
            "tag_weight": 0, "encoder": {"width": 16, "depth": 4, "heads": 2, "stem": "patch"},
            "connector": {"labels": 0}, "language_model": LM, "steps": 2,
            "batch_size": 2, "warmup_steps": 1, "log_every": 1, "validate_every": 2,
            "save_every": 2, **keys, "data": {**data, **keys.get("data", {})},
        }  # fmt: skip
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
        return tmp_path / "run.yaml"

    return make


def test_a_captioner_is_trained_on_described_clips_and_evaluated_on_them(
    make_run: Callable[..., Path], clotho: Path, tmp_path: Path
) -> None:
    folder = train(make_run(keep="best"))
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert '"val_cider_d"' in log and '"val_bleu_4"' in log
    model = sonopsis.load(folder, engine="torch")
    assert model.folder.config.caption_samples == 0
    figures = evaluate(model, clotho / "manifest.jsonl")["captions"]
    assert (figures["unread"], figures["model"]["clips"]) == (0, 2)
    said = model.folder.config.training["most_frequent_caption"]
    assert said in {caption for captions in SAID["development"].values() for caption in captions}
    assert figures["most_frequent_caption"]["clips"] == 2


def test_a_run_of_rank_0_leaves_the_language_model_as_it_is(make_run: Callable[..., Path], tmp_path: Path) -> None:
    config = load_config(path := make_run(lora={"rank": 0}, learning_rate=0.1))
    folder = train(path)
    assert not (tmp_path / "run" / "adapter").exists()
    set_seed(config.seed)
    before = Described(config, open_start(config), *banks(Path(config.data.root or ""))).module.lm
    after = sonopsis.load(folder, engine="torch").module.lm
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name].float(), value, atol=2e-3, rtol=2e-3, msg=name)  # float16


def banks(clotho: Path) -> tuple[ClipBank, ClipBank]:
    train_bank, held_out = (
        ClipBank(read(clotho / "manifest.jsonl", split), clotho) for split in ("train", "validation")
    )  # type: ignore[arg-type]
    return train_bank, held_out


def test_every_epoch_has_each_clip_once_with_one_of_its_captions(make_run: Callable[..., Path], clotho: Path) -> None:
    config = load_config(make_run())
    bank, _ = banks(clotho)
    said = [caption for row in bank.rows for caption in row.captions]
    tokenizer = train_tokenizer(said, 400)
    mel = open_start(config).mel
    source = DescribedClips(bank, bank.rows, ["Dog"], mel, config, tokenizer)
    for epoch in range(2):
        texts = []
        for step in (2 * epoch, 2 * epoch + 1):
            batch = source.batch(step)
            assert batch.ids is not None and batch.labels.isnan().all()
            texts += [tokenizer.decode([i for i in row if i not in (PADDING, 0)]).strip() for row in batch.ids.tolist()]
        rows = [next(row.path for row in bank.rows if text in row.captions) for text in texts]
        assert sorted(rows) == sorted(row.path for row in bank.rows)
    again = source.batch(1)
    assert torch.equal(again.mel, source.batch(1).mel)


def test_clips_of_a_batch_are_of_similar_length(make_run: Callable[..., Path], clotho: Path) -> None:
    config = load_config(make_run(data={"speed": 0.0}))
    bank, _ = banks(clotho)
    ends = np.random.default_rng(0).uniform(0.1, 3.0, 40)  # s
    cow = next(row for row in bank.rows if row.path.endswith("cow.ogg"))
    clips = [replace(cow, end=float(end)) for end in ends]
    tokenizer = train_tokenizer([caption for row in bank.rows for caption in row.captions], 400)
    source = DescribedClips(bank, clips, ["Dog"], open_start(config).mel, config, tokenizer)
    heard = np.mean([source.batch(step).mel.shape[1] / 100 for step in range(20)])  # s
    assert heard < ends.mean() + 0.6  # 0.3 of rounding; the longer of two at random has 0.5 more than their mean


def test_questions_of_the_manifest_are_learned_in_their_share(make_run: Callable[..., Path], clotho: Path) -> None:
    config = load_config(make_run(data={"questions": 0.5}))
    bank, held_out = banks(clotho)
    question = Question("What animal is it?", "a duck", "open-ended question")
    bank.rows = [replace(row, questions=(question,), captions=row.captions[:2]) for row in bank.rows[:3]]
    bank.rows[0] = replace(bank.rows[0], captions=())
    task = Described(config, open_start(config), bank, held_out)
    asks = 0
    for batch in task.batches(0, 40):
        assert batch.ids is not None and batch.targets is not None
        for ids, targets in zip(batch.ids.tolist(), batch.targets.tolist(), strict=True):
            learned = task.tokenizer.decode([i for i in targets if i not in (PADDING, 0)]).strip()
            read = task.tokenizer.decode([i for i in ids if i not in (PADDING, 0)]).strip()
            if learned == "a duck":
                assert read == f"{asked(question.text)} a duck"
            else:
                assert any(learned in row.captions for row in bank.rows)
            asks += learned == "a duck"
    assert 80 / 3 < asks < 80  # a third of the clips has questions alone, the others half and half


@pytest.mark.slow
def test_it_learns_what_is_said_of_real_recordings(make_run: Callable[..., Path], clotho: Path) -> None:
    data = {"speed": 0.0, "reverb": 0.0, "equaliser_db": 0.0, "band_limit": 0.0}
    # One clip in a batch: the helicopter's second is not followed by silence, in training as in use.
    keys = {"steps": 800, "batch_size": 1, "learning_rate": 2e-3, "ema": 0.97, "validate_every": 900, "log_every": 200}
    path = make_run(**keys, save_every=900, pruning={"schedule": "none"}, data=data)
    set_seed(0)
    model = sonopsis.load(train(path), engine="torch")
    texts = {name: model.caption(clotho / "development" / name)[0].text for name in SAID["development"]}
    assert sum(text in SAID["development"][name] for name, text in texts.items()) >= 3, texts


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"stage": "tagging"}, "data.captions: .*for stage captioning"),
        ({"encoder": {"train": "frozen"}, "data": {"scenes": 4}}, r"without data\.scenes"),
    ],
)
def test_captions_of_the_manifest_are_for_captioning(
    keys: dict[str, Any], says: str, make_run: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=says):
        load_config(make_run(**keys))


def test_a_manifest_without_captions_is_refused(
    make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank]
) -> None:
    config = make_config("captioning", data={"captions": "manifest"})
    with pytest.raises(ValueError, match=r"data\.captions: no training row"):
        Described(config, open_start(config), *clips)


def test_clips_are_captioned_beside_clips_of_like_length(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short clip beside a long one would be heard with silence behind it."""
    spans = ((0.0, 0.8), (0.0, 2.4), (1.0, 1.8), (0.5, 2.9))
    shutil.copy(EXAMPLES / "horse.ogg", tmp_path)
    rows = [Row("horse.ogg", a, b, ("Horse",), (), "h", "h", "CC0", "validation", str(a + b)) for a, b in spans]
    model, bank = sonopsis.load(tiny_model, engine="torch"), ClipBank(rows, tmp_path)
    assert isinstance(model.module, Captioner) and model.tokenizer is not None
    captioner, encode, heard = model.module, model.module.encode, []

    def watched(mels: torch.Tensor, *further: Any) -> Any:
        heard.append(tuple(mels.shape[:2]))
        return encode(mels, *further)

    monkeypatch.setattr(captioner, "encode", watched)
    arguments = captioner, model.tokenizer, bank.rows, bank, model.folder.mel, None
    alone, pairs = caption_clips(*arguments, batch_size=1), caption_clips(*arguments, batch_size=2)
    assert [shape for shape in heard if shape[0] == 2] == [(2, 80), (2, 240)]
    assert pairs == alone and len(pairs) == len(spans)
