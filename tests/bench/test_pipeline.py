"""A folder of recordings, in and out."""

from dataclasses import replace
from pathlib import Path

import pytest

from sonopsis.bench import pipeline
from sonopsis.bench.sounds import write_clips
from sonopsis.bench.weights import Subject, write_random
from sonopsis.encoder.config import PRESETS


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    config = replace(PRESETS["ast"], width=32, depth=4, heads=4)
    return write_random(config, 7, tmp_path_factory.mktemp("ast") / "tiny")


def test_variants_tag_every_clip_once_before_any_twice(subject: Subject, tmp_path: Path) -> None:
    clips = write_clips(tmp_path, 6)
    (ours,) = pipeline.variants(subject, clips, 2, ["torch"], [0.7], ["float32"], peers=False)
    parts = ours.prepare.args[1]  # type: ignore[attr-defined]
    assert [name for part in parts for name in part] == [str(clip) for clip in clips]
    assert ours.units == 2
    tag = ours.prepare()
    for clip in clips[2:4]:
        clip.unlink()
    tag()
    with pytest.raises(ValueError, match="could not be tagged"):
        tag()
    tag()


def test_peers_tag_the_same_clips(subject: Subject, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    clips = write_clips(tmp_path, 2)
    found = pipeline.variants(subject, clips, 2, ["torch"], [1.0], ["float32", "bfloat16"], peers=True)
    assert [variant.name for variant in found] == [
        "transformers AST fp32",
        "transformers AST bf16",
        "sonopsis tag, torch fp32, keep 1",
        "sonopsis tag, torch bf16, keep 1",
    ]
    found[0].prepare()()
