"""The log-Mel front end against torchaudio's Kaldi filter bank (recorded in golden/kaldi.npz) and by its properties."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonopsis.mel import FLOOR, FRAME, MELS, MelConfig, log_mel, mel_input, prepare

GOLDEN = np.load(Path(__file__).parent / "golden" / "kaldi.npz")
SIGNALS = sorted(name.removesuffix("_mel") for name in GOLDEN.files if name.endswith("_mel"))


def golden(signal: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return GOLDEN[f"{signal}_samples"].astype(np.float32) / 32_768, GOLDEN[f"{signal}_mel"]


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def test_golden_covers_the_floor_and_loud_and_quiet_signals() -> None:
    assert len(SIGNALS) == 4
    energies = np.concatenate([golden(signal)[1] for signal in SIGNALS])
    assert np.isclose(energies, np.log(FLOOR)).any()
    assert energies.max() > 3
    assert golden("quiet")[1].max() < -7


@pytest.mark.parametrize("signal", SIGNALS)
def test_double_precision_equals_kaldi(signal: str) -> None:
    samples, expected = golden(signal)
    found = log_mel(samples, np.float64)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("signal", SIGNALS)
def test_single_precision_equals_kaldi(signal: str) -> None:
    samples, expected = golden(signal)
    found = log_mel(samples)
    assert found.dtype == np.float32
    error = np.abs(found - expected)
    assert error.max() <= 1e-5  # double-precision frames: a float32 FFT is 0.02 off beside the chirp
    assert np.median(error) <= 2e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused(bad: float) -> None:
    """They would give a log-Mel of NaN, and any model scores of NaN."""
    samples = noise(16_000).astype(np.float64)
    samples[5_000] = bad
    for read in (log_mel, lambda samples: mel_input(samples, MelConfig())):
        with pytest.raises(ValueError, match="NaN, infinity or enormous"):
            read(samples)
    with pytest.raises(ValueError, match="NaN, infinity or enormous"):
        log_mel(samples[5_000:5_001])  # shorter than a frame


@given(st.integers(1, 4_000))
@settings(max_examples=30, deadline=None)
def test_frame_count(count: int) -> None:
    assert log_mel(noise(count)).shape == (1 + max(count - FRAME, 0) // 160, MELS)


@given(st.integers(0, 40), st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_a_frame_depends_on_its_own_samples_alone(frame: int, seed: int) -> None:
    samples = noise(40 * 160 + FRAME, seed)
    whole = log_mel(samples, subtract_mean=False)
    alone = log_mel(samples[frame * 160 : frame * 160 + FRAME], subtract_mean=False)
    np.testing.assert_allclose(whole[frame : frame + 1], alone, atol=1e-4)


def test_gain_adds_its_logarithm() -> None:
    samples = noise(8_000)
    loud, quiet = log_mel(samples, np.float64), log_mel(samples * 0.5, np.float64)
    heard = quiet > np.log(FLOOR)
    np.testing.assert_allclose((loud - quiet)[heard], 2 * np.log(2), atol=1e-6)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    peaks = [log_mel(np.sin(2 * np.pi * f * np.arange(4_000) / 16_000)).mean(0).argmax() for f in (300, 1_000, 6_000)]
    lowest, highest = 1127 * np.log1p(20 / 700), 1127 * np.log1p(8_000 / 700)
    centres = 700 * np.expm1(np.linspace(lowest, highest, MELS + 2)[1:-1] / 1127)
    np.testing.assert_allclose(centres[peaks], [300, 1_000, 6_000], rtol=0.08)  # half an FFT bin at 300 Hz


def test_a_short_clip_is_padded_after_its_mean_is_removed() -> None:
    clip = noise(300) + np.float32(0.25)
    by_hand = np.pad(clip - clip.mean(dtype=np.float64), (0, 100))
    np.testing.assert_allclose(log_mel(clip, np.float64), log_mel(by_hand, np.float64, subtract_mean=False), atol=1e-6)
    np.testing.assert_allclose(log_mel(np.full(10, 0.5)), np.log(FLOOR), rtol=1e-6)  # a constant is silent


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((2, 500)), np.float32(1)])
def test_what_is_not_a_vector_is_refused(samples: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="vector"):
        log_mel(samples)


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="float32 or float64"):
        log_mel(noise(500), np.float16)


@pytest.mark.parametrize(("padding", "fill"), [("zero", 0.0), ("clip_min", -9.0)])
def test_padding(padding: str, fill: float) -> None:
    logmel = np.linspace(-9, 2, 20 * MELS).reshape(20, MELS)
    found = prepare(logmel, MelConfig(frames=32, mean=-4.0, std=2.0, padding=padding))
    assert found.shape == (32, MELS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:20], (logmel + 4) / 4, atol=1e-6)
    np.testing.assert_allclose(found[20:], (fill + 4) / 4, atol=1e-6)


@given(st.integers(1, 2_000), st.sampled_from([None, 1, 16, 64]))
@settings(max_examples=50, deadline=None)
def test_length(frames: int, multiple: int | None) -> None:
    found = prepare(np.zeros((frames, 2)), MelConfig(frames=1_024, multiple=multiple))
    if multiple is None:
        assert len(found) == 1_024
    else:
        assert len(found) % multiple == 0
        assert min(frames, 1_024) <= len(found) <= min(frames + multiple - 1, 1_024)


def test_cutting_keeps_the_beginning() -> None:
    logmel = np.arange(50.0)[:, None].repeat(MELS, 1)
    found = prepare(logmel, MelConfig(frames=16, mean=0.0, std=0.5))
    np.testing.assert_array_equal(found[:, 0], np.arange(16))


def test_mel_input_is_log_mel_prepared() -> None:
    config = MelConfig(frames=64, padding="clip_min", subtract_mean=False)
    samples = noise(3_000)
    expected = prepare(log_mel(samples, subtract_mean=False), config)
    found = mel_input(samples, config)
    assert found.shape == (1, 64, MELS)
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize(
    "fields", [{"padding": "mean"}, {"frames": 0}, {"std": 0.0}, {"multiple": 0}, {"frames": 16, "multiple": 32}]
)
def test_impossible_configurations_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MelConfig(**fields)  # type: ignore[arg-type]
