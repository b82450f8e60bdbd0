"""The layers of the convolutional stem, as numbers: what the torch module, the graph and the MAC count agree on."""

from dataclasses import dataclass

from sonopsis.encoder.config import EncoderConfig


@dataclass(frozen=True)
class ConvLayer:
    """One 3x3 convolution with BatchNorm and GELU."""

    inputs: int  # channels
    outputs: int
    stride: tuple[int, int]  # (time, frequency)
    behind: tuple[int, int]  # 1 where the axis is padded behind alone, not on both sides
    module: int  # its place among the modules of `Stem.body`

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros before (time, frequency) and after (time, frequency)."""
        return 1 - self.behind[0], 1 - self.behind[1], 1, 1


def conv_layers(config: EncoderConfig) -> list[ConvLayer]:
    """The 3x3 layers, each halving the axes that are not yet on the patch grid.

    Channels double from 16 to 128 while both axes halve, so every such layer costs the same MACs. Padded in front, a
    halving is centred on the first of two cells. An axis' last halving is padded behind instead, which moves the sum
    of all these shifts to the middle of the final cell.
    """
    halvings = [size.bit_length() - 1 for size in config.patch]
    layers: list[ConvLayer] = []
    channels, module = 1, 0
    for layer in range(max(halvings)):
        outputs = min(16 * 2**layer, 128)
        stride_t, stride_f = (2 if layer < halving else 1 for halving in halvings)
        behind_t, behind_f = (int(layer == halving - 1) for halving in halvings)
        module += bool(behind_t or behind_f)  # the padding is a module of its own
        layers.append(ConvLayer(channels, outputs, (stride_t, stride_f), (behind_t, behind_f), module))
        channels, module = outputs, module + 3
    return layers
