"""Recording -> sentence: the tagger's encoder, a connector, and a Mamba-2 language model that reads the tokens.

    log-Mel (B, T, M) -> encoder -> tokens (B, K, D) -> connector -> prefix (B, L, E) \
                                                          <start> caption ids (B, W) ---> Mamba-2 -> logits (B, W, V)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sonopsis.captioning.connector import Connector, ConnectorConfig
from sonopsis.decoding import Hypothesis, Sampling
from sonopsis.decoding.consensus import TEMPERATURE
from sonopsis.encoder import Encoded, EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import END_OF_TEXT
from sonopsis.mamba2 import Mamba2Config, Mamba2LM
from sonopsis.pruning import Pruning


class Captioner(nn.Module):
    """A tagger, and a Mamba-2 that continues the tagger's tokens with words (arXiv 2509.15680, section 2)."""

    def __init__(self, encoder: EncoderConfig, labels: int, connector: ConnectorConfig, lm: Mamba2Config) -> None:
        super().__init__()
        self.tagger = Tagger(encoder, labels)
        self.connector = Connector(connector)
        self.lm = Mamba2LM(lm)

    def encode(self, mel: Tensor, pruning: Pruning | None = None) -> Encoded:
        """Normalised log-Mel (B, T, M) -> tokens, with what the connector needs to fill pruned cells."""
        return self.tagger.encode(mel, pruning, collect_dropped=self.connector.config.layout == "concat")

    def forward(self, mel: Tensor, ids: Tensor, pruning: Pruning | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """For training: next-word logits (B, W, V) of captions `ids` (B, W), tag logits (B, labels), and the logits
        (B, L, labels) of what the connector recognises along the prefix, if it is one that does."""
        encoded = self.encode(mel, pruning)
        prefix, recognised = self.connector.read(encoded)
        return self.words(prefix, ids), self.tagger.logits(encoded), recognised

    def words(self, prefix: Tensor, ids: Tensor) -> Tensor:
        """Logits (B, W, V): position w predicts ids[:, w] from the prefix (B, L, E) and the words before it.

        Ids below 0 are padding.
        """
        ids = ids.clamp(min=END_OF_TEXT)
        start = torch.full_like(ids[:, :1], END_OF_TEXT)
        words = self.lm.embed(torch.cat([start, ids[:, :-1]], dim=1))  # (B, W, E)
        hidden = self.lm.hidden(torch.cat([prefix.to(words.dtype), words], dim=1))  # (B, L + W, E)
        logits: Tensor = self.lm.lm_head(hidden[:, prefix.shape[1] :])
        return logits

    @torch.inference_mode()
    def generate(
        self, encoded: Encoded, *, max_new_tokens: int, beams: int = 1, lm: Mamba2LM | None = None
    ) -> list[Hypothesis]:
        """The best caption of each clip of the batch, as token ids with the mean log-probability of its tokens.

        `lm`, here and below, writes in place of the captioner's own language model: a copy of it, prepared.
        """
        return self.say(self.connector(encoded), max_new_tokens=max_new_tokens, beams=beams, lm=lm)

    @torch.inference_mode()
    def say(
        self, prefix: Tensor, *, max_new_tokens: int, beams: int = 1, lm: Mamba2LM | None = None
    ) -> list[Hypothesis]:
        """The best caption of each prefix (B, L, E)."""
        found: Sequence[Sequence[Hypothesis]] = (lm or self.lm).generate(
            embeds=self._prompts(prefix), max_new_tokens=max_new_tokens, beams=beams, stop_ids=(END_OF_TEXT,)
        )
        return [hypotheses[0] for hypotheses in found]

    @torch.inference_mode()
    def draw(
        self, encoded: Encoded, *, max_new_tokens: int, samples: int, lm: Mamba2LM | None = None
    ) -> Sequence[Sequence[Hypothesis]]:
        """Captions drawn at random for each clip of the batch, the same at each call: to choose from by `consensus`."""
        return (lm or self.lm).generate(
            embeds=self._prompts(self.connector(encoded)),
            max_new_tokens=max_new_tokens,
            sampling=Sampling(TEMPERATURE, samples=samples),
            stop_ids=(END_OF_TEXT,),
        )

    def _prompts(self, prefix: Tensor) -> Tensor:
        start = self.lm.embed(torch.full((prefix.shape[0], 1), END_OF_TEXT, device=prefix.device))
        return torch.cat([prefix, start], dim=1)  # (B, L + 1, E)
