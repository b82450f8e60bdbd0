"""The one place that builds the model of a run: tagger, connector and language model, from what the run starts from."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from sonopsis import lora
from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.config import ConnectorConfig, LMConfig
from sonopsis.captioning.connector import Connector
from sonopsis.captioning.language_model import LanguageModel
from sonopsis.causal import source
from sonopsis.encoder.tagger import Tagger
from sonopsis.files import CONFIG, read_json
from sonopsis.installed import MissingPackageError
from sonopsis.lora import LoRAConfig
from sonopsis.mamba2 import Mamba2Config, Mamba2LM
from sonopsis.training.config import ConnectorSettings, LanguageModelSizes, LoRASettings, TrainConfig
from sonopsis.training.published import check_weights, place_of
from sonopsis.training.second import open_second
from sonopsis.training.start import Start
from sonopsis.training.tokens import end_of_text, read_tokenizer, train_tokenizer
from sonopsis.unfilled import unfilled


def build_tagger(start: Start, labels: list[str]) -> Tagger:
    """A tagger of `labels` with the encoder of a start; labels that its model knows begin with the weights they had."""
    tagger = Tagger(start.encoder, len(labels))
    if (trained := start.tagger) is None:
        return tagger
    missing, _ = tagger.encoder.load_state_dict(trained.encoder.state_dict(), strict=False)
    # A run may begin to pool by attention, or to read all blocks, with a norm that an encoder read by its mean has not.
    assert all(name.startswith(("pooling.", "statistics.", "norm.")) for name in missing)
    if trained.head is not None and tagger.head is not None:
        pairs = [(new, start.labels.index(label)) for new, label in enumerate(labels) if label in start.labels]
        if pairs:
            new, old = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
            # A head that reads all blocks begins with what the other one read; the rest has no weight yet.
            known = min(tagger.head.linear.in_features, trained.head.linear.in_features)
            with torch.no_grad():
                tagger.head.norm.load_state_dict(trained.head.norm.state_dict())
                tagger.head.linear.weight[new] = 0.0
                tagger.head.linear.weight[new, :known] = trained.head.linear.weight[old, :known]
                tagger.head.linear.bias[new] = trained.head.linear.bias[old]
    return tagger


def build_captioner(
    config: TrainConfig, start: Start, labels: list[str], captions: Callable[[], Iterable[str]]
) -> tuple[Captioner, Tokenizer]:
    """The captioner of a run and its tokenizer; `captions` gives what a tokenizer is trained on, if one is.

    Raises ValueError, naming the key, for parts that do not fit each other.
    """
    inherits = start.captioner is not None and config.language_model is None
    lm, tokenizer = _language_model(config.language_model, start, captions)
    second = open_second(config, start)
    connector = _connector_config(config.connector, start, len(labels), lm.config, inherits)
    if second is not None:
        connector = _with_second(connector, second.config.width(start.encoder.frames))
    if connector.fills == "omit" and config.pruning.schedule != "none" and config.pruning.reduce == "mass":
        raise ValueError(
            f"pruning.reduce: mass leaves clips with different numbers of patches, which layout {connector.layout} "
            "cannot read; use layout concat, connector.fill or another reducer"
        )
    with unfilled():
        heard_too = None if second is None else second.config
        captioner = Captioner(start.encoder, len(labels), connector, lm, end_of_text(tokenizer), heard_too)
    if captioner.second is not None and second is not None:
        captioner.second.load_state_dict(second.encoder.state_dict())
    captioner.tagger = build_tagger(start, labels)
    captioner.connector = Connector(connector)
    if inherits and start.captioner is not None:
        _inherit_connector(captioner.connector, start.captioner.connector, same_labels=labels == start.labels)
    if config.lora is not None:
        attach(lm, config.lora)
    return captioner, tokenizer


def attach(lm: LanguageModel, settings: LoRASettings) -> None:
    """Adapters on a language model that is frozen from then on; raises ValueError for what cannot be adapted.

    Of rank 0 there are none: the language model stays as it is, and encoder and connector learn to speak to it.
    """
    if settings.rank == 0:
        lm.requires_grad_(False)
        return
    try:
        targets = None if settings.targets is None else tuple(settings.targets)
        lora.attach(lm, LoRAConfig(settings.rank, settings.alpha, settings.dropout, targets))
    except ValueError as error:
        raise ValueError(f"lora: {error}") from error


def merged(captioner: Captioner) -> Captioner:
    """The captioner with its adapters as part of the weights: a copy, or itself when there are none."""
    if not lora.has_unmerged(captioner.lm):
        return captioner
    captioner = copy.deepcopy(captioner)
    lora.merge(captioner.lm)
    lora.detach(captioner.lm)
    return captioner


def _language_model(
    wanted: str | LanguageModelSizes | None, start: Start, captions: Callable[[], Iterable[str]]
) -> tuple[LanguageModel, Tokenizer]:
    """The language model of a folder, of the model that the run starts from, or one whose weights are drawn."""
    if isinstance(wanted, str):
        check_weights("language_model", wanted)
        try:
            folder = Path(place_of(wanted))
            lm, tokenizer = read_language_model(folder), read_tokenizer(folder)
        except MissingPackageError:
            raise
        except ValueError as error:
            raise ValueError(f"language_model: {error}") from error
        return _limited(lm, tokenizer, wanted), tokenizer
    if wanted is None and start.captioner is not None and start.tokenizer is not None:
        return copy.deepcopy(start.captioner.lm), start.tokenizer
    sizes = wanted or LanguageModelSizes()
    tokenizer = train_tokenizer(captions(), sizes.vocabulary)
    return of_sizes(sizes, tokenizer.get_vocab_size(), end_of_text(tokenizer)), tokenizer


def of_sizes(sizes: LanguageModelSizes, tokens: int, end: int) -> LanguageModel:
    """A language model of so many tokens, one of which is the end of text, with newly drawn weights."""
    if sizes.architecture == "mamba2":
        return Mamba2LM(
            Mamba2Config(
                sizes.width,
                sizes.depth,
                tokens,
                state=sizes.state,
                head_dim=sizes.head_dim,
                groups=sizes.groups,
                expand=sizes.expand,
            )
        )
    try:
        return source.sized(sizes.architecture, sizes.width, sizes.depth, sizes.heads, tokens, end, sizes.fields)
    except MissingPackageError:
        raise
    except ValueError as error:
        raise ValueError(f"language_model: {error}") from error


def read_language_model(folder: Path) -> LanguageModel:
    """The language model of a folder: our Mamba-2, or one of transformers; raises ValueError when there is none."""
    kind = read_json(folder / CONFIG).get("model_type", "mamba2")  # that of state-spaces is not named
    return Mamba2LM.load(folder) if kind == "mamba2" else source.load(folder)


def _limited(lm: LanguageModel, tokenizer: Tokenizer, folder: str) -> LanguageModel:
    """The model without the rows of its embedding that are no token; they would be generated otherwise."""
    tokens, rows = tokenizer.get_vocab_size(), lm.config.vocab_size
    if tokens > rows:
        raise ValueError(
            f"language_model: {folder} has {rows} tokens, and its tokenizer.json {tokens}; "
            "put the tokenizer there that the model was trained with"
        )
    lm.config = replace(lm.config, token_count=min(tokens, lm.config.token_count or rows))
    return lm


def _connector_config(
    wanted: ConnectorSettings | None, start: Start, labels: int, lm: LMConfig, inherits: bool
) -> ConnectorConfig:
    if wanted is None and inherits and start.captioner is not None:
        found = start.captioner.connector.config
        return replace(found, labels=labels if found.labels else 0)
    settings = wanted or ConnectorSettings()
    if settings.labels not in (None, 0, labels):
        raise ValueError(f"connector.labels: it scores all {labels} labels (null) or none (0), not {settings.labels}")
    try:
        return ConnectorConfig(
            encoder_width=start.encoder.width,
            width=lm.width,
            frequency_rows=start.encoder.grid(start.mel.frames)[1],
            layout=settings.layout,
            summary=settings.summary,
            labels=labels if settings.labels is None else settings.labels,
            reduction=settings.reduction,
            pool=settings.pool,
            blocks=settings.blocks,
            pool_frequency=settings.pool_frequency,
            fill=settings.fill,
            scan=settings.scan,
            queries=settings.queries,
            expand=settings.expand,
        )
    except ValueError as error:
        raise ValueError(f"connector: {error}") from error


def _with_second(connector: ConnectorConfig, width: int) -> ConnectorConfig:
    try:
        return replace(connector, second=width)
    except ValueError as error:
        raise ValueError(f"second_encoder: {error}") from error


def _inherit_connector(connector: Connector, trained: Connector, *, same_labels: bool) -> None:
    """Weights of a trained connector for all parts that mean the same in both."""
    if connector.config.layout != trained.config.layout or connector.config.width != trained.config.width:
        return
    of_labels = ("score.", "embed.")
    own, state = connector.state_dict(), trained.state_dict()
    known = {name: value for name, value in state.items() if same_labels or not name.startswith(of_labels)}
    if connector.config.inputs == trained.config.inputs and not trained.config.further:
        # What is read besides counts for nothing at first, so that it begins as the trained one.
        known["mlp.0.weight"] = functional.pad(known["mlp.0.weight"], (0, connector.config.further))
    fitting = {name: value for name, value in known.items() if name in own and own[name].shape == value.shape}
    connector.load_state_dict(fitting, strict=False)
