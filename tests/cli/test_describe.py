"""`tag` and `caption` from arguments to results, with a tiny random model."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import Result

import sonopsis as package

Run = Callable[..., Result]
WINDOW = 2.56  # seconds, of the tiny model


def parsed(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_tag_says_what_the_library_says(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    options = ("--model", tiny_model, "-f", "json", "--top-k", 3, "--workers", 1)  # one thread, as here
    (found,) = parsed(sonopsis("tag", sounds / "noise.wav", *options))
    assert (found["path"], found["duration"], found["model"]) == (str(sounds / "noise.wav"), 6.0, "tiny")
    expected = package.load(tiny_model).tag(sounds / "noise.wav", top_k=3)
    assert [(w["start"], w["end"]) for w in found["windows"]] == [(w.start, w.end) for w in expected]
    for window, tags in zip(found["windows"], expected, strict=True):
        assert "caption" not in window
        assert [(entry["label"], entry["score"]) for entry in window["labels"]] == tags.labels


def test_caption_gives_a_sentence_and_tags_for_each_window(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    (found,) = parsed(sonopsis("caption", sounds / "noise.wav", "--model", tiny_model, "-f", "json", "--beams", 2))
    expected = package.load(tiny_model).caption(sounds / "noise.wav", beams=2)
    assert [w["caption"] for w in found["windows"]] == [caption.text for caption in expected]
    assert [w["score"] for w in found["windows"]] == pytest.approx([caption.score for caption in expected])
    assert all(len(window["labels"]) == 5 for window in found["windows"])


def test_windows_cover_the_recording_and_follow_window_and_hop(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    options = ("--model", tiny_model, "-f", "json")
    (whole,) = parsed(sonopsis("tag", sounds / "noise.wav", *options))
    assert whole["windows"][0]["start"] == 0 and whole["windows"][-1]["end"] == 6.0
    assert all(a["end"] == b["start"] for a, b in pairwise(whole["windows"]))
    assert whole["windows"][0]["end"] == WINDOW
    (close,) = parsed(sonopsis("tag", sounds / "noise.wav", *options, "--window", 2, "--hop", 1))
    assert [(w["start"], w["end"]) for w in close["windows"]] == [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6)]


def test_threshold_and_keep_rate_reach_the_model(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    options = (sounds / "noise.wav", "--model", tiny_model, "-f", "json", "--top-k", 6)
    (every,) = parsed(sonopsis("tag", *options))
    scores = sorted(entry["score"] for entry in every["windows"][0]["labels"])
    (few,) = parsed(sonopsis("tag", *options, "--threshold", scores[-2]))
    assert len(few["windows"][0]["labels"]) == 2
    (pruned,) = parsed(sonopsis("tag", *options, "--keep-rate", 0.5))
    (unpruned,) = parsed(sonopsis("tag", *options, "--keep-rate", 1))
    assert pruned["windows"] != every["windows"] == unpruned["windows"]


def test_a_mac_budget_chooses_the_keep_rate(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    from sonopsis.cost import for_budget

    model = package.load(tiny_model)
    pruning = for_budget(model.engine.config, model.folder.mel.frames, 0.8, len(model.labels))
    assert pruning is not None
    options = (sounds / "noise.wav", "--model", tiny_model, "-f", "json")
    for verb in ("tag", "caption"):
        (budget,) = parsed(sonopsis(verb, *options, "--macs", 0.8))
        (rate,) = parsed(sonopsis(verb, *options, "--keep-rate", max(pruning.keep.values())))
        (whole,) = parsed(sonopsis(verb, *options, "--macs", 1))
        (unpruned,) = parsed(sonopsis(verb, *options, "--keep-rate", 1))
        assert budget == rate != whole == unpruned
    refused = sonopsis("tag", *options, "--macs", 0.001)
    assert refused.exit_code == 2 and "cannot be met" in " ".join(refused.stderr.replace("│", " ").split())


def test_a_time_budget_chooses_the_keep_rate_and_says_which(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    options = (sounds / "noise.wav", "--model", tiny_model, "-f", "json")
    generous = sonopsis("tag", *options, "--latency", 60_000)
    assert "keep rate 1 " in generous.stderr
    assert parsed(generous) == parsed(sonopsis("tag", *options, "--keep-rate", 1))
    refused = sonopsis("tag", *options, "--latency", 0.001)
    assert refused.exit_code == 2 and "cannot be met" in " ".join(refused.stderr.replace("│", " ").split())
    both = sonopsis("tag", *options, "--latency", 10, "--macs", 0.8)
    assert both.exit_code == 2 and "give only one" in " ".join(both.stderr.replace("│", " ").split())


@pytest.mark.parametrize("workers", [1, 3])
def test_several_recordings_at_once_keep_their_order(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path, workers: int
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    paths = [sounds / "noise.wav", broken, sounds / "deep" / "tone.flac", sounds / "deep" / "silence.ogg"]
    result = sonopsis("tag", *paths, "--model", tiny_model, "-f", "json", "--workers", workers)
    assert result.exit_code == 1 and result.stderr.count("broken.wav") == 1
    assert [found["path"] for found in json.loads(result.stdout)] == [str(path) for path in paths]


def test_silence_is_said_to_be_silence(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    (found,) = parsed(sonopsis("caption", sounds / "deep" / "silence.ogg", "--model", tiny_model, "-f", "json"))
    assert [(w["status"], w["labels"], w["caption"]) for w in found["windows"]] == [
        ("silence", [{"label": "silence", "score": 1.0, "id": None, "parents": []}], "Silence.")
    ]


LEFT_OUT = "files left out of the search: 1 of other types (.txt)\n"  # of the folder `sounds`


def test_text_is_the_default_and_nothing_else_is_said(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    result = sonopsis("tag", sounds, "--model", tiny_model)
    assert (result.exit_code, result.stderr) == (0, LEFT_OUT)
    for name in ("noise.wav", "deep/tone.flac", "deep/silence.ogg"):
        assert str(sounds / name) in result.stdout
    assert "notes.txt" not in result.stdout


def test_standard_input_is_a_recording_called_minus(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    data = (sounds / "noise.wav").read_bytes()
    (piped,) = parsed(sonopsis("tag", "-", "--model", tiny_model, "-f", "json", stdin=data))
    (named,) = parsed(sonopsis("tag", sounds / "noise.wav", "--model", tiny_model, "-f", "json"))
    assert piped == {**named, "path": "-"}


def test_a_recording_that_can_be_read_once_is_read_once(tiny_model: Path, sounds: Path) -> None:
    command = [sys.executable, "-m", "sonopsis", "tag", "/dev/stdin", "--model", tiny_model, "-f", "json"]
    done = subprocess.run(command, input=(sounds / "noise.wav").read_bytes(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)[0]["duration"] == 6.0


def test_broken_standard_input_is_called_so(sonopsis: Run, tiny_model: Path) -> None:
    for data in (b"", b"no recording"):
        result = sonopsis("tag", "-", "--model", tiny_model, "-f", "json", stdin=data)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: standard input: ")


def test_a_bad_file_stops_nothing_and_the_status_is_1(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    paths = [sounds / "missing.wav", sounds / "noise.wav", sounds / "*.aiff", sounds / "notes.txt", sounds / "deep"]
    result = sonopsis("tag", *paths, "--model", tiny_model, "-f", "json")
    assert result.exit_code == 1
    found = {entry["path"]: entry for entry in json.loads(result.stdout)}
    assert [path for path, entry in found.items() if "error" in entry] == [str(paths[0]), str(paths[2]), str(paths[3])]
    assert all(entry["windows"] == [] for entry in found.values() if "error" in entry)
    assert all(entry["windows"] for entry in found.values() if "error" not in entry)
    *errors, summary = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in errors] == [
        ["error", str(path)] for path in (paths[0], paths[2], paths[3])
    ]
    assert summary == "3 of 6 file(s) failed"


def test_output_gets_a_file_for_each_input_and_format(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    formats = ("-f", "json", "-f", "srt", "-f", "audacity", "-f", "text")
    out = tmp_path / "new" / "results"
    result = sonopsis("caption", sounds, sounds / "missing.wav", "--model", tiny_model, *formats, "-o", out)
    assert (result.exit_code, result.stdout) == (1, "")
    suffixes = (".json", ".labels.txt", ".srt", ".txt")
    expected = {f"{stem}{suffix}" for stem in ("noise", "deep/tone", "deep/silence") for suffix in suffixes}
    assert {str(path.relative_to(out)) for path in out.rglob("*.*")} == expected | {"missing.json"}
    (entry,) = json.loads((out / "noise.json").read_text())
    assert entry["path"] == str(sounds / "noise.wav")
    assert f"3 file(s) are in {out}" in result.stderr


def test_output_that_cannot_be_written_is_one_line(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("")
    result = sonopsis("tag", sounds, "--model", tiny_model, "-o", tmp_path / "occupied" / "results")
    assert result.exit_code == 1
    assert result.stderr.startswith(LEFT_OUT) and "another --output" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_quiet_still_says_what_failed(sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path) -> None:
    good = sonopsis("tag", sounds / "noise.wav", "--model", tiny_model, "-o", tmp_path, "-q")
    assert (good.exit_code, good.stdout, good.stderr) == (0, "", "")
    bad = sonopsis("tag", sounds / "missing.wav", "--model", tiny_model, "-q")
    assert bad.exit_code == 1 and bad.stderr.startswith(f"error: {sounds / 'missing.wav'}: ")


def test_a_truncated_recording_is_used_with_a_warning_that_names_it(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    data = (sounds / "noise.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    (found,) = parsed(result := sonopsis("tag", tmp_path / "cut.wav", "--model", tiny_model, "-f", "json"))
    assert found["duration"] == pytest.approx(3, abs=0.01)
    assert all(line.startswith(f"warning: {tmp_path / 'cut.wav'}: ") for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    "harm", ["none", "no-config.json", "no-model.safetensors", "no-tokenizer.json", "garbage", "foreign"]
)
def test_a_broken_or_foreign_model_is_one_line(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path, harm: str
) -> None:
    folder = tmp_path / "model"
    if harm != "none":
        shutil.copytree(tiny_model, folder)
    if harm.startswith("no-"):
        (folder / harm.removeprefix("no-")).unlink()
    elif harm == "garbage":
        (folder / "model.safetensors").write_bytes(b"garbage")
    elif harm == "foreign":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    result = sonopsis("tag", sounds / "noise.wav", "--model", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {folder}")
    assert harm.removeprefix("no-") in line or not harm.startswith("no-")


def test_a_model_that_only_tags_cannot_caption(sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path) -> None:
    from sonopsis.folder import describe
    from sonopsis.model import load
    from sonopsis.modules import save

    model, folder = load(tiny_model), describe(tiny_model)
    save(model.module.tagger, tmp_path / "tagger", replace(folder.config, connector=None, lm=None), folder.mel)
    assert parsed(sonopsis("tag", sounds / "noise.wav", "--model", tmp_path / "tagger", "-f", "json"))
    result = sonopsis("caption", sounds, "--model", tmp_path / "tagger")
    assert result.exit_code == 1
    assert result.stderr == LEFT_OUT + "error: tagger only tags; it has no language model to caption with\n"


def test_settings_the_model_cannot_serve_end_the_run_at_once(sonopsis: Run, tiny_model: Path, sounds: Path) -> None:
    too_long = sonopsis("tag", sounds / "noise.wav", "--model", tiny_model, "--window", 60)
    assert too_long.exit_code == 2 and "2.56" in too_long.stderr
    engine = sonopsis("tag", sounds / "noise.wav", "--model", tiny_model, "--engine", "steam")
    assert engine.exit_code == 1 and "steam" in engine.stderr and len(engine.stderr.splitlines()) == 1


def test_results_appear_as_they_are_made(tiny_model: Path, sounds: Path, tmp_path: Path) -> None:
    """A reader that stops early (`| head`) ends the run without a traceback."""
    for i in range(30):
        soundfile.write(tmp_path / f"{i:02d}.wav", np.full(16_000, 0.1 * (i % 2), np.float32), 16_000)
    command = [sys.executable, "-m", "sonopsis", "tag", tmp_path, "--model", tiny_model, "-f", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["path"] == str(tmp_path / "00.wav")
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_rows_of_an_endless_stream_come_while_it_goes(tiny_model: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * 16_000)
    soundfile.write(wav := io.BytesIO(), noise, 16_000, format="WAV", subtype="PCM_16")
    data = wav.getvalue()
    place = data.index(b"data") + 4
    data = data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]  # a recorder does not know how long it will run
    command = [sys.executable, "-m", "sonopsis", "tag", "-", "--model", tiny_model, "-f", "jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(data)
        process.stdin.flush()
        rows = [json.loads(process.stdout.readline()) for _ in range(3)]  # standard input is still open
        process.stdin.close()
        rows += [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert [row["start"] for row in rows] == [0.0, 2.56, 5.12, 7.68]
    assert {row["path"] for row in rows} == {"-"} and {row["duration"] for row in rows} == {None}


@pytest.mark.parametrize("format", ["text", "json", "jsonl", "csv", "srt", "vtt", "audacity", "raven"])
def test_standard_input_and_the_file_say_the_same(sonopsis: Run, tiny_model: Path, sounds: Path, format: str) -> None:
    options = ("--model", tiny_model, "-f", format, "--hop", 1)
    piped = sonopsis("tag", "-", *options, stdin=(sounds / "noise.wav").read_bytes())
    named = sonopsis("tag", sounds / "noise.wav", *options)
    assert (piped.exit_code, named.exit_code) == (0, 0)
    assert piped.stdout == named.stdout.replace(str(sounds / "noise.wav"), "-").replace("noise.wav", "-")


def test_embeddings_of_a_folder_are_arrays(sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path) -> None:
    arguments = ("tag", sounds / "noise.wav", sounds / "deep", "--model", tiny_model, "-o", tmp_path, "-q")
    assert sonopsis(*arguments, "-f", "npz", "-f", "csv").exit_code == 0
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == [
        f"{name}.{suffix}" for name in ("noise", "silence", "tone") for suffix in ("csv", "npz")
    ]
    with np.load(tmp_path / "noise.npz") as found:
        assert found["embedding"].shape == (3, 16) and found["embedding"].dtype == np.float32
        assert found["start"].tolist() == [0.0, 2.56, 5.12]
    refused = sonopsis("tag", sounds / "noise.wav", "--model", tiny_model, "-f", "npz")
    assert refused.exit_code == 2 and "--output" in refused.stderr


def test_scenes_have_one_caption_each_and_a_summary(sonopsis: Run, tiny_model: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * 16_000)
    noise[2 * 16_000 : 4 * 16_000] = 0.0
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    options = ("caption", tmp_path / "a.wav", "--scenes", "--window", 1, "--model", tiny_model)
    (found,) = json.loads(sonopsis(*options, "-f", "json").stdout)
    assert [(w["start"], w["end"]) for w in found["windows"] if w["status"] == "silence"] == [(2.0, 4.0)]
    assert found["summary"]["silence"] == 2.0 and found["summary"]["labels"]
    text = found["summary"]["text"]
    assert sonopsis(*options).stdout.splitlines()[-1] == f"  summary: {text}"
    lines = [json.loads(line) for line in sonopsis(*options, "-f", "jsonl").stdout.splitlines()]
    assert lines[-1]["summary"]["text"] == text and "start" not in lines[-1]
    assert len(lines) == len(found["windows"]) + 1
    assert sonopsis(*options, "-f", "vtt").stdout.endswith(f"NOTE {text}\n\n")
    refused = sonopsis(*options, "-f", "npz", "-o", tmp_path / "out")
    assert refused.exit_code == 2 and "--scenes" in refused.stderr
