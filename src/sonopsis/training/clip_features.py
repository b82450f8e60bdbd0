"""Clips that people described, which a frozen encoder hears a few times (`data.hearings`); heard.py keeps it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import Clip
from sonopsis.data.manifest import Question
from sonopsis.training.batches import Batch
from sonopsis.training.config import TrainConfig
from sonopsis.training.described_clips import DescribedClips, something_said
from sonopsis.training.heard import IN_A_FILE, HeardExamples, Saying, hear, place


def clip_features_folder(captioner: Captioner, source: DescribedClips, config: TrainConfig) -> Path:
    """Where the files of a run are: a folder of its output, named for all that decides what is in them."""
    known = [(clip.sha256, clip.start, clip.end, clip.labels, clip.captions, _pairs(clip)) for clip in source.clips]
    return place("clips", captioner, source, config, {"clips": known})


def _pairs(clip: Clip) -> list[tuple[str, str]]:
    """A clip's questions and answers."""
    return [(one.text, one.answer) for one in clip.questions]


def hear_clips(captioner: Captioner, source: DescribedClips, folder: Path, config: TrainConfig) -> list[Path]:
    """The files of all clips, each heard `data.hearings` times; those that are missing are written."""
    assert config.data.hearings is not None

    def about(number: int) -> dict[str, str]:
        clips = source.hearings(number, IN_A_FILE)
        questions = [_pairs(clip) for clip in clips]
        return {"captions": json.dumps([clip.captions for clip in clips]), "questions": json.dumps(questions)}

    def batch(number: int) -> Batch:
        return source.to_hear(number, IN_A_FILE)

    count = config.data.hearings * len(source.clips)
    return hear(captioner, folder, count, source.seed, config, batch, about)


def heard_clips(files: list[Path], source: DescribedClips, config: TrainConfig) -> HeardExamples:
    """Batches of clips that were heard, each with one of its captions, or, in the share `data.questions`, with one of
    its questions and the answer."""

    def sayings(about: Mapping[str, str]) -> list[Saying]:
        captions, questions = (json.loads(about[name]) for name in ("captions", "questions"))
        asked = [[Question(*one) for one in some] for some in questions]
        return [partial(something_said, *pair, config.data.questions) for pair in zip(captions, asked, strict=True)]

    assert config.data.hearings is not None
    count = config.data.hearings * len(source.clips)
    return HeardExamples(
        files, count, sayings, size=config.batch_size, seed=config.seed, tokenizer=source.tokenizer, data=config.data
    )
