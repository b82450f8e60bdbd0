"""The tasks of docs/results-pruning.md, and linear heads for frozen encoders on them.

A task has folds; in each, some sources are test, some validation and the others train. "general" is the manifest of
`sonopsis data manifest` with its one fixed fold. "words" is 47 English phrases of Hedgewars in ten voices, and every
voice is a test voice of one of five folds. "instruments" is notes of two sound fonts (pruning_instruments.py), each the
test of one fold. Of a clip the first SECONDS are heard.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import soundfile
import torch
from fit_head import Inputs, regression
from pruning_figures import TRAINED_HERE
from pruning_instruments import FONTS, instruments, split_of
from torch import Tensor

from sonopsis.audio import AudioError
from sonopsis.data.fetch import default_root
from sonopsis.data.manifest import Row, read
from sonopsis.data.splits import Split
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import mel_input, whisper_front_end
from sonopsis.metrics.evaluate import read_samples
from sonopsis.modules import save
from sonopsis.training.building import build_tagger
from sonopsis.training.config import EncoderTraining, TrainConfig
from sonopsis.training.start import open_start

Task = Literal["general", "words", "instruments"]
SECONDS: dict[Task, float] = {"general": 5.0, "words": 2.0, "instruments": 2.0}  # heard of a clip
JOINED = ("words", "instruments")  # what is chosen is chosen, so validation clips teach too
SHORTEST = 0.05  # seconds; of less, a token says nothing
PER_LABEL = 120  # training clips of a label, at most
VOICES = ("British", "Classic", "Default", "HillBilly", "Mobster", "Pirate", "Robot", "Russian", "Singer", "Surfer")
FOLDER = "audio/hedgewars-data/Sounds/voices"
FOLDS = 5  # of "words": two voices each
COMMON = 8  # voices that must speak a phrase
NO_WORD = re.compile(r"(ow|ooff|jump|firepunch|poison)\w*|ouch|laugh|hmm|nooo|kamikaze", re.IGNORECASE)
DECAYS = (5e-4, 5e-3, 5e-2)  # tried on validation sources
STARTS = {  # WORK is the folder of the study; configs/pruning/ has how its encoders are trained
    "whisper": "pretrained/whisper-tiny.en",
    "base": "pretrained/whisper-base",
    "default": "default",
    "scratch": "WORK/scratch-tagger/model",
    "masked": "WORK/masked-tagger/model",
}
Examples = tuple[Tensor, Tensor]  # what a head reads (C, W), and labels (C, labels)


def folds(task: Task) -> list[list[Row]]:
    """The rows of each fold of a task, every clip cut to SECONDS."""
    if task == "general":
        rows = read(default_root() / "manifest.jsonl", None)
        return [
            [
                replace(row, end=min(row.end, row.start + SECONDS[task]))
                for row in rows
                if row.end - row.start > SHORTEST
            ]
        ]
    if task == "instruments":
        notes = instruments()
        return [[replace(row, split=split_of(row.source, fold)) for row in notes] for fold in range(len(FONTS))]
    spoken = phrases()
    return [[replace(row, split=_split(row.source, fold)) for row in spoken] for fold in range(FOLDS)]


def phrases() -> list[Row]:
    """One row for each phrase and voice; raises FileNotFoundError when hedgewars-data was not fetched."""
    root = default_root()
    places = [path for voice in VOICES for path in sorted((root / FOLDER / voice).glob("*.ogg"))]
    if not places:
        raise FileNotFoundError(f"{root / FOLDER} has no voices; run `sonopsis data fetch --profile full` first")
    times = Counter(path.stem for path in places)
    found = []
    for path in places:
        if times[path.stem] < COMMON or NO_WORD.fullmatch(path.stem):
            continue
        length = min(soundfile.info(path).duration, SECONDS["words"])
        name, digest = str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()
        voice, word = path.parent.name, path.stem.lower()
        found.append(Row(name, 0.0, length, (word,), (), voice, voice, "GFDL-1.3", "train", digest))
    return found


def _split(voice: str, fold: int) -> Split:
    own = VOICES.index(voice) % FOLDS
    return "test" if own == fold else "validation" if own == (fold + 1) % FOLDS else "train"


def fit_heads(encoder: str, task: Task, work: Path) -> list[Path]:
    """A model folder for each fold of a task: the frozen encoder with a head; folders that are there are kept.

    The head of a pretrained encoder reads mean and maximum after each block, as that of the default model does; one
    that was TRAINED_HERE is read as in its training, and pruned by the scores that go with that. The penalty is the one
    with the best accuracy on validation sources; in JOINED tasks, training and validation sources then teach together.
    """
    place = STARTS[encoder].replace("WORK", str(work))
    if encoder == "default" and task == "general":  # the model has its own head
        return [Path(place)]
    parts = folds(task)
    made = [work / f"{encoder}-{task}-{number}" for number in range(len(parts))]
    if all((folder / "config.json").exists() for folder in made):
        return made
    pretrained = EncoderTraining(pooling="layers", window=10.0)  # Whisper's window is 30 s long
    own = EncoderTraining() if encoder in TRAINED_HERE else pretrained
    start = open_start(TrainConfig("tagging", "", place, encoder=own))
    labels = labels_of(parts)
    heard: dict[str, Tensor] = {}
    for folder, rows in zip(made, parts, strict=True):
        tagger = build_tagger(replace(start, labels=[]), labels).eval()
        statistics, head = tagger.encoder.statistics, tagger.head
        assert head is not None
        if statistics is not None:
            statistics.centre.zero_()
            statistics.deviation.fill_(1.0)

        def hear(row: Row, tagger: Tagger = tagger) -> Tensor:
            samples = read_samples([default_root()], row.path, row.start, row.end)
            with torch.inference_mode():
                mel = torch.from_numpy(mel_input(samples, start.mel))
                return tagger.encoder.pool(tagger.encoder(mel, pooled_only=True))

        train, validation = (examples(rows, labels, split, heard, hear) for split in ("train", "validation"))
        head.norm.load_state_dict(torch.nn.LayerNorm(head.width).state_dict())
        if statistics is not None:
            statistics.fit(train[0][:, head.width :])
        inputs = head.norm if statistics is None else Inputs(head, statistics).of
        with torch.no_grad():
            taught, checked = (inputs(train[0]), train[1]), (inputs(validation[0]), validation[1])
        weight, bias = chosen(taught, checked, join=task in JOINED)
        with torch.no_grad():
            head.linear.weight.copy_(weight)
            head.linear.bias.copy_(bias)
        save(tagger, folder, ModelConfig(labels, tagger.encoder.config), start.mel)
    return made


def log_mel(task: Task) -> dict[str, str]:
    """The baseline without an encoder: the label that a logistic regression on mean, deviation and maximum of each
    log-Mel bin gives every test clip, by path."""
    parts, mel = folds(task), whisper_front_end(1000, 80)
    labels = labels_of(parts)
    heard: dict[str, Tensor] = {}
    found: dict[str, str] = {}

    def hear(row: Row) -> Tensor:
        values = torch.from_numpy(mel_input(read_samples([default_root()], row.path, row.start, row.end), mel))[0]
        return torch.cat([values.mean(0), values.std(0), values.amax(0)])[None]

    for rows in parts:
        train, validation = (examples(rows, labels, split, heard, hear) for split in ("train", "validation"))
        centre, scale = train[0].mean(0), train[0].std(0).clamp(min=1e-4)
        scaled = [((part[0] - centre) / scale, part[1]) for part in (train, validation)]
        weight, bias = chosen(scaled[0], scaled[1], join=task in JOINED)
        for row in rows:
            if row.split == "test" and set(row.labels) & set(labels):
                try:
                    logits = (hear(row) - centre) / scale @ weight.T + bias
                except AudioError:
                    continue
                found[row.path] = labels[int(logits.argmax())]
    return found


def labels_of(parts: Sequence[Sequence[Row]]) -> list[str]:
    """The labels of a task, sorted: those with training clips in its first fold."""
    return sorted({label for row in parts[0] for label in row.labels if row.split == "train"})


def examples(
    rows: Sequence[Row], labels: Sequence[str], split: Split, heard: dict[str, Tensor], hear: Callable[[Row], Tensor]
) -> Examples:
    """The clips of a split, at most PER_LABEL of a label; what was `heard` before is not heard again."""
    times: Counter[str] = Counter()
    vectors, targets = [], []
    for row in sorted(rows, key=lambda row: (row.sha256, row.start)):
        known = [labels.index(name) for name in row.labels if name in labels]
        if row.split != split or not known or times[row.labels[0]] >= PER_LABEL:
            continue
        times[row.labels[0]] += 1
        if row.path not in heard:
            try:
                heard[row.path] = hear(row)
            except AudioError:
                continue
        vectors.append(heard[row.path])
        targets.append(torch.zeros(len(labels)).index_fill(0, torch.tensor(known), 1.0))
    return torch.cat(vectors), torch.stack(targets)


def chosen(train: Examples, validation: Examples, *, join: bool) -> tuple[Tensor, Tensor]:
    """Weights and biases with the penalty that is best on validation; with `join` both teach the head that is used."""
    right = {}
    for decay in DECAYS:
        weight, bias = regression(*train, decay)
        best = (validation[0] @ weight.T + bias).argmax(1, keepdim=True)
        right[decay] = float(validation[1].gather(1, best).mean())
    print(f"accuracy on validation by penalty: {right}", flush=True)
    best_decay = max(right, key=lambda decay: right[decay])
    if join:
        train = torch.cat([train[0], validation[0]]), torch.cat([train[1], validation[1]])
    return regression(*train, best_decay)
