"""From what an engine heard in a window to a sentence that names only what the tags allow.

logits, labels in time -> scores -> [facts ->] prompt -> sentences drawn -> the best one that the tags allow

A language model that reads facts (`ModelConfig.facts`) is told which labels sound when, and nothing else: the labels
that the tags find (their scores reach `ModelConfig.least`), in the time steps in which the connector hears them. The
tagger hears better than the connector which sounds are there, and the connector knows when (docs/log.md). Other
language models read what their connector makes of the tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sonopsis.calibration import Calibration, grounded
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
from sonopsis.folder import ModelConfig, ModelFolder
from sonopsis.results import WindowResult
from sonopsis.tracks import facts

UNCLEAR_CAPTION = "An unclear sound."


class Speaker:
    """Puts into words what an engine heard; for one model."""

    def __init__(
        self, engine: Engine, folder: ModelFolder, tokenizer: Tokenizer | None, parse: CaptionParser | None
    ) -> None:
        """`parse` tells which labels a caption names (None: the project's word table for labels of its vocabulary,
        the labels' own words for others)."""
        self._engine, self._name, self._config = engine, folder.name, folder.config
        self._tokenizer, self._parse = tokenizer, parse

    def decode(self, ids: Sequence[int]) -> str:
        """Caption token ids -> text; raises ModelError for a model without a tokenizer."""
        if self._tokenizer is None:
            raise ModelError(f"{self._name} only tags; it has no tokenizer")
        return self._tokenizer.decode(list(ids)).strip()

    def caption(self, window: WindowResult, prompt: Prompt, scores: NDArray[np.float32], beams: int) -> WindowResult:
        """A tagged window with its caption; `scores` (labels,) are those of `prompt`. An unclear sound if no label
        reaches its threshold."""
        config = self._config
        own = np.array([config.thresholds.get(label, 0.0) for label in config.labels])
        if not (scores >= own).any():
            return replace(window, caption=UNCLEAR_CAPTION)
        embeddings = told(self._engine, config, prompt, scores)
        (found,) = decode(self._engine.stepper(), embeddings, self._decoding(beams))
        begins = {} if prompt.steps is None else beginnings(prompt.steps[0].tolist(), config.labels)
        return self._chosen(window, found, scores, begins)

    def _decoding(self, beams: int) -> DecodingOptions:
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
        """A window with the best grounded hypothesis of a search as caption, of sampled ones that on which the others,
        the tags and the steps in which labels begin agree; an unclear sound if none names only what the tags allow."""
        config = self._config
        taught = config.distilled_labels  # no training caption names them
        tags = {name: score for name, score in zip(config.labels, scores.tolist(), strict=True) if name not in taught}
        drawn = config.caption_samples and len(found) > 1
        least = config.least
        if not (drawn or least):
            return replace(window, caption=self.decode(found[0].ids), score=found[0].score)
        if self._parse is None:
            from sonopsis.scenes.words import parser  # reads a table, which models that only tag do not need

            self._parse = parser(list(tags))
        named = [self._parse(self.decode(hypothesis.ids)) for hypothesis in found]
        places = [i for i, labels in enumerate(named) if not least or grounded(labels, tags, least)]
        if not places:
            return replace(window, caption=UNCLEAR_CAPTION)
        place, confidence = places[0], None
        if drawn:
            sequences = [hypothesis.ids for hypothesis in found]
            expected = {label: float(score >= least.get(label, 0.5)) for label, score in tags.items()}
            wanted = expected if config.facts else tags  # a sentence should tell all that it was told
            support = [tag_support(labels, wanted) + order_support(labels, begins) for labels in named]
            place = consensus(sequences, support, places)
            believed = [tags.get(label, 0.0) for label in set(named[place])]
            calibration = config.calibration or Calibration()
            confidence = calibration.confidence(agreement(sequences, place), believed)
        best = found[place]
        return replace(window, caption=self.decode(best.ids), score=best.score, confidence=confidence)


def told(engine: Engine, config: ModelConfig, prompt: Prompt, scores: NDArray[np.float32]) -> Any:
    """What the language model of a model reads of one clip that was heard, (1, L + 1, E): the prompt, or facts."""
    if not config.facts or prompt.steps is None or config.connector is None:
        return prompt.embeddings
    least = config.least
    present = [
        place
        for place, (label, score) in enumerate(zip(config.labels, scores.tolist(), strict=True))
        if score >= least.get(label, 0.5) and label not in config.distilled_labels
    ]
    return engine.tell(prompt, facts(prompt.steps[0], present, summary=config.connector.summary)[None])
