"""Log-Mel -> patch tokens: one linear map per patch, or a few small convolutions that end on the same grid."""

from torch import Tensor, nn

from sonopsis.encoder.config import EncoderConfig

ConvLayer = tuple[int, int, tuple[int, int]]  # channels in, channels out, stride (time, frequency)


def conv_layers(config: EncoderConfig) -> list[ConvLayer]:
    """The 3x3 layers of the convolutional stem, each halving the axes that are not yet on the patch grid.

    Channels double from 16 to 128 while both axes halve, so every such layer costs the same MACs.
    """
    halvings = [size.bit_length() - 1 for size in config.patch]
    layers: list[ConvLayer] = []
    channels = 1
    for layer in range(max(halvings)):
        out = min(16 * 2**layer, 128)
        stride_t, stride_f = (2 if layer < halving else 1 for halving in halvings)
        layers.append((channels, out, (stride_t, stride_f)))
        channels = out
    return layers


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
            layers = conv_layers(config)
            last = [max((n for n, layer in enumerate(layers) if layer[2][axis] == 2), default=None) for axis in (0, 1)]
            for number, (inputs, channels, stride) in enumerate(layers):
                # Padded in front, a halving is centred on the first of two cells. An axis' last halving is padded
                # behind instead, which moves the sum of all these shifts to the middle of the final cell.
                behind_t, behind_f = (int(number == last[axis]) for axis in (0, 1))
                if behind_t or behind_f:
                    body.append(nn.ZeroPad2d((0, behind_f, 0, behind_t)))
                body += [
                    nn.Conv2d(inputs, channels, 3, stride, padding=(1 - behind_t, 1 - behind_f), bias=False),
                    nn.BatchNorm2d(channels),
                    nn.GELU(),
                ]
            self.proj = nn.Conv2d(channels, config.width, 1)
        else:
            self.proj = nn.Conv2d(channels, config.width, config.patch, config.stride)
        self.body = nn.Sequential(*body)

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-Mel (B, T, M) -> (B, N, D), n = t * F + f."""
        grid: Tensor = self.proj(self.body(mel.unsqueeze(1)))  # (B, D, t, f)
        return grid.flatten(2).transpose(1, 2)  # (B, N, D)
