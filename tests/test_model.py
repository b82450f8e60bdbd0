"""Loading a model folder, and the path from a recording to tags and a caption on a tiny random model."""

import io
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

import sonopsis
from sonopsis import lora
from sonopsis.audio import LiveAudio
from sonopsis.captioning.captioner import Captioner
from sonopsis.decoding import Sampling
from sonopsis.decoding.consensus import TEMPERATURE, consensus, tag_support
from sonopsis.files import ModelError
from sonopsis.mel import mel_input
from sonopsis.model import Model, Request
from sonopsis.modules import save
from sonopsis.results import WindowResult
from sonopsis.scenes.words import parse
from sonopsis.unfilled import unfilled

RATE = 16_000


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_modules_for_weights_of_a_file_are_not_filled_first() -> None:
    before = torch.nn.init.kaiming_uniform_
    with unfilled():
        torch.manual_seed(0)
        assert torch.nn.Linear(4, 4) is not None
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert torch.nn.init.kaiming_uniform_ is before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name):
        sonopsis.load(copy)


def test_broken_and_foreign_folders_are_refused_in_one_line(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    changes = [
        {"model_type": "audio-spectrogram-transformer"},
        {"surprise": 1},
        {"encoder": config["encoder"] | {"width": 24}},
        {"encoder": config["encoder"] | {"colour": "red"}},
        {"encoder": {}},
        {"thresholds": {"Dog": 1.5}},
        {"distilled_labels": ["Whale vocalization"]},
        {"encoder": []},
        {"lm": None},
        {"labels": config["labels"][:3]},
        {"labels": []},
        {"labels": "abcdef"},
        {"keep_rate": 0},
        {"keep_rate": 2},
        {"max_caption_tokens": 0},
        {"caption_samples": -1},
        {"calibration": {"colour": 0.5}},
        {"calibration": {"slope": 0}},
        {"calibration": []},
    ]
    for change in changes:
        (copy / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError) as caught:
            sonopsis.load(copy)
        assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{copy}: "), change
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        sonopsis.load(copy)
    with pytest.raises(ModelError, match="no such model folder"):
        sonopsis.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="engine"):
        sonopsis.load(copy, engine="steam")


@pytest.mark.parametrize("change", [{"padding": "wrap"}, {"frames": 250}, {"frames": 512}, {"multiple": 10}])
def test_a_front_end_that_does_not_fit_is_refused(copy: Path, change: dict[str, object]) -> None:
    front_end = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(front_end | change))
    with pytest.raises(ModelError, match=str(copy)):
        sonopsis.load(copy)


@pytest.mark.parametrize("text", ["", "{", '{"version": "1.0"}'])
def test_a_broken_tokenizer_is_refused(copy: Path, text: str) -> None:
    (copy / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=rf"{copy}: tokenizer\.json"):
        sonopsis.load(copy)


@pytest.mark.parametrize("options", [{"keep_rate": 0}, {"keep_rate": 1.5}, {"device": "gramophone"}])
def test_options_that_make_no_sense_are_refused_before_a_recording_is_read(
    tiny_model: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        sonopsis.load(tiny_model, **options)


def test_what_tag_is_asked_for_is_checked(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model)
    for options in ({"top_k": 0}, {"top_k": -1}, {"keep_rate": 0}, {"window": 0}):
        with pytest.raises(ValueError, match=next(iter(options)).replace("_", ".")):
            model.tag(np.ones(RATE) * np.sin(np.arange(RATE)), **options)


def test_the_duration_is_the_whole_recording_also_when_windows_leave_gaps(tiny_model: Path, sounds: Path) -> None:
    model = sonopsis.load(tiny_model)
    for window, hop, end in ((2.0, None, 6.0), (2.0, 1.0, 6.0), (1.0, 4.0, 5.0)):
        found = model.describe(str(sounds / "noise.wav"), Request(window=window, hop=hop))
        assert (found.duration, found.windows[-1].end) == (6.0, end)


def test_paths_file_objects_arrays_and_tensors_are_the_same_recording(tiny_model: Path, sounds: Path) -> None:
    model, path = sonopsis.load(tiny_model), sounds / "deep" / "tone.flac"
    samples, rate = soundfile.read(path, dtype="float32")
    stereo = np.stack([samples, samples], axis=1)
    expected = model.tag(path), model.caption(path)
    for audio in (str(path), io.BytesIO(path.read_bytes())):
        assert (model.tag(audio), model.caption(audio)) == expected
    for array in (samples, stereo, stereo.T, torch.from_numpy(samples), torch.from_numpy(stereo).requires_grad_()):
        assert (model.tag(array, sample_rate=rate), model.caption(array, sample_rate=rate)) == expected


def test_truncated_weights_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        sonopsis.load(copy)


def test_saved_and_loaded_again_is_the_same_model(tiny_model: Path, tmp_path: Path) -> None:
    first = sonopsis.load(tiny_model)
    save(first.module, tmp_path / "again", first.folder.config, first.folder.mel)
    shutil.copy(tiny_model / "tokenizer.json", tmp_path / "again")
    second = sonopsis.load(tmp_path / "again")
    mel = np.random.default_rng(0).standard_normal((2, 64, 128)).astype(np.float32)
    assert np.array_equal(first.logits(mel), second.logits(mel))


def test_mel_logits_and_tokens_are_the_stages_of_tag(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model, keep_rate=0.5)
    samples = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    mel = model.mel(samples)
    assert mel.dtype == np.float32 and mel.shape == (1, 208, 128)  # 198 frames, padded to a multiple of 16
    np.testing.assert_array_equal(mel, mel_input(samples, model.folder.mel))
    scores = 1 / (1 + np.exp(-model.logits(mel)[0]))
    (tags,) = model.tag(samples, top_k=6)
    assert [label for label, _ in tags.labels] == [model.labels[i] for i in np.argsort(-scores)]
    np.testing.assert_allclose([score for _, score in tags.labels], np.sort(scores)[::-1], rtol=1e-4)
    encoded = model.encode(torch.from_numpy(mel))
    assert isinstance(encoded.tokens, np.ndarray) and encoded.index.shape[1] == 13  # 104 -> 52 -> 26 -> 13
    assert [stage.shape[1] for stage in encoded.stages] == [52, 26, 13]


def test_tags_are_the_same_with_and_without_a_caption(tiny_model: Path) -> None:
    """The tagging path computes less (the last block's prefix rows only) and must not say anything else."""
    model = sonopsis.load(tiny_model)
    samples = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)
    for keep_rate in (1.0, 0.6):
        alone = model.describe_samples(samples, Request(top_k=6, keep_rate=keep_rate))
        both = model.describe_samples(samples, Request(captions=True, top_k=6, keep_rate=keep_rate))
        assert [label for label, _ in alone.labels] == [label for label, _ in both.labels]
        np.testing.assert_allclose([s for _, s in alone.labels], [s for _, s in both.labels], rtol=1e-4)
        assert both.caption is not None and both.score is not None and both.score < 0


def test_windows_cover_a_long_recording(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model)
    samples = 0.1 * np.random.default_rng(2).standard_normal(int(6.4 * RATE)).astype(np.float32)
    assert [(round(t.start, 2), round(t.end, 2)) for t in model.tag(samples)] == [(0, 2.56), (2.56, 5.12), (5.12, 6.4)]
    assert [round(c.start, 2) for c in model.caption(samples, window=2, hop=1)][:3] == [0, 1, 2]
    with pytest.raises(ValueError, match="window"):
        model.tag(samples, window=5.0)


def test_silence_is_called_silence(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model)
    (tags,) = model.tag(np.zeros(RATE, np.float32))
    (caption,) = model.caption(np.zeros(RATE, np.float32))
    assert tags.labels == [("silence", 1.0)] and caption.text == "Silence."


def test_labels_below_the_models_own_thresholds_are_not_shown_unless_they_are_asked_for(
    copy: Path, sounds: Path
) -> None:
    plain = {pair.label: pair.score for pair in sonopsis.load(copy).tag(sounds / "noise.wav", top_k=6)[0].labels}
    best, *_, worst = plain
    fields = json.loads((copy / "config.json").read_text())
    fields["thresholds"] = {label: 0.0 if label == worst else 1.0 for label in plain}
    (copy / "config.json").write_text(json.dumps(fields))
    model = sonopsis.load(copy)
    assert model.tag(sounds / "noise.wav", top_k=1)[0].labels == [(worst, plain[worst])]
    assert dict(model.tag(sounds / "noise.wav", top_k=6, threshold=0.0)[0].labels) == plain
    fields["thresholds"][worst] = 1.0
    (copy / "config.json").write_text(json.dumps(fields))
    window = sonopsis.load(copy).describe(sounds / "noise.wav").windows[0]
    assert (window.status, window.labels, window.guess) == ("unclear", [], (best, plain[best]))


def test_beams_find_no_worse_captions_than_greedy(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model)
    assert isinstance(model.module, Captioner)
    encoded = model.module.encode(torch.randn(3, 64, 128, generator=torch.Generator().manual_seed(0)))
    prompt = model.module.prompt(model.module.connector(encoded))
    greedy = model.module.lm.generate(embeds=prompt, max_new_tokens=5, stop_ids=(0,))
    beams = model.module.lm.generate(embeds=prompt, max_new_tokens=5, stop_ids=(0,), beams=4)
    assert all(b[0].score >= g[0].score - 1e-6 for b, g in zip(beams, greedy, strict=True))


def test_a_model_that_asks_for_a_consensus_gives_it_and_always_the_same(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"caption_samples": 6, "max_caption_tokens": 4}))
    model = sonopsis.load(copy)
    assert isinstance(model.module, Captioner)
    samples = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)
    first, again = (model.describe_samples(samples, Request(captions=True)) for _ in range(2))
    assert first.caption == again.caption and first.score == again.score
    prompt = model.module.prompt(model.module.connector(model.module.encode(torch.from_numpy(model.mel(samples)))))
    sampling = Sampling(TEMPERATURE, samples=6)
    (drawn,) = model.module.lm.generate(embeds=prompt, max_new_tokens=4, sampling=sampling, stop_ids=(0,))
    scores = 1 / (1 + np.exp(-model.logits(model.mel(samples))[0]))
    tags = dict(zip(model.labels, scores.tolist(), strict=True))
    texts = [model.decode(list(hypothesis.ids)) for hypothesis in drawn]
    assert len(set(texts)) > 1
    chosen = consensus([h.ids for h in drawn], [tag_support(parse(text), tags) for text in texts])
    assert first.caption == texts[chosen]


def test_training_logits_are_what_generation_reads(tiny_model: Path) -> None:
    """Teacher-forced logits of a generated caption have their maximum at each generated token."""
    model = sonopsis.load(tiny_model)
    assert isinstance(model.module, Captioner)
    mel = torch.randn(1, 64, 128, generator=torch.Generator().manual_seed(3))
    prompt = model.module.prompt(model.module.connector(model.module.encode(mel)))
    ((best,),) = model.module.lm.generate(embeds=prompt, max_new_tokens=6, stop_ids=(0,))
    ids = torch.tensor([best.ids])
    with torch.inference_mode():
        words, _, _ = model.module(mel, ids)
    assert words.argmax(-1).tolist() == ids.tolist()


def test_many_recordings_are_described_in_order_with_their_errors(tiny_model: Path, sounds: Path) -> None:
    model = sonopsis.load(tiny_model, engine="torch")
    paths = [sounds / "deep" / "tone.flac", sounds / "notes.txt", sounds / "noise.wav", sounds / "lost.wav"]
    before, calls = torch.get_num_threads(), list[tuple[int, int]]()
    found = list(
        model.describe_many(paths, top_k=3, workers=2, progress=lambda done, files: calls.append((done, files)))
    )
    assert [result.path for result in found] == [str(path) for path in paths]
    for place in (0, 2):
        alone = model.describe(paths[place], Request(captions=True, top_k=3))
        assert [w.caption for w in found[place].windows] == [w.caption for w in alone.windows]
        assert [w.labels for w in found[place].windows] == [w.labels for w in alone.windows]
    assert "not a recording" in (found[1].error or "") and "no such file" in (found[3].error or "")
    assert calls == [(done, 4) for done in (1, 2, 3, 4)]
    assert torch.get_num_threads() == before  # the caller's own setting is back


def test_windows_of_a_file_are_described_side_by_side(
    tiny_model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two meet for every window, so that none can be described alone; the results are the same. A recording that is not
    there, which is no stream, changes nothing."""
    model, meeting = sonopsis.load(tiny_model, engine="torch"), threading.Barrier(2)
    alone = model.describe(sounds / "noise.wav", Request(captions=True, window=1.5))
    describe = model.describe_samples

    def met(*arguments: Any) -> WindowResult:
        meeting.wait(timeout=30)
        return describe(*arguments)

    monkeypatch.setattr(model, "describe_samples", met)
    found, lost = model.describe_many([sounds / "noise.wav", sounds / "lost.wav"], window=1.5, workers=4)
    assert len(found.windows) == 4 and found.error is None and lost.error is not None
    assert [(w.start, w.end, w.caption) for w in found.windows] == [(w.start, w.end, w.caption) for w in alone.windows]


def test_windows_of_a_stream_do_not_wait_for_the_next(tiny_model: Path) -> None:
    """What comes after three seconds comes when their window of 2.56 seconds has been described, and not before."""
    model, described = sonopsis.load(tiny_model, engine="torch"), threading.Event()
    noise = 0.1 * np.random.default_rng(0).standard_normal((5 * RATE, 1)).astype(np.float32)

    def blocks() -> Iterator[NDArray[np.float32]]:
        yield noise[: 3 * RATE]
        assert described.wait(timeout=30)
        yield noise[3 * RATE :]

    stream = LiveAudio("-", "standard input", RATE, 1, 0, blocks())
    parts = model.follow_many([stream], Request(captions=False), workers=2)
    ends = [(next(parts).window or WindowResult(0.0, 0.0)).end]
    described.set()
    ends += [part.window.end for part in parts if part.window is not None]
    assert ends == [2.56, 5.0]


def test_what_is_wrong_with_every_recording_is_raised_before_the_first(tiny_model: Path, sounds: Path) -> None:
    model = sonopsis.load(tiny_model)
    with pytest.raises(ValueError, match="top_k"):
        model.describe_many([sounds / "noise.wav"], top_k=0)
    wrong = {"window": (50.0, 0.05), "hop": (0, -1, float("nan")), "workers": (0, -1), "keep_rate": (0, 1.5)}
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ValueError, match=name.replace("_", ".")):
                model.describe_many([sounds / "noise.wav"], **{name: value})
    with pytest.raises(ValueError, match="workers"):
        model.follow_many([sounds / "noise.wav"], workers=0)
    assert list(model.describe_many([])) == []


def test_embeddings_are_what_the_classifier_reads(tiny_model: Path) -> None:
    model = sonopsis.load(tiny_model, engine="torch")
    mel = np.random.default_rng(0).standard_normal((2, 128, 128)).astype(np.float32)
    for keep_rate in (1.0, 0.5):
        vectors = torch.from_numpy(model.embed(mel, keep_rate=keep_rate))
        with torch.inference_mode():
            logits = model.module.tagger.head(vectors).numpy()
        np.testing.assert_allclose(logits, model.logits(mel, keep_rate=keep_rate), rtol=1e-4, atol=1e-5)


def test_a_parser_of_captions_may_be_handed_in(copy: Path) -> None:
    """The consensus counts the labels that this parser reads; one that reads nothing changes the choice or nothing."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"caption_samples": 4}))
    model, seen = sonopsis.load(copy), list[str]()
    other = Model(model.folder, model.engine, parse=lambda text: seen.append(text) or [])
    samples = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)
    assert other.describe_samples(samples, Request(captions=True)).caption in seen and len(seen) == 4


def test_adapters_that_are_not_merged_are_not_saved(tiny_model: Path, tmp_path: Path) -> None:
    model = sonopsis.load(tiny_model, engine="torch")
    lora.attach(model.module.lm)
    with pytest.raises(ModelError, match="merge"):
        model.save(tmp_path / "adapted")
    assert not (tmp_path / "adapted").exists()


# ---- models with thresholds


def calibrated(copy: Path, thresholds: Sequence[float] = (), **fields: float) -> Model:
    """The model of a folder with thresholds and calibration, which draws four sentences."""
    config = json.loads((copy / "config.json").read_text())
    config |= {"thresholds": dict(zip(config["labels"], thresholds, strict=False)), "calibration": fields}
    config |= {"caption_samples": 4, "max_caption_tokens": 4}
    (copy / "config.json").write_text(json.dumps(config))
    return sonopsis.load(copy)


NOISE = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)


def test_each_label_has_its_own_threshold_unless_one_is_given(copy: Path) -> None:
    raw = dict(sonopsis.load(copy).tag(NOISE, top_k=6)[0].labels)
    (first, *_), labels = raw, sonopsis.load(copy).labels
    model = calibrated(copy, thresholds=[raw[label] * (0.9 if label == first else 1.1) for label in labels])
    assert [label for label, _ in model.tag(NOISE)[0].labels] == [first]
    assert dict(model.tag(NOISE, top_k=6, threshold=0)[0].labels) == raw
    assert model.tag(NOISE, top_k=2, threshold=0)[0].labels == list(raw.items())[:2]


def test_scores_are_those_of_the_calibration(copy: Path) -> None:
    raw = dict(sonopsis.load(copy).tag(NOISE, top_k=6)[0].labels)
    found = dict(calibrated(copy, slope=0.5, offset=-1.0).tag(NOISE, top_k=6)[0].labels)
    assert list(found) == list(raw)
    logits = {label: np.log(score / (1 - score)) for label, score in raw.items()}
    expected = {label: 1 / (1 + np.exp(1 - 0.5 * logit)) for label, logit in logits.items()}
    assert found == pytest.approx(expected, rel=1e-4)


def test_no_label_over_its_threshold_is_unclear(copy: Path) -> None:
    best = sonopsis.load(copy).tag(NOISE)[0].labels[0]
    model = calibrated(copy, thresholds=[0.99] * 6)
    window = model.describe_samples(NOISE, Request(captions=True))
    assert (window.status, window.labels, window.guess) == ("unclear", [], best)
    assert (window.caption, window.score, window.confidence) == ("An unclear sound.", None, None)
    (caption,) = model.caption(NOISE)
    assert (caption.text, caption.score, caption.confidence) == ("An unclear sound.", 0.0, None)
    assert model.describe_samples(NOISE, Request(threshold=0)).status == "heard"


def test_a_sentence_is_said_if_the_tags_believe_what_it_names(copy: Path) -> None:
    plain = sonopsis.load(copy)
    (first, high), *_, (last, low) = plain.tag(NOISE, top_k=6)[0].labels
    numbers = {"sentence_slope": 1.0, "sentence_offset": 0.0}
    for named, mean in (([last], low), ([first, last], (high + low) / 2), ([first, first], high), ([], 0.0)):
        for belief, said in ((0.99 * mean, True), (1.01 * mean + 1e-6, False)):
            model = calibrated(copy, belief=min(belief, 1.0), **numbers)
            everything = Model(model.folder, model.engine, parse=lambda text, named=named: named)
            for beams in (1, 2):
                window = everything.describe_samples(NOISE, Request(captions=True, beams=beams))
                assert (window.caption != "An unclear sound.") is said, (named, belief, beams)
    seen = list[str]()

    def odd(text: str) -> list[str]:
        """One of the drawn sentences names what is heard, the others what is not."""
        seen.append(text)
        return [first] if len(seen) == 3 else ["Unknown"]

    model = calibrated(copy, belief=0.5 * high, **numbers)
    window = Model(model.folder, model.engine, parse=odd).describe_samples(NOISE, Request(captions=True))
    assert window.caption == seen[2] and len(seen) == 4
    assert window.confidence is not None and 0 < window.confidence <= high
