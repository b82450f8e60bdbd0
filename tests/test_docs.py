"""The examples of README and docs: Python blocks run, shell blocks run, command lines parse, promised output comes.

- A fence ```python runs, in order, in one namespace a page. A fence ```sh runs its `sonopsis` and `curl` commands. A
  fence ```text that follows one of them is what it prints.
- `sonopsis serve ... &` runs until the end of the page, at a free port that stands for 8000.
- `<!-- not run: reason -->` in the line before a fence leaves it out.
- Every other line that begins with `sonopsis` only has to be a command line that exists.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from sonopsis.checkpoints.keys import affine, blocks
from sonopsis.cli.main import app
from sonopsis.encoder import PRESETS, Encoder, Tagger
from sonopsis.mamba2 import Mamba2LM

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CARD = ROOT / "src" / "sonopsis" / "pretrained" / "default" / "README.md"
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"^\s*(?:\$ )?((?:sonopsis|curl) .+)$", re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.\d+")
AST_NAME = "MIT/ast-finetuned-audioset-10-10-0.4593"


def fences(page: Path) -> list[tuple[str, str]]:
    """(kind, body) of the fences that run, and of the output that follows them."""
    text = page.read_text(encoding="utf-8")
    return [(found["kind"], found["body"]) for found in FENCE.finditer(text) if found["reason"] is None]


RUN = [page for page in PAGES if {"python", "sh"} & {kind for kind, _ in fences(page)}]
SLOW = {"researchers.md"}  # it trains


# ---- what the pages speak of


def write_street(place: Path) -> None:
    soundfile.write(place, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)


def write_examples(place: Path) -> None:
    shutil.copytree(ROOT / "examples", place)


def write_week(place: Path) -> None:
    """Short recordings under the names that recorders give."""
    for name in ("meadow/MEADOW_20240501_053000", "meadow/MEADOW_20240501_060000", "wood/20240501_053000"):
        file = place / f"{name}.flac"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "examples" / "lock_gate.flac", file)


def write_film(place: Path) -> None:
    """A black film of 12 s, whose sound begins at second 2: a cow, silence, a horse, silence."""
    av = pytest.importorskip("av")
    heard = [soundfile.read(ROOT / "examples" / f"{name}.ogg", dtype="float32")[0] for name in ("cow", "horse")]
    sound = np.concatenate([np.pad(samples, (0, 2 * 16_000)) for samples in heard])
    with av.open(str(place), "w") as film:
        picture, track = film.add_stream("mpeg4", rate=1), film.add_stream("aac", rate=16_000)
        picture.width = picture.height = 16
        track.layout = "mono"
        for second in range(12):
            image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            image.pts = second
            film.mux(picture.encode(image))
        film.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 2 * 16_000, Fraction(1, 16_000)
        film.mux(track.encode(frame))
        film.mux(track.encode())


def write_esc50(place: Path) -> None:
    """Two classes of ESC-50 in its layout: stretches of a cow and a helicopter, each from a source of its own."""
    (place / "audio").mkdir(parents=True)
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for target, name in enumerate(("cow", "helicopter")):
        samples, rate = soundfile.read(ROOT / "examples" / f"{name}.ogg", dtype="float32")
        for number in range(20):
            fold, source = number % 5 + 1, 100 + 20 * target + number
            file = f"{fold}-{source}-A-{target}.wav"
            soundfile.write(place / "audio" / file, np.roll(samples, number * len(samples) // 20), rate)
            rows.append(f"{file},{fold},{target},{name},False,{source},A")
    (place / "esc50.csv").write_text("\n".join(rows) + "\n")


def write_configs(place: Path) -> None:
    shutil.copytree(ROOT / "configs", place)


def write_ast(place: Path) -> None:
    """A random AST of transformers with 8 bands x 6 times, in which attention is sharp."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    strides = {"max_length": 96, "frequency_stride": 16, "time_stride": 16}
    config = transformers.ASTConfig(**sizes, **strides, num_labels=5, initializer_range=0.3)
    transformers.ASTForAudioClassification(config).save_pretrained(place)
    transformers.ASTFeatureExtractor(max_length=96).save_pretrained(place)


def write_audiomae(place: Path) -> None:
    """A random fine-tuned AudioMAE with a published width and the names of the published files."""
    config = replace(PRESETS["audiomae"], width=192, heads=3, depth=4, frames=128)
    own = Tagger(config, 5).state_dict()
    names = {"encoder.prefix": ("cls_token",), "encoder.positions": ("pos_embed",), **blocks("blocks.", 4)}
    names |= affine("encoder.stem.proj", ["patch_embed.proj"])
    names |= affine("head.norm", ["fc_norm"]) | affine("head.linear", ["head"])
    torch.save({names[name][0]: tensor.contiguous() for name, tensor in own.items()}, place)


def write_exported(place: Path) -> None:
    """A small exported model with the grid of a whole AST."""
    pytest.importorskip("onnx")
    import sonopsis
    from sonopsis.folder import ModelConfig
    from sonopsis.mel import MelConfig
    from sonopsis.modules import save

    config = replace(PRESETS["ast"], width=32, heads=2, depth=4)
    unexported = place.with_name("unexported")
    save(Tagger(config, 5), unexported, ModelConfig(list("abcde"), config), MelConfig())
    sonopsis.load(unexported, engine="torch").export(place, to="onnx")


def write_lm(place: Path, lm: Mamba2LM) -> None:
    lm.save(place)


PROPS: dict[str, Callable[[Path], None]] = {
    "street.wav": write_street,
    "examples": write_examples,
    "week/": write_week,
    "film.mp4": write_film,
    "esc50/": write_esc50,
    "configs/": write_configs,
    AST_NAME: write_ast,
    "audiomae.pth": write_audiomae,
    "best_model.pth": write_audiomae,
    "DIR": write_exported,
}


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts into the working folder what a page names: recordings, models of the published names, small and random."""
    monkeypatch.chdir(tmp_path)

    def furnish(text: str) -> None:
        for name, write in PROPS.items():
            if name in text:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                write(tmp_path / name)

    return furnish


def given(lm: Mamba2LM, folder: Path) -> dict[str, dict[str, Any]]:
    """The variables that a page takes for granted, for each page that does."""
    torch.manual_seed(2)
    encoder = Encoder(replace(PRESETS["ast"], width=32, heads=2, depth=12, frames=128)).eval()
    batches = [(torch.randn(3, 96, 128), torch.tensor([0, 1, 2]))] * 3
    return {
        "prune-your-model.md": {"batches": batches},
        "pruning.md": {"encoder": encoder, "mel": torch.randn(1, 128, 128)},
        "mamba2.md": {"folder": folder, "ids": torch.tensor([[1, 2, 3]])},
    }


# ---- run


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page.name in SLOW else [], id=page.name) for page in RUN]
)
def test_a_page_does_what_it_says(
    page: Path, workshop: Callable[[str], None], lm: Mamba2LM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = fences(page)
    workshop("\n".join(body for kind, body in runs if kind in ("python", "sh")))
    lm.save(tmp_path / "lm")
    names = given(lm, tmp_path / "lm").get(page.name, {})
    printed, port = "", str(free_port())
    with ExitStack() as services:
        for kind, body in runs:
            body = body.replace("localhost:8000", f"localhost:{port}")
            if kind == "python":
                capsys.readouterr()
                exec(compile(body, page.name, "exec"), names)
                printed = capsys.readouterr().out
            elif kind == "sh":
                printed = "".join(run(command, port, services) for command in COMMAND.findall(body))
            elif kind == "text":
                assert_alike(printed, body)
    if check := CHECKS.get(page.name):
        check(names)


def run(command: str, port: str, services: ExitStack) -> str:
    """The standard output of a command line; it may not fail. A service at `port` ends with `services`."""
    words = shlex.split(command, comments=True)
    if words[0] == "curl":
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout
    if words[-1] == "&":
        start(words[1:-1], port, services)
        return ""
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{command}: {result.output}"
    return result.stdout


def start(options: list[str], port: str, services: ExitStack) -> None:
    """`sonopsis serve` at a port, in a process of its own; it is ready when this returns."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    command = [sys.executable, "-m", "sonopsis", *options, "--port", port]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    service = services.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    services.callback(service.kill)
    assert service.stderr is not None
    line = service.stderr.readline()
    assert "listening" in line, line + service.stderr.read()


def free_port() -> int:
    """A port that no program listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def assert_alike(printed: str, promised: str) -> None:
    """The same text, and numbers with a point within 0.011, because processors round differently."""
    assert NUMBER.sub("#", printed).strip() == NUMBER.sub("#", promised).strip(), printed
    ours, theirs = ([float(number) for number in NUMBER.findall(text)] for text in (printed, promised))
    assert ours == pytest.approx(theirs, abs=0.011)


def pruned_again_after_training(names: dict[str, Any]) -> None:
    names["scores"]()
    assert [stage.shape[1] for stage in names["model"].sonopsis_trace] == [34, 24, 17]


CHECKS = {"prune-your-model.md": pruned_again_after_training}


# ---- command lines


def command_lines(page: Path) -> Iterator[str]:
    """Every command line of a page, as the shell would see it: in boxes, and inside sentences (`sonopsis ...`)."""
    text = page.read_text(encoding="utf-8")
    boxes = [found["body"] for found in FENCE.finditer(text) if found["kind"] in ("", "sh", "bash")]
    boxes += re.findall(r"^ {4,}.+$", text, re.MULTILINE)
    spans = re.findall(r"(?<!`)`(sonopsis [^`]+)`(?!`)", text)
    for line in [*COMMAND.findall("\n".join(boxes)), *(" ".join(span.split()) for span in spans)]:
        for part in re.split(r"&&?|\|", line.split(" > ")[0]) if line.startswith("sonopsis ") else ():
            if part.strip().startswith("sonopsis "):
                yield part.strip()


def problem(line: str) -> str | None:
    """Why the command line does not exist, or None; placeholders such as MODEL stand for themselves."""
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    command: Any = typer.main.get_command(app)
    context = command.context_class(command)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command, name = command.commands.get(words[0]), words.pop(0)
        if command is None:
            return f"there is no command {name!r}"
        context = command.context_class(command, parent=context)
    if hasattr(command, "commands"):
        return None
    try:
        _, rest, _ = command.make_parser(context).parse_args(words)
    except Exception as error:
        return str(error)
    return f"{rest} is too much" if rest else None


@pytest.mark.parametrize("page", [*PAGES, CARD], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_exists(page: Path) -> None:
    wrong = [f"{line}: {why}" for line in command_lines(page) if (why := problem(line)) is not None]
    assert not wrong, "\n".join(wrong)


def test_a_command_line_that_does_not_exist_is_noticed() -> None:
    assert problem("sonopsis tag a.wav --keep-rate 0.5") is None
    for wrong in ("sonopsis tag a.wav --keep-rat 0.5", "sonopsis hear a.wav", "sonopsis export M -o D extra"):
        assert problem(wrong) is not None, wrong
