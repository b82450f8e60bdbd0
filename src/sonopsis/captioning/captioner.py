"""Recording -> sentence: the tagger's encoder, a connector, and a language model that reads the tokens.

    log-Mel (B, T, M) -> encoder -> tokens (B, K, D) -> connector -> prefix (B, L, E) \
                                                          <start> caption ids (B, W) ---> Mamba-2 -> logits (B, W, V)

In place of the Mamba-2 there may be any causal language model of transformers, and beside the encoder a second one that
hears the same log-Mel, whose tokens the connector reads too. How sentences are searched for is the
business of `sonopsis.decoding`; this module gives it a prompt.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from sonopsis.captioning.config import ConnectorConfig, LMConfig, SecondEncoder
from sonopsis.captioning.connector import Connector, Heard, summary_of
from sonopsis.captioning.language_model import LanguageModel, new_language_model
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.tagger import Tagger
from sonopsis.encoder.vit import Encoder
from sonopsis.pruning.config import Pruning


class Captioner(nn.Module):
    """A tagger, and a language model that continues the tagger's tokens with words (arXiv 2509.15680, section 2).

    `lm` is the language model, or the configuration of one whose weights are drawn. `end_of_text` is the token that
    starts a caption and ends it.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        labels: int,
        connector: ConnectorConfig,
        lm: LanguageModel | LMConfig,
        end_of_text: int = 0,
        second: SecondEncoder | None = None,
    ) -> None:
        super().__init__()
        if any(block >= encoder.depth - 1 for block in connector.blocks):
            raise ValueError(
                f"connector.blocks {list(connector.blocks)} must be blocks before the last one: this encoder has "
                f"blocks 0-{encoder.depth - 1}, and what leaves the last is read anyway"
            )
        self.end_of_text = end_of_text
        self.tagger = Tagger(encoder, labels)
        self.connector = Connector(connector)
        self.second_config = second
        self.second = None if second is None else Encoder(second.encoder).requires_grad_(False)
        self.lm: LanguageModel = lm if isinstance(lm, nn.Module) else new_language_model(lm)

    def encode(self, mel: Tensor, pruning: Pruning | None = None) -> Encoded[Tensor]:
        """Normalised log-Mel (B, T, M) -> tokens, with what the connector needs to fill pruned cells."""
        reads = self.connector.config
        found = self.tagger.encode(mel, pruning, collect_dropped=reads.fills != "omit", collect_blocks=reads.blocks)
        return found if self.second is None else replace(found, second=self._second_steps(mel, found.grid[0]))

    def _second_steps(self, mel: Tensor, time: int) -> Tensor:
        """What the second encoder makes of a log-Mel (B, T, M), in `time` steps (B, time, E): means where it has more,
        repeated where it has fewer."""
        assert self.second is not None and self.second_config is not None
        heard = self.second(mel * self.second_config.scale + self.second_config.shift)
        steps = heard.tokens.unflatten(1, heard.grid).flatten(2)  # (B, t', f' * D')
        return functional.adaptive_avg_pool1d(steps.transpose(1, 2), time).transpose(1, 2)

    def train(self, mode: bool = True) -> "Captioner":
        """As in torch, but the second encoder stays in evaluation mode."""
        super().train(mode)
        if self.second is not None:
            self.second.eval()
        return self

    def hear(self, mel: Tensor, pruning: Pruning | None = None) -> Heard:
        """Normalised log-Mel (B, T, M) -> all that connector (of the layout concat) and head read of it."""
        encoded = self.encode(mel, pruning)
        return Heard(self.connector.steps(encoded), summary_of(encoded), self.tagger.encoder.pool(encoded))

    def forward(
        self, sound: Tensor | Heard, ids: Tensor, pruning: Pruning | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """For training: next-word logits (B, W, V) of captions `ids` (B, W), tag logits (B, labels), and the logits
        (B, L, labels) of the labels that the connector scores along the prefix, None if it scores none.

        `sound` is a log-Mel (B, T, M), or what `hear` made of it.
        """
        if isinstance(sound, Heard):
            assert self.tagger.head is not None
            prefix, recognised = self.connector.read_steps(sound.steps, sound.summary)
            return self.words(prefix, ids), self.tagger.head(sound.pooled), recognised
        encoded = self.encode(sound, pruning)
        prefix, recognised = self.connector.read(encoded)
        return self.words(prefix, ids), self.tagger.logits(encoded), recognised

    def words(self, prefix: Tensor, ids: Tensor) -> Tensor:
        """Logits (B, W, V): position w predicts ids[:, w] from the prefix (B, L, E) and the words before it.

        Ids below 0 are padding.
        """
        ids = torch.where(ids < 0, self.end_of_text, ids)
        start = torch.full_like(ids[:, :1], self.end_of_text)
        words = self.lm.embed(torch.cat([start, ids[:, :-1]], dim=1))  # (B, W, E)
        read = torch.cat([prefix.to(words.dtype), words], dim=1)  # (B, L + W, E)
        return self.lm.logits(read, last=words.shape[1])

    def prompt(self, prefix: Tensor) -> Tensor:
        """What the language model reads before the first word: the prefix (B, L, E) and the start token,
        (B, L + 1, E)."""
        start = self.lm.embed(torch.full((prefix.shape[0], 1), self.end_of_text, device=prefix.device))
        return torch.cat([prefix, start], dim=1)
