"""Examples for masked pretraining: excerpts of recordings, and the patches of them that the encoder is shown."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.clips import Clip, ClipBank
from sonopsis.encoder import EncoderConfig
from sonopsis.mel import FRAME_RATE, MelConfig, mel_input
from sonopsis.training.batches import Batch, example_frames, excerpt, levelled
from sonopsis.training.config import DataConfig, MaskedSettings
from sonopsis.training.masks import draw_visible


class Crops:
    """Random excerpts of all recordings of some banks: `batch(step)`."""

    def __init__(
        self,
        banks: Sequence[ClipBank],
        encoder: EncoderConfig,
        mel: MelConfig,
        data: DataConfig,
        settings: MaskedSettings,
        size: int,
        seed: int,
    ) -> None:
        self.encoder, self.mel, self.settings, self.size, self.seed = encoder, mel, settings, size, seed
        self.clips = [(bank, row) for bank in banks for row in bank.rows]
        seconds = min(data.seconds, mel.frames / FRAME_RATE)
        self.frames = example_frames(seconds, mel)
        self.length = round(seconds * SAMPLE_RATE) + 240  # 240: the frames of the last 10 ms need a whole window

    def batch(self, step: int) -> Batch:
        """The examples of one step: every recording is as likely as any other."""
        rng = np.random.default_rng((self.seed, step))
        return self.heard(rng, [self._draw(rng) for _ in range(self.size)])

    def heard(self, rng: np.random.Generator, clips: Sequence[tuple[ClipBank, Clip]]) -> Batch:
        """One example that begins with each of these recordings."""
        mels = [mel_input(self._samples(rng, *clip), self.mel)[0, : self.frames] for clip in clips]
        visible = draw_visible(rng, len(clips), self.encoder.grid(self.frames), self.settings)
        labels = torch.zeros(len(clips), 0)
        return Batch(torch.from_numpy(np.stack(mels)), labels, visible=torch.from_numpy(visible))

    def _draw(self, rng: np.random.Generator) -> tuple[ClipBank, Clip]:
        return self.clips[rng.integers(len(self.clips))]

    def _samples(self, rng: np.random.Generator, bank: ClipBank, row: Clip) -> NDArray[np.float32]:
        """An excerpt of a recording, each piece at a random level. After a shorter recording others follow: silence
        would have nothing to predict."""
        samples, filled = np.zeros(self.length, np.float32), 0
        while filled < self.length:
            piece = levelled(excerpt(bank.read(row.path), row.active, self.length - filled, rng), rng)
            samples[filled : filled + len(piece)] = piece
            filled += len(piece)
            bank, row = self._draw(rng)
        return samples
