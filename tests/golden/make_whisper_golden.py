"""Write whisper.npz: Whisper's log-Mel of two short signals of kaldi.npz, computed by transformers 5.23 in NumPy.

    python tests/golden/make_whisper_golden.py

Each signal is followed by zeros up to half a second. `<signal>_<bands>` is (T, bands) float32, of all its frames.
"""

from pathlib import Path

import numpy as np
from transformers import WhisperFeatureExtractor

SIGNALS = {"chirp": 80, "pulses": 128}
SECOND = 16_000
FOLDER = Path(__file__).parent


def main() -> None:
    """Run the reference on every signal and save what it gives beside this script."""
    kaldi = np.load(FOLDER / "kaldi.npz")
    found = {}
    for signal, bands in SIGNALS.items():
        samples = kaldi[f"{signal}_samples"].astype(np.float64) / 32_768
        whole = np.pad(samples, (0, SECOND // 2 - len(samples)))  # the extractor itself fills whole seconds alone
        mel = WhisperFeatureExtractor(bands)._np_extract_fbank_features(whole[None], "cpu")[0]  # (bands, T)
        found[f"{signal}_{bands}"] = mel.T.astype(np.float32)
    np.savez_compressed(FOLDER / "whisper.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main()
