"""configs/captioning: every file changes what it says it does, and builds a captioner of the length it promises."""

from pathlib import Path

import pytest
import torch

from sonopsis import lora
from sonopsis.encoder import EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import MelConfig
from sonopsis.modules import save
from sonopsis.training.building import build_captioner, of_sizes
from sonopsis.training.config import LanguageModelSizes
from sonopsis.training.configfile import load_config
from sonopsis.training.optimizer import freeze, make_optimizer
from sonopsis.training.rates import validation_pruning
from sonopsis.training.start import choose_labels, open_start

FOLDER = Path(__file__).parents[2] / "configs" / "captioning"
FILES = sorted(file.stem for file in FOLDER.glob("*.yaml") if file.stem != "curriculum")  # it has four runs
ENCODER = ["model=eat", "labels=[Dog]", "encoder.width=16", "encoder.depth=12", "encoder.heads=2"]
LANGUAGE_MODEL = ["language_model.width=32", "language_model.depth=2", "language_model.state=8"]
TINY = [*ENCODER, *LANGUAGE_MODEL, "language_model.head_dim=16", "language_model.vocabulary=300"]
TRANSFORMER = [*ENCODER, *LANGUAGE_MODEL[:2], "language_model.heads=2", "language_model.vocabulary=300"]
PREFIX = {  # of 64 x 8 patches; all others have 64 vectors
    "connector-time-major": 512 + 63, "connector-frequency-major": 512 + 7,
    "prefix-32": 32, "prefix-16": 16, "prefix-16-late": 16, "prefix-65": 65,
    "connector-mean-rows": 32, "connector-pool-2x2": 32, "prefix-128": 128, "prefix-2048": 2048,
    "pruned-time-major": 177 + 63,  # of 512 patches 359, then 252, then 177 stay
}  # fmt: skip
RANKS = {
    "lora-2": 2,
    "lora-32": 32,
    "lora-128": 128,
    "lora-256": 256,
    "lm-frozen": 0,
    "lm-full": None,
    "lm-scratch": None,
    "lm-smollm2-lora-32": 32,
    "lm-transformer": None,
    "lm-transformer-3x": None,
}
BLOCKS = {"encoder-frozen": range(0), "encoder-from-block-8": range(8, 12)}  # that are trained; all of others


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder in place of AST's, of 64 x 8 patches as well."""
    encoder = EncoderConfig(family="ast", width=8, depth=1, heads=2, frames=1024, stride=(16, 16))
    folder = tmp_path_factory.mktemp("second")
    save(Tagger(encoder, 1), folder, ModelConfig(["Dog"], encoder), MelConfig())
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_builds_the_captioner_that_it_names(name: str, second: Path) -> None:
    further = [f"second_encoder={second}"] if name == "encoder-second" else []
    config = load_config(FOLDER / f"{name}.yaml", further + (TRANSFORMER if "transformer" in name else TINY))
    assert (config.output, config.data.captions) == (f"runs/captioning/{name}", "manifest")
    start = open_start(config)
    labels = choose_labels(config, start, [])
    captioner, _ = build_captioner(config, start, labels, lambda: ["a dog barks", "it rains"])
    freeze(captioner.tagger.encoder, config.encoder)
    make_optimizer(captioner, config)

    with torch.inference_mode():
        encoded = captioner.eval().encode(torch.randn(1, 1024, 128), validation_pruning(12, config.pruning))
        assert captioner.connector(encoded).shape == (1, PREFIX.get(name, 64), 32)

    assert captioner.connector.config.second == (64 if further else 0)
    rank = RANKS.get(name, 8)
    assert (config.lora.rank if config.lora else None) == rank
    adapters = [name for name, _ in captioner.lm.named_parameters() if "adapters" in name]
    assert bool(adapters) == bool(rank) == lora.has_unmerged(captioner.lm)
    trained = [name for name, parameter in captioner.lm.named_parameters() if parameter.requires_grad]
    assert trained == ([name for name, _ in captioner.lm.named_parameters()] if rank is None else adapters)
    blocks = captioner.tagger.encoder.blocks
    found = [i for i, block in enumerate(blocks) if any(one.requires_grad for one in block.parameters())]
    assert found == list(BLOCKS.get(name, range(12)))


@pytest.mark.parametrize("name", [name for name in FILES if name != "base"])
def test_a_file_changes_one_thing(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ") and lines[1].startswith("base: ") and len(lines) <= 5
    below = lines[1].removeprefix("base: ").removesuffix(".yaml")
    one, base = (vars(load_config(FOLDER / f"{stem}.yaml")) for stem in (name, below))
    changed = {key for key in one if one[key] != base[key]} - {"output"}
    assert len(changed) == 1 or name in ("lm-scratch", "encoder-pretrained", "pruned-time-major")


def test_transformers_have_the_size_of_the_small_mamba2_and_three_times_as_much() -> None:
    pytest.importorskip("transformers")
    sizes = []
    for name in ("lm-scratch", "lm-transformer", "lm-transformer-3x"):
        wanted = load_config(FOLDER / f"{name}.yaml").language_model
        assert isinstance(wanted, LanguageModelSizes) and wanted.vocabulary == 4096
        sizes.append(sum(parameter.numel() for parameter in of_sizes(wanted, 4096, 0).parameters()))
    assert sizes[1] / sizes[0] == pytest.approx(1, abs=0.02)
    assert sizes[2] / sizes[0] == pytest.approx(3, abs=0.1)


def test_smollm2_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path))
    config = load_config(FOLDER / "lm-smollm2.yaml", ENCODER)
    with pytest.raises(ValueError, match=r"language_model: .*pretrained/smollm2: no such model; .*`make smollm2`"):
        build_captioner(config, open_start(config), ["Dog"], lambda: ["a dog"])


@pytest.mark.parametrize("size", ["130m", "370m", "780m", "1.3b", "2.7b"])
def test_a_language_model_that_is_not_here_says_where_it_is(size: str) -> None:
    name = "base" if size == "130m" else f"lm-{size}"
    config = load_config(FOLDER / f"{name}.yaml", ENCODER)
    with pytest.raises(ValueError) as error:
        build_captioner(config, open_start(config), ["Dog"], lambda: ["a dog"])
    folder = f"weights/mamba2-{size}"
    assert str(error.value) == (
        f"language_model: {folder} is not here; get it with `hf download state-spaces/mamba2-{size} "
        f"--local-dir {folder}`, and `hf download EleutherAI/gpt-neox-20b tokenizer.json --local-dir {folder}`"
    )


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("weights/EAT-base_epoch30_finetune_AS2M", "hf download worstchan/EAT-base_epoch30_finetune_AS2M --local-dir"),
        ("weights/audioset_16_16_0.4422.pth", "README of YuanGongND/ast"),
        ("weights/pretrained.pth", "README of facebookresearch/AudioMAE"),
    ],
)
def test_an_encoder_that_is_not_here_says_where_it_is(model: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"model: {model} is not here; .*{says}"):
        open_start(load_config(FOLDER / "base.yaml", [f"model={model}"]))
