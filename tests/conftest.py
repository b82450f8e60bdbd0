"""What tests of several rooms share: one thread a process, two ways to draw examples, tiny models, recordings.

Property tests draw the same examples on every machine; SONOPSIS_TESTS=explore (`make explore`) draws new ones.
"""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist fills the cores

import hypothesis
import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

# A shell that starts a program in the background has it ignore Ctrl-C, and what that starts does too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Neither profile looks at a clock, nor at examples that an earlier run has stored.
COMMON = {"deadline": None, "database": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **COMMON)
hypothesis.settings.register_profile("explore", print_blob=True, **COMMON)
PROFILE = os.environ.get("SONOPSIS_TESTS", "same")
hypothesis.settings.load_profile(PROFILE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how a failure of the exploration is repeated and kept."""
    if PROFILE == "explore" and terminalreporter.stats.get("failed"):
        seed = config.getoption("--hypothesis-seed")
        terminalreporter.section("an example that breaks a property was found")
        terminalreporter.write_line(
            "This is a fault of the code (or of the test), which the examples of `make test` do not show.\n"
            "Keep it: write the falsifying example printed above over the test as @example(...); where the test draws "
            "with st.data(), write a test of its own with that value. Then mend the code.\n"
            f"Repeat it: SONOPSIS_TESTS=explore python -m pytest --hypothesis-seed={seed} TEST"
        )


LABELS = ["Dog", "Cat", "Water", "Speech", "Bird", "Alarm"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that tags and captions 2.56 s at once."""
    from sonopsis.captioning.captioner import Captioner
    from sonopsis.captioning.config import ConnectorConfig
    from sonopsis.files import TOKENIZER
    from sonopsis.folder import ModelConfig
    from sonopsis.mel import MelConfig
    from sonopsis.modules import save

    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()

    torch.manual_seed(0)
    encoder = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=256)
    connector = ConnectorConfig(encoder_width=16, width=16, frequency_rows=8)
    lm = Mamba2Config(width=16, depth=1, vocab_size=len(alphabet), state=8, head_dim=8)
    config = ModelConfig(LABELS, encoder, connector, lm, max_caption_tokens=6, training={"steps": 0})
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(Captioner(encoder, len(LABELS), connector, lm), folder, config, MelConfig(frames=256, multiple=16))
    tokenizer.save(str(folder / TOKENIZER))
    return folder


@pytest.fixture(scope="session")
def answering_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, said to have learned to answer questions, with graphs."""
    from dataclasses import replace

    from sonopsis.folder import describe, write_description
    from sonopsis.graphs.write import write_graphs

    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("models") / "answering")
    found = describe(folder)
    config = replace(found.config, answers=True)
    write_description(folder, config, found.mel)
    write_graphs(config, found.weights)
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: noise.wav (6 s), deep/tone.flac (1 s), deep/silence.ogg (1 s), and notes.txt."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "deep").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * 16_000)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(folder / "noise.wav", noise, 16_000)
    soundfile.write(folder / "deep" / "tone.flac", tone, 44_100)
    soundfile.write(folder / "deep" / "silence.ogg", np.zeros(16_000), 16_000)
    (folder / "notes.txt").write_text("not a recording\n")
    return folder


@pytest.fixture
def make_encoder() -> Callable[..., Encoder]:
    """Keyword arguments of EncoderConfig -> an encoder in evaluation mode with random weights."""

    def make(**changes: Any) -> Encoder:
        fields: dict[str, Any] = {"family": "sonopsis", "width": 32, "depth": 3, "heads": 4, "frames": 64}
        torch.manual_seed(0)
        encoder = Encoder(EncoderConfig(**{**fields, **changes}))
        with torch.no_grad():
            for parameter in encoder.parameters():  # biases and norms start as constants, which would hide errors
                parameter += 0.15 * torch.randn_like(parameter)
        return encoder.eval()

    return make


SIZES = {"width": 32, "depth": 3, "vocab_size": 61, "state": 16, "head_dim": 16, "chunk": 8}


@pytest.fixture
def make_lm() -> Callable[..., Mamba2LM]:
    """A model of 3 layers whose parameters are all random, so that no term hides behind a zero or a one."""

    def make(seed: int = 0, **sizes: object) -> Mamba2LM:
        torch.manual_seed(seed)
        model = Mamba2LM(Mamba2Config.from_dict({**SIZES, **sizes}))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return model.eval()

    return make


@pytest.fixture
def lm(make_lm: Callable[..., Mamba2LM]) -> Mamba2LM:
    return make_lm()


@pytest.fixture
def ids() -> torch.Tensor:
    """Two sequences of 21 tokens: three chunks, the last one short."""
    return torch.randint(0, SIZES["vocab_size"], (2, 21), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def peer() -> Callable[[Mamba2LM], torch.nn.Module]:
    """Makes transformers' model with the weights of ours."""
    transformers = pytest.importorskip("transformers")

    def build(lm: Mamba2LM) -> torch.nn.Module:
        config = lm.config
        other = transformers.Mamba2ForCausalLM(
            transformers.Mamba2Config(
                hidden_size=config.width,
                num_hidden_layers=config.depth,
                vocab_size=config.vocab_size,
                num_heads=config.heads,
                head_dim=config.head_dim,
                state_size=config.state,
                n_groups=config.groups,
                expand=config.expand,
                conv_kernel=config.conv,
                tie_word_embeddings=config.tie_embeddings,
                pad_token_id=0,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        other.load_state_dict({**lm.state_dict(), "lm_head.weight": lm.lm_head.weight})
        return other.eval()

    return build


PITCHES = {"Dog": 300.0, "Cattle, bovinae": 150.0, "Bird": 2500.0, "Water": 0.0, "Alarm": 600.0, "Speech": 1000.0}
RATE = 16_000


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root, with manifest.jsonl."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        for i, (label, pitch) in enumerate(PITCHES.items()):
            for take in range(3):
                rng = np.random.default_rng([len(rows), i])
                seconds = 0.8 + 0.3 * take
                time = np.arange(int(seconds * RATE)) / RATE
                wave = np.sin(2 * np.pi * pitch * (1 + 0.03 * take) * time) if pitch else rng.standard_normal(len(time))
                path = f"audio/{split}/{label}-{take}.wav"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / path, 0.2 * wave + 0.001 * rng.standard_normal(len(time)), RATE)
                rows.append(
                    {"path": path, "start": 0.0, "end": seconds, "labels": [label], "captions": [], "source": split}
                    | {"family": f"{split}:{label}{take}", "licence": "CC0", "split": split}
                    | {"sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest()}
                )
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def child_handler() -> Iterator[None]:
    """Let no handler of SIGCHLD outlive its test: on some processors a later test's child process would end this one.

    See `sonopsis.training.batches.stream`.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven through selenium, whose microphone plays beeps; skips where Debian's is not there."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    microphone = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    for name in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", *microphone):
        options.add_argument(f"--{name}")
    with webdriver.Chrome(options, Service(driver)) as chromium:
        chromium.set_script_timeout(60)
        yield chromium


@pytest.fixture
def resize(browser: Any) -> Iterator[Callable[[int, int], None]]:
    """Gives the browser's page a width and a height in CSS pixels, for one test."""

    def resized(width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    yield resized
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


WORDS = ("yes", "no", "up")


@pytest.fixture
def published() -> Callable[[str, Path], Path]:
    """A data set's layout and a folder -> the folder, with a few clips of noise and the lists exactly as published."""
    return write_published


def write_published(layout: str, root: Path) -> Path:
    """The clips are WAV files of their data set's length, each with noise of its own."""
    lists: dict[str, str] = {}
    clips: dict[str, float] = {}  # path: seconds
    if layout == "audioset-20k":
        lists["class_labels_indices.csv"] = (
            'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n2,/m/0bt9lr,"Dog"\n'
        )
        rows = {"balanced_train": [], "eval": []}  # type: dict[str, list[str]]
        for number in range(8):
            video, start = f"-_video{number:04d}", 10 * number
            part = "balanced_train" if number < 6 else "eval"
            classes = "/m/0bt9lr" if number % 2 else "/m/09x0r,/m/05zppz"
            rows[part].append(f'{video}, {start}.000, {start + 10}.000, "{classes}"')
            clips[f"{part}_segments/{video}.wav"] = 10.0
        for part, lines in rows.items():
            head = ["# Segments csv created Sun Mar  5 10:54:25 2017", f"# num_ytids={len(lines)}"]
            head.append("# YTID, start_seconds, end_seconds, positive_labels")
            lists[f"{part}_segments.csv"] = "\n".join([*head, *lines]) + "\n"
    elif layout == "esc50":
        lines = ["filename,fold,target,category,esc10,src_file,take"]
        for fold in range(1, 6):
            for target, name in ((0, "dog"), (14, "chirping_birds")):
                file = f"{fold}-1000{fold}{target}-A-{target}.wav"
                lines.append(f"{file},{fold},{target},{name},{name == 'dog'},1000{fold}{target},A")
                clips[f"audio/{file}"] = 5.0
        lists["meta/esc50.csv"] = "\n".join(lines) + "\n"
    elif layout == "speech-commands":
        for word in WORDS:
            clips |= {f"{word}/{speaker}_nohash_0.wav": 1.0 for speaker in ("004ae714", "0132a06d", "c1d39ce8")}
        clips["_background_noise_/white_noise.wav"] = 2.0
        lists["validation_list.txt"] = "".join(f"{word}/0132a06d_nohash_0.wav\n" for word in WORDS)
        lists["testing_list.txt"] = "".join(f"{word}/c1d39ce8_nohash_0.wav\n" for word in WORDS)
    elif layout == "voxceleb1":
        paths = [(part, f"id1000{who}/video{part}/00001.wav") for who in (1, 2) for part in (1, 2, 3)]
        clips = {f"wav/{path}": 4.0 for _, path in paths}
        lists["iden_split.txt"] = "".join(f"{part} {path}\n" for part, path in paths)
    else:
        raise ValueError(layout)
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for number, (name, seconds) in enumerate(clips.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, round(seconds * 16_000))
        soundfile.write(root / name, noise, 16_000)
    return root
