"""Log-Mel -> patch tokens: one linear map per patch, or a few convolutions that end on the same grid."""

from torch import Tensor, nn
from torch.nn import functional

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.layers import conv_layers


class Stem(nn.Module):
    """Log-Mel (B, T, M) -> patch embeddings (B, N, D) in time-major order.

    The convolutional stem normalises with BatchNorm: at inference it is a constant per channel, so a token depends on
    the input around its cell alone, not on the rest of the batch nor on the length of the clip.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        channels = 1
        body: list[nn.Module] = []
        if config.stem == "conv":
            for layer in conv_layers(config):
                behind_t, behind_f = layer.behind
                if behind_t or behind_f:
                    body.append(nn.ZeroPad2d((0, behind_f, 0, behind_t)))
                padding = (1 - behind_t, 1 - behind_f)
                body += [
                    nn.Conv2d(layer.inputs, layer.outputs, 3, layer.stride, padding, bias=False),
                    nn.BatchNorm2d(layer.outputs),
                    nn.GELU(),
                ]
                channels = layer.outputs
            self.proj = nn.Conv2d(channels, config.width, 1)
        else:
            self.proj = nn.Conv2d(channels, config.width, config.patch, config.stride)
        self.body = nn.Sequential(*body)

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-Mel (B, T, M) -> (B, N, D), n = t * F + f."""
        grid: Tensor = self.proj(self.body(mel.unsqueeze(1)))  # (B, D, t, f)
        return grid.flatten(2).transpose(1, 2)  # (B, N, D)

    def initialise(self) -> None:
        """Draw the weights."""
        for module in self.body:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _draw_projection(self.proj)


class WhisperStem(nn.Module):
    """Whisper's two convolutions over time: log-Mel (B, T, M) -> (B, T / 2, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-Mel (B, T, M) -> (B, T / 2, D)."""
        x = functional.gelu(self.conv1(mel.transpose(1, 2)))  # (B, D, T)
        return functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, T / 2, D)

    def initialise(self) -> None:
        """Draw the weights."""
        _draw_projection(self.conv1)
        _draw_projection(self.conv2)


def make_stem(config: EncoderConfig) -> Stem | WhisperStem:
    """The stem that a configuration names."""
    return WhisperStem(config) if config.stem == "conv1d" else Stem(config)


def _draw_projection(layer: nn.Conv1d | nn.Conv2d) -> None:
    nn.init.trunc_normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
