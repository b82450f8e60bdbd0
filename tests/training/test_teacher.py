"""The teacher: YAMNet's front end against transformers', a small quantised network against torch, and the real one."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

import sonopsis
from sonopsis.audio import load_audio
from sonopsis.data.clips import ClipBank
from sonopsis.data.fetch import default_root
from sonopsis.files import ModelError
from sonopsis.training.batches import Batch, Mixtures
from sonopsis.training.config import TrainConfig
from sonopsis.training.start import open_start
from sonopsis.training.tagging import Tagging
from sonopsis.training.teacher import BLOCK, CLASSES, MODEL, WEIGHTS, Teacher, log_mel_patches

EXAMPLES = Path(__file__).parents[2] / "examples"
REAL = default_root() / "pretrained" / "yamnet"
CLASSES_OF_TINY = 3


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def test_the_front_end_equals_that_of_transformers() -> None:
    samples = np.sin(np.arange(15_600 + 7_680) ** 2 / 40_000) + noise(15_600 + 7_680)
    filters = mel_filter_bank(257, 64, 125.0, 7500.0, 16_000, mel_scale="htk", triangularize_in_mel_space=True)
    magnitudes = spectrogram(
        samples, window_function(400, "hann"), 400, 160, 512, power=1.0, center=False, mel_filters=filters
    )
    expected = np.log(magnitudes.T + 0.001)  # (144, 64)
    found = log_mel_patches(samples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected[:96], expected[48:]], rtol=0, atol=1e-5)


@given(st.integers(1, 40_000))
def test_patches_cover_the_clip_and_zeros_fill_the_last(count: int) -> None:
    samples = noise(count)
    found = log_mel_patches(samples)
    end = 15_600 + 7_680 * (len(found) - 1)  # of the last patch
    assert found.shape[1:] == (96, 64)
    assert count <= end
    assert len(found) == 1 or count > end - 7_680
    np.testing.assert_array_equal(log_mel_patches(np.pad(samples, (0, end - count))), found)


def test_silence_is_the_logarithm_of_the_offset() -> None:
    np.testing.assert_allclose(log_mel_patches(np.zeros(100)), np.log(0.001), rtol=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "non-empty vector"),
        (np.zeros((2, 100)), "non-empty vector"),
        (np.array([0.1, np.nan]), "NaN, infinity or enormous"),
        (np.array([np.inf]), "NaN, infinity or enormous"),
    ],
)
def test_samples_that_are_no_numbers_are_refused(samples: NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_mel_patches(samples)


WEIGHT_SCALE = 0.02
TINY = {
    "kernel": WEIGHT_SCALE * np.random.default_rng(1).integers(-127, 128, (4, 1, 3, 3)).astype(np.float32),
    "shift": np.array([0.5, -0.5, 1.0, 0.0], np.float32),
    "matrix": WEIGHT_SCALE * np.random.default_rng(2).integers(-127, 128, (CLASSES_OF_TINY, 4)).astype(np.float32),
    "bias": np.array([0.1, -200.0, 0.3], np.float32),
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a network of YAMNet's kind: 8-bit ends, and weights and activations that are quantised in it."""

    def quantised(name: str, scale: str, zero: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_qdq"]),
        ]

    constants = TINY | {
        "step": np.float32(0.05),
        "weight_step": np.float32(WEIGHT_SCALE),
        "zero": np.uint8(140),
        "none": np.uint8(0),
        "middle": np.int8(0),
        "shape": np.array([1, -1]),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["audio", "step", "zero"], ["input"]),
        *quantised("kernel", "weight_step", "middle"),
        helper.make_node("Conv", ["input", "kernel_qdq", "shift"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        *quantised("relu", "step", "none"),
        helper.make_node("GlobalAveragePool", ["relu_qdq"], ["mean"]),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"], allowzero=0),
        *quantised("matrix", "weight_step", "middle"),
        helper.make_node("Gemm", ["flat", "matrix_qdq", "bias"], ["logits"], transB=1),
        helper.make_node("QuantizeLinear", ["logits", "step", "zero"], ["class_scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("audio", TensorProto.UINT8, [1, 1, 96, 64])],
        [helper.make_tensor_value_info("class_scores", TensorProto.UINT8, [1, CLASSES_OF_TINY])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / MODEL, save_as_external_data=True, location=WEIGHTS, size_threshold=0)
    (tmp_path / CLASSES).write_text('index,mid,display_name\r\n0,/m/a,Rain\r\n1,/m/b,"Car, bus"\r\n2,/t/c,Bell\r\n')
    return tmp_path


def test_probabilities_are_those_of_the_network_in_float32(tiny: Path) -> None:
    samples = noise(15_600 + 7_680 * (BLOCK + 2))  # more patches than are read at once
    teacher = Teacher(tiny)
    with np.errstate(over="raise"):
        found = teacher.patches(samples)
    kernel, shift, matrix, bias = (torch.from_numpy(value) for value in TINY.values())
    inputs = torch.from_numpy(log_mel_patches(samples))[:, None]
    hidden = torch.conv2d(inputs, kernel, shift, stride=2).relu().mean(dim=(2, 3))
    expected = torch.sigmoid(hidden @ matrix.T + bias).numpy()
    assert expected.std(axis=0).max() > 1e-4  # patches differ, so that their order counts
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    scores = teacher.scores(samples)
    assert (scores.shape, scores.dtype) == ((CLASSES_OF_TINY,), np.float32)
    np.testing.assert_allclose(scores, expected.mean(axis=0), rtol=0, atol=1e-5)


def test_classes_are_read_and_a_used_teacher_can_be_pickled(tiny: Path) -> None:
    teacher = Teacher(str(tiny))
    assert teacher.names == ["Rain", "Car, bus", "Bell"]
    assert teacher.ids == ["/m/a", "/m/b", "/t/c"]
    scores = teacher.scores(noise(20_000))
    again = pickle.loads(pickle.dumps(teacher))
    assert again.names == teacher.names
    np.testing.assert_array_equal(again.scores(noise(20_000)), scores)


def test_what_is_missing_is_said_with_the_way_to_get_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)  # as where it is not installed
        with pytest.raises(ValueError, match=r'needs onnx: pip install "sonopsis\[export\]"'):
            Teacher(tiny).scores(noise(100))
    (tiny / CLASSES).write_text("index,mid,display_name\n0,/m/a,Rain\n")
    with pytest.raises(ModelError, match=r"3 classes and yamnet_class_map\.csv 1; delete the folder"):
        Teacher(tiny).scores(noise(100))
    (tiny / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"has no model\.data; fetch YAMNet with: make pretrained"):
        Teacher(tiny)
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match=r"nothing/pretrained/yamnet has no model\.onnx, model\.data, "):
        Teacher()


fetched = pytest.mark.skipif(not REAL.is_dir(), reason="needs YAMNet, which `make pretrained` fetches")


@fetched
def test_yamnet_hears_the_examples() -> None:
    teacher = Teacher(REAL)
    assert len(teacher.names) == len(set(teacher.ids)) == 521
    assert (teacher.names[0], teacher.ids[0]) == ("Speech", "/m/09x0r")
    for file, heard in (("water_filling_a_lock.ogg", "Water"), ("car_passing.mp3", "Vehicle")):
        scores = teacher.scores(load_audio(EXAMPLES / file))
        assert scores.min() >= 0
        assert scores.max() <= 1
        assert teacher.names[int(scores.argmax())] == heard


@fetched
def test_float32_is_near_what_the_quantised_graph_defines() -> None:
    """The graph node by node; rounding and limits of its 8-bit activations are what is left out."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(REAL / MODEL, options, providers=["CPUExecutionProvider"])
    samples = load_audio(EXAMPLES / "lock_gate.flac")
    inputs = np.clip(np.round(log_mel_patches(samples) / 0.04794 + 144), 0, 255).astype(np.uint8)  # (n, 96, 64)
    outputs = np.concatenate([session.run(None, {"audio": patch[None, None]})[0] for patch in inputs])
    expected = 0.75654 * (outputs.astype(np.float64) - 190)  # logits (n, 521)
    found = Teacher(REAL).patches(samples).astype(np.float64)
    difference = np.log(found / (1 - found)) - expected
    assert np.abs(difference).mean() < 0.757  # one step of the 8-bit output


def taught(make_config: Callable[..., TrainConfig], folder: Path, clips: tuple[ClipBank, ClipBank]) -> Tagging:
    """The tagging stage of a small Whisper that also learns from the tiny network."""
    sizes = {"width": 16, "depth": 4, "heads": 2, "pooling": "attention", "window": 5.0}
    teacher = {"folder": str(folder), "labels": ["Bell"], "weight": 0.5}
    data = {"seconds": 1.0, "shortest": 0.4}
    config = make_config("tagging", model="whisper-tiny", encoder=sizes, teacher=teacher, data=data)
    return Tagging(config, open_start(config), *clips)


def test_examples_come_with_what_the_teacher_hears(
    tiny: Path, make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank]
) -> None:
    task = taught(make_config, tiny, clips)
    batches = list(task.batches(0, 4))
    assert len({batch.mel.shape[1] for batch in batches}) > 1  # each batch has a length of its own
    for batch in batches:
        assert batch.heard is not None and batch.heard.shape == (2, 3)
        assert batch.mel.shape[1] / 100 + 0.16 >= 0.4 and batch.mel.shape[1] <= 116
    repeated = next(task.batches(2, 3))
    assert repeated.heard is not None and torch.equal(repeated.heard, batches[2].heard)


def test_both_losses_are_taught_and_the_saved_model_has_the_classes_that_were_asked_for(
    tiny: Path, make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank], tmp_path: Path
) -> None:
    task = taught(make_config, tiny, clips)
    batch = next(task.batches(0, 1))
    task.module.eval()
    loss, figures = task.loss(task.module, batch, 0.0)
    logits = task.module(batch.mel)
    assert logits.shape == (2, len(task.labels) + 3) and batch.heard is not None
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, -3:], batch.heard, reduction="none")
    assert figures["teacher"] == pytest.approx(float(entropy.detach().sum() / 2), rel=1e-5)
    assert float(loss) == pytest.approx(figures["loss"] + 0.5 * figures["teacher"], rel=1e-5)
    task.export(task.module, tmp_path / "model")
    saved = sonopsis.load(tmp_path / "model", engine="torch", keep_rate=1.0)
    assert saved.labels == [*task.labels, "Bell"] and saved.window == 5.0
    wanted = torch.cat([logits[:, : len(task.labels)], logits[:, -1:]], dim=1).detach().numpy()
    np.testing.assert_allclose(saved.logits(batch.mel), wanted, atol=0.02)  # weights are stored in float16


def test_a_class_that_the_teacher_lacks_is_refused(
    tiny: Path, make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank]
) -> None:
    config = make_config("tagging", teacher={"folder": str(tiny), "labels": ["Unicorn"]})
    with pytest.raises(ValueError, match=r"teacher\.labels: .*'Unicorn'"):
        Tagging(config, open_start(config), *clips)


def test_recordings_without_labels_have_the_teacher_alone(
    tiny: Path, make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank]
) -> None:
    task = taught(make_config, tiny, clips)
    source = Mixtures(clips[0], task.labels, task.start.mel, task.config.data, 8, 0, task.teacher, (0.5, clips[1]))
    batch = source.batch(0)
    unknown = batch.labels.isnan()
    assert 0 < int(unknown[:, 0].sum()) < 8 and torch.equal(unknown.all(1), unknown.any(1))
    figures = task.loss(task.module.eval(), batch, 0.0)[1]
    known = Batch(batch.mel[~unknown[:, 0]], batch.labels[~unknown[:, 0]])
    alone = task.loss(task.module, known, 0.0)[1]["loss"] * len(known.labels) / 8
    assert figures["loss"] == pytest.approx(alone, rel=1e-4) and np.isfinite(figures["teacher"])


def test_a_label_without_recordings_is_learned_from_the_teacher(
    tiny: Path, make_config: Callable[..., TrainConfig], clips: tuple[ClipBank, ClipBank], tmp_path: Path
) -> None:
    own = sorted({label for row in (*clips[0].rows, *clips[1].rows) for label in row.labels})
    config = make_config("tagging", labels=[*own, "Bell"], teacher={"folder": str(tiny)})
    task = Tagging(config, open_start(config), *clips)
    assert "Bell" not in own and task.borrowed == [(len(own), 2)]
    batch = next(task.batches(0, 1))
    task.loss(task.module, batch, 0.0)
    assert batch.heard is not None and torch.equal(batch.labels[:, -1], batch.heard[:, 2])
    task.export(task.module, tmp_path / "model")
    assert sonopsis.load(tmp_path / "model", engine="torch").folder.config.distilled_labels == ["Bell"]
