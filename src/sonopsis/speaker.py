"""From what an engine heard in a window to a sentence that the tags believe.

prompt -> sentences drawn -> the best one, by the other sentences, the tags and the times -> said, or "unclear"
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sonopsis.calibration import Calibration, belief
from sonopsis.decoding.consensus import (
    TEMPERATURE,
    CaptionParser,
    agreement,
    beginnings,
    consensus,
    order_support,
    tag_support,
)
from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.sampling import Sampling
from sonopsis.decoding.search import Hypothesis, decode
from sonopsis.engines.base import Engine, Prompt
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder
from sonopsis.results import WindowResult

UNCLEAR_CAPTION = "An unclear sound."


class Speaker:
    """Puts into words what an engine heard; for one model."""

    def __init__(
        self, engine: Engine, folder: ModelFolder, tokenizer: Tokenizer | None, parse: CaptionParser | None
    ) -> None:
        """`parse` tells which labels a caption names (None: the project's word table for labels of its vocabulary,
        the labels' own words for others)."""
        self._engine, self._name, self._config = engine, folder.name, folder.config
        self._calibration = folder.config.calibration or Calibration()
        self._tokenizer, self._parse = tokenizer, parse

    def decode(self, ids: Sequence[int]) -> str:
        """Caption token ids -> text; raises ModelError for a model without a tokenizer."""
        if self._tokenizer is None:
            raise ModelError(f"{self._name} only tags; it has no tokenizer")
        return self._tokenizer.decode(list(ids)).strip()

    def caption(self, window: WindowResult, prompt: Prompt, scores: NDArray[np.float32], beams: int) -> WindowResult:
        """A tagged window with its caption; `scores` (labels,) are those of `prompt`.

        An unclear sound if the best sentence is not believed (`Calibration.belief`).
        """
        (found,) = decode(self._engine.stepper(), prompt.embeddings, self.decoding(beams))
        begins = {} if prompt.steps is None else beginnings(prompt.steps[0].tolist(), self._config.labels)
        return self._chosen(window, found, scores, begins)

    def decoding(self, beams: int) -> DecodingOptions:
        """How this model generates captions: beams if they are asked for, else its own way."""
        config, drawn = self._config, self._config.caption_samples if beams == 1 else 0
        return DecodingOptions(
            config.max_caption_tokens,
            beams=beams,
            sampling=Sampling(TEMPERATURE, samples=drawn) if drawn else None,
            stop_ids=(config.end_of_text,),
            forbid_ids=() if config.lm is None else config.lm.padding_ids,
        )

    def _chosen(
        self,
        window: WindowResult,
        found: Sequence[Hypothesis],
        scores: NDArray[np.float32],
        begins: Mapping[str, int],
    ) -> WindowResult:
        """A window with the best hypothesis of a search as caption, of sampled ones that on which the others, the tags
        and the steps in which labels begin agree; an unclear sound if the tags do not believe it."""
        config, calibration = self._config, self._calibration
        taught = config.distilled_labels  # no training caption names them
        tags = {name: score for name, score in zip(config.labels, scores.tolist(), strict=True) if name not in taught}
        drawn = config.caption_samples and len(found) > 1
        if not (drawn or calibration.belief):
            return replace(window, caption=self.decode(found[0].ids), score=found[0].score)
        if self._parse is None:
            from sonopsis.scenes.words import parser  # reads a table, which models that only tag do not need

            self._parse = parser(list(tags))
        named = [self._parse(self.decode(hypothesis.ids)) for hypothesis in found]
        place, confidence = 0, None
        if drawn:
            sequences = [hypothesis.ids for hypothesis in found]
            place = consensus(sequences, [tag_support(ls, tags) + order_support(ls, begins) for ls in named])
            believed = [tags.get(label, 0.0) for label in set(named[place])]
            confidence = calibration.confidence(agreement(sequences, place), believed)
        if belief(named[place], tags) < calibration.belief:
            return replace(window, caption=UNCLEAR_CAPTION)
        best = found[place]
        return replace(window, caption=self.decode(best.ids), score=best.score, confidence=confidence)
