"""What ours is compared with, on the same weights: transformers' AST and Whisper, and the published pruning code's way.

The published implementation of arXiv 2504.01690 computes every attention matrix of every block, takes its scores from
the stored matrix, and drops patches after the residual of the attention, so that output rows of dropped patches have
been computed; its last block computes every token though the head reads two of them. `ReferenceTagger` is written
here in that way, from the paper and with nothing but `F.linear` and `softmax`: the same logits as ours, up to rounding,
at the cost of the published way.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonopsis.bench.weights import read_tagger
from sonopsis.checkpoints import whisper_write
from sonopsis.checkpoints.ast_write import huggingface_state
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.tagger import Tagger

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class ReferenceTagger:
    """Encoder and head as the published code computes them; for pre-norm encoders that score by attention."""

    def __init__(self, tagger: Tagger, keep: Mapping[int, float]) -> None:
        if not self.knows(tagger.encoder.config):
            raise ValueError(
                "the published pruning code knows encoders with pre-norm blocks whose head reads the last one"
            )
        self.tagger, self.keep = tagger, dict(keep)

    @staticmethod
    def knows(config: EncoderConfig) -> bool:
        """Whether it can compute such an encoder."""
        return config.norm == "pre" and not config.layer_weights

    def __call__(self, mel: Tensor) -> Tensor:
        """Normalised log-Mel (B, T, M) -> logits (B, labels)."""
        encoder, prefix = self.tagger.encoder, self.tagger.encoder.config.prefix_tokens
        x, _ = encoder.embed(mel)  # (B, P + N, D)
        for number, block in enumerate(encoder.blocks):
            weights, values = self._attention(block, block.norm1(x))
            x = x + F.linear(
                (weights @ values).transpose(1, 2).flatten(2), block.attn.proj.weight, block.attn.proj.bias
            )
            rate = self.keep.get(number, 1.0)
            if rate < 1:
                kept = self._scores(weights).topk(math.ceil(rate * (x.shape[1] - prefix)), dim=1).indices  # (B, K)
                patches = x[:, prefix:].gather(1, kept.unsqueeze(-1).expand(-1, -1, x.shape[2]))
                x = torch.cat([x[:, :prefix], patches], dim=1)
            hidden = F.gelu(F.linear(block.norm2(x), block.fc1.weight, block.fc1.bias))
            x = x + F.linear(hidden, block.fc2.weight, block.fc2.bias)
        x = encoder.norm(x)
        if encoder.config.reads_prefix:
            pooled = x[:, : 2 if encoder.config.pooling == "cls_dist" else 1].mean(1)
        else:
            pooled = _mean(encoder.pooling, x[:, prefix:])
        head = self.tagger.head
        assert head is not None
        logits: Tensor = head(pooled)
        return logits

    def _attention(self, block: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """The stored matrix (B, H, P + N, P + N), and the values (B, H, P + N, D/H)."""
        batch, length, width = y.shape
        qkv = F.linear(y, block.attn.qkv.weight, block.attn.qkv.bias)
        q, k, v = qkv.view(batch, length, 3, block.attn.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, P + N, D/H) each
        scale = (width // block.attn.heads) ** -0.5
        return ((q @ k.transpose(2, 3)) * scale).softmax(dim=-1), v

    def _scores(self, weights: Tensor) -> Tensor:
        """Of every patch (B, N): attention of CLS to it (AST), or of all patches (AudioMAE), meaned over heads."""
        prefix = self.tagger.encoder.config.prefix_tokens
        if self.tagger.encoder.config.score == "cls":
            return weights[:, :, 0, prefix:].mean(dim=1)
        return weights[:, :, prefix:, prefix:].mean(dim=(1, 2))


def transformers_ast(tagger: Tagger, attention: str = "sdpa") -> Any:
    """transformers' ASTForAudioClassification with the weights of an AST `Tagger`; raises ValueError without it."""
    try:
        from transformers import ASTConfig, ASTForAudioClassification
    except ImportError as error:
        raise ValueError('peers need transformers: pip install "sonopsis[hf]"') from error
    config, labels = tagger.encoder.config, tagger.head.linear.out_features if tagger.head is not None else 0
    fields: dict[str, Any] = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": round(config.width * config.mlp_ratio),
        "layer_norm_eps": config.norm_eps,
        "max_length": config.frames,
        "num_mel_bins": config.mels,
        "patch_size": config.patch[0],
        "time_stride": config.stride[0],
        "frequency_stride": config.stride[1],
        "num_labels": labels,
        "attn_implementation": attention,
    }
    with torch.device("meta"):
        model = ASTForAudioClassification(ASTConfig(**fields))
    model.load_state_dict(huggingface_state(tagger.state_dict(), config, modern=True), assign=True)
    return model.eval()


class TransformersWhisper(nn.Module):
    """transformers' WhisperEncoder with the weights of a Whisper `Tagger`, before the pooling and the head of that."""

    def __init__(self, tagger: Tagger, attention: str = "sdpa") -> None:
        """Raises ValueError without transformers."""
        try:
            from transformers import WhisperConfig
            from transformers.models.whisper.modeling_whisper import WhisperEncoder
        except ImportError as error:
            raise ValueError('peers need transformers: pip install "sonopsis[hf]"') from error
        super().__init__()
        config = tagger.encoder.config
        self.frames = config.frames
        fields: dict[str, Any] = {
            "d_model": config.width,
            "encoder_layers": config.depth,
            "encoder_attention_heads": config.heads,
            "encoder_ffn_dim": round(config.width * config.mlp_ratio),
            "num_mel_bins": config.mels,
            "max_source_positions": config.frames // 2,
            "attn_implementation": attention,
        }
        with torch.device("meta"):
            self.encoder = WhisperEncoder(WhisperConfig(**fields))
        state = whisper_write.huggingface_state(tagger.state_dict(), config, config.frames)
        inside = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
        self.encoder.load_state_dict(inside, assign=True)
        self.pooling, self.head = tagger.encoder.pooling, tagger.head
        self.eval()

    @staticmethod
    def knows(config: EncoderConfig) -> bool:
        """Whether transformers has such an encoder."""
        return config.family == "whisper" and config.final_norm and not config.layer_weights

    def forward(self, mel: Tensor) -> Tensor:
        """Normalised log-Mel (B, T, M) -> logits (B, labels), of which fewer frames than it insists on are padded."""
        mel = F.pad(mel, (0, 0, 0, self.frames - mel.shape[1]))
        tokens = self.encoder(mel.transpose(1, 2)).last_hidden_state  # (B, N, D)
        assert self.head is not None
        logits: Tensor = self.head(_mean(self.pooling, tokens))
        return logits


def _mean(pooling: nn.Module | None, patches: Tensor) -> Tensor:
    """The mean (B, D) of patches (B, N, D), with learned weights where the encoder has them."""
    if pooling is None:
        return patches.mean(1)
    mean: Tensor = pooling(patches, patches.new_ones(patches.shape[:2]))[:, 0]
    return mean


# What the measuring processes prepare; `mel` is a file with normalised log-Mel (B, T, M) float32.


def run_transformers(model: str, mel: str, precision: str, attention: str) -> Callable[[], object]:
    """transformers' AST or Whisper, log-Mel to logits."""
    tagger = read_tagger(model)
    x = torch.from_numpy(np.load(mel)).to(DTYPES[precision])
    if tagger.encoder.config.family == "whisper":
        return _called_once(partial(TransformersWhisper(tagger, attention).to(DTYPES[precision]), x))
    theirs = transformers_ast(tagger, attention).to(DTYPES[precision])
    return _called_once(lambda: theirs(x).logits)


def run_reference(model: str, mel: str, precision: str, keep: Mapping[int, float]) -> Callable[[], object]:
    """The published pruning code's way, log-Mel to logits."""
    tagger = read_tagger(model).to(DTYPES[precision])
    x = torch.from_numpy(np.load(mel)).to(DTYPES[precision])
    return _called_once(partial(ReferenceTagger(tagger, keep), x))


def run_tagger(model: str, mel: str, precision: str, pruning: Any) -> Callable[[], object]:
    """Our modules with a `Pruning` that keep rates alone do not describe, log-Mel to logits."""
    tagger = read_tagger(model).to(DTYPES[precision])
    x = torch.from_numpy(np.load(mel)).to(DTYPES[precision])
    return _called_once(partial(tagger, x, pruning))


def _called_once(call: Callable[[], Any]) -> Callable[[], object]:
    """The call without gradients, made once: only then are all weights in memory."""
    _without_gradients(call)
    return partial(_without_gradients, call)


@torch.inference_mode()
def _without_gradients(call: Callable[[], Any]) -> Any:
    return call()
