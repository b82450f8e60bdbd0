"""One layer of Mamba-2: projection, causal convolution, state-space recurrence, gated norm, projection."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mamba2.conv import causal_conv
from sonopsis.mamba2.ssd import ssd_chunked, ssd_outputs, ssd_step, widen

DT_RANGE = (1e-3, 1e-1)  # step sizes and decay rates of a model before training, as in the paper's code
A_RANGE = (1.0, 16.0)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis in `groups` equal parts, computed in float32."""

    def __init__(self, width: int, eps: float, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) in any dtype -> the same shape, float32 (float64 stays)."""
        x, weight = widen(x), widen(self.weight)
        if self.groups == 1:
            return F.rms_norm(x, weight.shape, weight, self.eps)
        parts = x.unflatten(-1, (self.groups, -1))
        return F.rms_norm(parts, parts.shape[-1:], None, self.eps).flatten(-2) * weight


class StepWeights(NamedTuple):
    """What one decoding step needs of a mixer besides its projections, in float32, computed once per generation."""

    taps: Tensor  # (taps, channels)
    bias: Tensor  # (channels,)
    dt_bias: Tensor  # (h,)
    A: Tensor  # (h,)
    D: Tensor  # (h,)


class Mixer(nn.Module):
    """The Mamba-2 block (arXiv 2405.21060, section 7), parameters named as in the published checkpoints.

    `in_proj` makes [z | x | B | C | dt]; [x | B | C] pass the convolution; z gates the output before its norm.
    """

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(config.width, config.inner + config.conv_channels + config.heads, bias=False)
        self.conv1d = nn.Conv1d(config.conv_channels, config.conv_channels, config.conv, groups=config.conv_channels)
        dt = torch.empty(config.heads).uniform_(*(math.log(limit) for limit in DT_RANGE)).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        self.A_log = nn.Parameter(torch.empty(config.heads).uniform_(*A_RANGE).log())
        self.D = nn.Parameter(torch.ones(config.heads))
        self.norm = RMSNorm(config.inner, config.norm_eps, config.groups)
        self.out_proj = nn.Linear(config.inner, config.width, bias=False)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(config.depth)  # the residual sum keeps its size with depth

    def forward(self, u: Tensor, state: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None) -> Tensor:
        """u (b, l, E) -> (b, l, E); `state` (one layer of a `Cache`) is continued and updated in place.

        With `lengths` (b,) int64 only the first positions of each row count: the state is that after a row's own last
        position. Outputs at padded positions mean nothing.
        """
        config = self.config
        z, xbc, dt = self._project(u)
        padded = xbc  # (b, taps - 1 + l, channels) behind a state
        if state is not None:
            padded = torch.cat([state[0].to(xbc.dtype), xbc], dim=1)
        xbc = F.silu(causal_conv(padded, widen(self.conv1d.weight), widen(self._conv_bias)))[:, -u.shape[1] :]
        x, B, C = xbc.split([config.inner, config.groups * config.state, config.groups * config.state], dim=-1)
        dt = F.softplus(dt + self.dt_bias)
        if lengths is not None:
            ended = torch.arange(u.shape[1], device=u.device) >= lengths.unsqueeze(1)  # (b, l)
            dt = dt.masked_fill(ended.unsqueeze(-1), 0.0)
        inputs = (
            x.unflatten(-1, (config.heads, config.head_dim)),
            dt,
            -torch.exp(widen(self.A_log)),
            B.unflatten(-1, (config.groups, config.state)),
            C.unflatten(-1, (config.groups, config.state)),
            self.D,
        )
        if state is None:
            return self._output(ssd_outputs(*inputs, chunk=config.chunk).flatten(-2), z)
        start = state[1].clone() if torch.is_grad_enabled() else state[1]  # autograd keeps what is overwritten below
        y, final = ssd_chunked(*inputs, start, chunk=config.chunk)
        state[0].copy_(_last_inputs(padded, lengths, config.conv - 1).detach())
        state[1].copy_(final.detach())
        return self._output(y.flatten(-2), z)

    def step_weights(self) -> StepWeights:
        """The small parameters in the form `step` takes; compute them again after the parameters changed."""
        taps = widen(self.conv1d.weight.detach())[:, 0].T.contiguous()
        decay = -torch.exp(widen(self.A_log.detach()))
        bias, dt_bias, skip = (widen(tensor.detach()) for tensor in (self._conv_bias, self.dt_bias, self.D))
        return StepWeights(taps, bias, dt_bias, decay, skip)

    def step(self, u: Tensor, state: tuple[Tensor, Tensor], weights: StepWeights) -> Tensor:
        """One position: u (b, E) -> (b, E); `state` is updated in place. Not differentiable."""
        config = self.config
        z, xbc, dt = self._project(u)
        conv, ssm = state
        window = torch.cat([conv, xbc.unsqueeze(1)], dim=1)  # (b, taps, channels)
        conv.copy_(window[:, 1:])
        xbc = F.silu((window * weights.taps).sum(1).add_(weights.bias), inplace=True)
        x, B, C = xbc.split([config.inner, config.groups * config.state, config.groups * config.state], dim=-1)
        y = ssd_step(
            ssm,
            x.view(-1, config.heads, config.head_dim),
            F.softplus(dt + weights.dt_bias),
            weights.A,
            B.view(-1, config.groups, config.state),
            C.view(-1, config.groups, config.state),
            weights.D,
        )
        return self._output(y.flatten(-2), z)

    @property
    def _conv_bias(self) -> Tensor:
        assert self.conv1d.bias is not None  # Conv1d makes one unless told not to
        return self.conv1d.bias

    def _project(self, u: Tensor) -> tuple[Tensor, ...]:
        config = self.config
        projected = widen(self.in_proj(u.to(self.in_proj.weight.dtype)))
        return projected.split([config.inner, config.conv_channels, config.heads], dim=-1)

    def _output(self, y: Tensor, z: Tensor) -> Tensor:
        return self.out_proj(self.norm(y * F.silu(z)).to(self.out_proj.weight.dtype))


def _last_inputs(padded: Tensor, lengths: Tensor | None, count: int) -> Tensor:
    """The `count` inputs before each row's end, out of (b, count + l, channels)."""
    if lengths is None:
        return padded[:, padded.shape[1] - count :]
    rows = lengths.unsqueeze(1) + torch.arange(count, device=padded.device)  # (b, count)
    return padded.gather(1, rows.unsqueeze(-1).expand(-1, -1, padded.shape[2]))


class Layer(nn.Module):
    """Norm and mixer with a float32 residual around them."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.mixer = Mixer(config)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None) -> Tensor:
        """Residual (b, l, E) -> (b, l, E), see `Mixer.forward`."""
        return x + self.mixer(self.norm(x), state, lengths)

    def step(self, x: Tensor, state: tuple[Tensor, Tensor], weights: StepWeights) -> Tensor:
        """Residual (b, E) -> (b, E), see `Mixer.step`."""
        return x + self.mixer.step(self.norm(x), state, weights)
