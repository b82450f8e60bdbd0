"""A small encoder with 20 x 4 patches, and clips for it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.encoder import Encoder, EncoderConfig

FRAMES = 320


@pytest.fixture(scope="session")
def build() -> Callable[..., Encoder]:
    """Keyword arguments of EncoderConfig -> an encoder in evaluation mode with random weights."""

    def made(**changes: Any) -> Encoder:
        fields: dict[str, Any] = {"family": "sonopsis", "width": 16, "depth": 5, "heads": 2, "frames": FRAMES}
        fields |= {"patch": (16, 32), "stride": (16, 32), "prefix_tokens": 2}
        torch.manual_seed(0)
        encoder = Encoder(EncoderConfig(**{**fields, **changes}))
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
        return encoder.eval()

    return made


@pytest.fixture(scope="session")
def make_encoder(build: Callable[..., Encoder]) -> Callable[..., Encoder]:
    """As `build`, but built once: for tests that do not change it."""

    @cache
    def made(**changes: Any) -> Encoder:
        with torch.inference_mode(False):
            return build(**changes)

    return made


@pytest.fixture(scope="session")
def mels() -> Callable[..., Tensor]:
    """Number of clips -> normalised log-Mel (B, T, M) of clips that differ in more than noise."""

    def made(batch: int = 3) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        loud = torch.linspace(0.2, 2.0, batch)[:, None, None]
        return loud * torch.randn(batch, FRAMES, 128, generator=generator).cumsum(dim=1) / 10

    return made
