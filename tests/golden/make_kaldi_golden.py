"""Write kaldi.npz: log-Mel energies of four short signals, computed by torchaudio's pure-Python Kaldi filter bank.

    pip download --no-deps torchaudio==2.11.0 -d WHEELS     (torchaudio is never installed: it breaks other packages)
    unzip WHEELS/torchaudio-*.whl torchaudio/compliance/kaldi.py -d WHEELS
    python tests/golden/make_kaldi_golden.py WHEELS/torchaudio/compliance/kaldi.py

The file imports torchaudio but its filter bank uses nothing of it, so an empty module stands in. Signals are float64
(16-bit samples / 32768, clip mean removed), and so is all arithmetic but the filter table, which the file always
builds in torch's default float32. kaldi.npz holds `<signal>_samples` (S,) int16 and `<signal>_mel` (T, 128) float64.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 0.45
TIME = np.arange(int(SECONDS * 16_000)) / 16_000


def noise(count: int) -> NDArray[np.float64]:
    """Uniform in [-1, 1) from a linear congruential generator, so that no library's generator matters."""
    state, values = 1, []
    for _ in range(count):
        state = (1_664_525 * state + 1_013_904_223) % 2**32
        values.append(state / 2**31 - 1)
    return np.array(values)


def signals() -> dict[str, NDArray[np.int16]]:
    """Noise with an offset, a chirp over the whole band, voiced pulses with gaps of digital silence, and a whisper."""
    pulses = np.zeros_like(TIME)
    for start in range(0, len(TIME), 133):  # 120 Hz
        decay = np.arange(len(TIME) - start) / 16_000
        pulses[start:] += np.exp(-300 * decay) * np.sin(2 * np.pi * 700 * decay)
    waves = {
        "noise": 0.3 * noise(len(TIME)) + 0.1,
        "chirp": 0.8 * np.sin(2 * np.pi * (50 + 7_900 * TIME / (2 * SECONDS)) * TIME),
        "pulses": 0.4 * pulses * (np.sin(2 * np.pi * 5 * TIME) > 0),
        "quiet": 1e-4 * noise(len(TIME)) + 2e-4 * np.sin(2 * np.pi * 440 * TIME),
    }
    return {name: np.round(wave * 32_767).astype(np.int16) for name, wave in waves.items()}


def main(kaldi_file: str) -> None:
    """Run the reference on every signal and save both beside this script."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    spec = importlib.util.spec_from_file_location("kaldi", kaldi_file)
    assert spec is not None and spec.loader is not None
    kaldi = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kaldi)
    found: dict[str, NDArray[Any]] = {}
    for name, samples in signals().items():
        wave = torch.from_numpy(samples.astype(np.float64) / 32_768)[None]  # (1, S)
        mel = kaldi.fbank(
            wave - wave.mean(),
            htk_compat=True,
            sample_frequency=16_000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        found |= {f"{name}_samples": samples, f"{name}_mel": mel.numpy()}
    np.savez_compressed(Path(__file__).with_name("kaldi.npz"), allow_pickle=False, **found)


if __name__ == "__main__":
    main(sys.argv[1])
