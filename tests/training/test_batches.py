"""Batches are a function of seed and step, and hold what they say."""

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.data.splits import Split
from sonopsis.encoder import PRESETS
from sonopsis.mel import MelConfig
from sonopsis.scenes.scene import Event, Scene
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training import tokens
from sonopsis.training.asking import training_captions
from sonopsis.training.batches import Batch, Mixtures, Scenes, by_length, excerpt, sounding_labels, stack, stream
from sonopsis.training.config import DataConfig
from sonopsis.training.start import FRONT_ENDS
from sonopsis.training.tokens import PADDING, encode_captions

NAMES = list(LEAVES)
MEL, ENCODER = FRONT_ENDS["small"], PRESETS["small"]


def train_tokenizer(clips: ClipBank, vocabulary: int) -> Tokenizer:
    return tokens.train_tokenizer(training_captions(clips), vocabulary)


def bank(root: Path, split: Split = "train") -> ClipBank:
    return ClipBank(read(root / "manifest.jsonl", split), root)


def test_a_bank_holds_its_split_decoded(root: Path) -> None:
    clips = bank(root)
    assert len(clips.rows) == 18 and {row.split for row in clips.rows} == {"train"}
    row = clips.rows[0]
    assert len(clips.read(row.path)) == round(row.end * 16_000)
    assert row.active[0][0] < 0.05 and abs(row.active[-1][1] - row.end) < 0.05
    again = bank(root)
    np.testing.assert_array_equal(clips.read(row.path), again.read(row.path))


def test_mixtures_repeat_by_step_and_hold_one_or_two_labels(root: Path) -> None:
    source = Mixtures(bank(root), NAMES, MEL, DataConfig(), 8, seed=3)
    first, same, other = source.batch(5), source.batch(5), source.batch(6)
    assert torch.equal(first.mel, same.mel) and torch.equal(first.labels, same.labels)
    assert not torch.equal(first.mel, other.mel)
    assert first.mel.shape == (8, 256, 128) and set(first.labels.sum(1).tolist()) <= {1.0, 2.0}
    assert bool(torch.isfinite(first.mel).all())


def test_scenes_carry_their_labels_and_one_of_their_captions(root: Path) -> None:
    clips = bank(root)
    tokenizer = train_tokenizer(clips, 400)
    source = Scenes(clips, NAMES, MEL, DataConfig(workers=0), 4, 0, tokenizer, encoder=ENCODER)
    batches = [source.batch(step) for step in range(4)]
    scenes = source._group(0)
    for step, batch in enumerate(batches):
        assert batch.ids is not None and batch.mel.shape[1] % 16 == 0
        for i, scene in enumerate(scenes[4 * step : 4 * step + 4]):
            assert {NAMES[j] for j in batch.labels[i].nonzero()[:, 0]} == set(scene.labels)
            ids = batch.ids[i][batch.ids[i] != PADDING].tolist()
            assert ids[-1] == 0 and tokenizer.decode(ids).strip() in scene.captions


def test_a_stream_gives_the_same_batches_with_and_without_processes(root: Path) -> None:
    source = Mixtures(bank(root), NAMES, MEL, DataConfig(), 2, seed=0)
    for workers in (0, 2):
        found = list(stream(source.batch, 3, 7, workers))
        assert [torch.equal(batch.mel, source.batch(3 + i).mel) for i, batch in enumerate(found)] == [True] * 4


def test_an_excerpt_is_never_empty_where_rounding_leads_beyond_the_clip() -> None:
    """The clip ends at 1.2345 s, its last stretch at 1.23 or, rounded up, at 1.24 s."""
    samples = np.arange(19752, dtype=np.float32)
    for end in (1.23, 1.24):
        for length in (1, 50, 16000, 30000):
            for seed in range(20):
                piece = excerpt(samples, [(0.2, 0.5), (1.0, end)], length, np.random.default_rng(seed))
                assert 0 < len(piece) <= length
                assert np.array_equal(piece, samples[int(piece[0]) : int(piece[-1]) + 1]) and piece[0] >= 3200


def test_shorter_clips_are_padded_as_the_front_end_pads() -> None:
    short, long = np.full((16, 128), -2.0, np.float32), np.full((48, 128), -3.0, np.float32)
    batch = stack([short, long], MEL)
    assert batch.shape == (2, 48, 128) and bool((batch[0] == -2).all()) and bool((batch[1] == -3).all())
    zero = stack([short, long], MelConfig(1024, mean=-4.0, std=2.0, multiple=16), 64)  # log-Mel 0 is (0 + 4) / 4
    assert zero.shape == (2, 64, 128) and bool((zero[0, 16:] == 1).all()) and bool((zero[1, 48:] == 1).all())
    assert stack([long], MelConfig(48, multiple=16), 64).shape == (1, 48, 128)  # no more than the model hears


def test_captions_end_with_the_end_of_text(root: Path) -> None:
    tokenizer: Tokenizer = train_tokenizer(bank(root), 400)
    ids = encode_captions(tokenizer, ["a dog barking", "a dog barking and then a bird"])
    assert ids.shape[1] % 8 == 0 and ids[0, -1] == PADDING
    for row, caption in zip(ids, ("a dog barking", "a dog barking and then a bird"), strict=True):
        kept = row[row != PADDING].tolist()
        assert kept[-1] == 0 and kept.count(0) == 1 and tokenizer.decode(kept).strip() == caption


def test_sounding_labels_are_the_facts_in_steps_of_the_encoder() -> None:
    dog = Event("0", "a.wav", 3.0, 3.25, "Dog", onset=0.5, gain_db=0.0)
    bird = replace(dog, label="Bird", onset=0.0)
    wind = Event("1", "b.wav", 0.0, 1.0, "Wind", onset=0.0, gain_db=-10.0)
    overlap = Scene("a", "train", "overlap", 1.28, (dog, bird), None, -60.0, False, (), ())
    over_wind = Scene("b", "train", "bed", 0.64, (replace(dog, onset=0.1),), wind, -60.0, False, (), ())
    scenes = [overlap, over_wind]
    found = sounding_labels(scenes, ["Bird", "Dog", "Wind"], 128, ENCODER)  # steps of 0.16 s
    assert found.shape == (2, 8, 3)
    assert found[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert found[0, :, 1].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert found[0, :, 2].sum() == 0
    assert found[1, :, 1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert found[1, :, 2].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    pooled = sounding_labels(scenes, ["Bird", "Dog", "Wind"], 128, ENCODER, 3)  # steps of 0.48 s
    steps = torch.nn.functional.pad(found, (0, 0, 0, 1)).reshape(2, 3, 3, 3)
    assert torch.equal(pooled, steps.amax(dim=2))  # what sounds in any of three steps


def test_facts_are_those_of_the_scenes_that_would_be_heard(root: Path) -> None:
    clips = bank(root)
    source = Scenes(clips, NAMES, MEL, DataConfig(workers=0), 4, 0, train_tokenizer(clips, 400), encoder=ENCODER)
    facts = source.facts(2)
    assert torch.equal(facts.labels, source.batch(2).labels)
    assert facts.sounding is not None and torch.equal(facts.sounding.amax(1), facts.labels)


def test_worker_processes_leave_no_handler_behind() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    batches = list(stream(partial(Batch, torch.zeros(1, 1, 1), torch.zeros(1, 1)), 0, 3, workers=1))
    assert len(batches) == 3 and signal.getsignal(signal.SIGCHLD) is before


def test_every_change_repeats_by_step_and_in_other_processes(root: Path) -> None:
    data = DataConfig(
        device=0.5, codec=0.5, quieter_db=20, filter_db=4, mixstyle=0.5, ratio_mixing=0.5, label_power=0.5
    )
    source = Mixtures(bank(root), NAMES, MEL, data, 4, seed=1)
    here = [source.batch(step) for step in range(2)]
    for workers in (0, 1):
        for batch, same in zip(here, stream(source.batch, 0, 2, workers), strict=True):
            assert torch.equal(batch.mel, same.mel) and torch.equal(batch.labels, same.labels)
            assert bool(torch.isfinite(batch.mel).all())


def test_two_clips_at_a_ratio_have_the_loudness_of_the_quieter_as_target(root: Path) -> None:
    source = Mixtures(bank(root), NAMES, MEL, DataConfig(ratio_mixing=1), 32, seed=0)
    labels = source.batch(0).labels
    assert bool((labels.amax(1) == 1).all())
    quieter = labels[(labels > 0) & (labels < 1)]
    assert len(quieter) > 16 and len(quieter.unique()) > 16


def test_the_share_of_examples_with_two_clips_is_as_asked(root: Path) -> None:
    single = Mixtures(bank(root), NAMES, MEL, DataConfig(mixing=0), 32, seed=0).batch(0).labels
    double = Mixtures(bank(root), NAMES, MEL, DataConfig(mixing=1), 32, seed=0).batch(0).labels
    assert bool((single.sum(1) == 1).all())
    assert int((double.sum(1) == 2).sum()) > 16  # the others have the same label twice


def test_labels_are_drawn_by_a_power_of_their_clips(root: Path) -> None:
    clips = bank(root)
    rows = [*clips.rows, *(row for row in clips.rows if row.labels == clips.rows[0].labels)]  # one label twice as often
    clips.rows = rows
    chances = [Mixtures(clips, NAMES, MEL, DataConfig(label_power=power), 1, 0)._chances for power in (0, 0.5, 1)]
    labels = len(chances[0])
    for found, factor in zip(chances, (1, 2**0.5, 2), strict=True):
        assert found.sum() == 1 or abs(found.sum() - 1) < 1e-12
        assert abs(found.max() - factor / (labels - 1 + factor)) < 1e-12


def test_examples_of_a_batch_have_like_lengths() -> None:
    lengths = np.random.default_rng(0).uniform(0.02, 1.0, 41)
    epochs = [by_length(lengths, 2, np.random.default_rng(seed)) for seed in (0, 1, 1)]
    for batches in epochs:
        assert batches.shape == (20, 2) and len(set(batches.ravel().tolist())) == 40
        apart = np.ptp(lengths[batches], axis=1)
        assert apart.mean() < 0.1  # of pairs at random: 0.33
    assert not np.array_equal(epochs[0], epochs[1]) and np.array_equal(epochs[1], epochs[2])
    assert (np.diff(lengths[epochs[0]].mean(axis=1)) < 0).any()  # batches themselves are in no order of length
