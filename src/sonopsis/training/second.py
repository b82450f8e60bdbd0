"""The second encoder of a captioner, which hears what the first one hears and is left as it is (`second_encoder`)."""

from dataclasses import asdict, dataclass, replace

from sonopsis.captioning.config import SecondEncoder
from sonopsis.encoder import PRESETS, Encoder
from sonopsis.mel import MelConfig
from sonopsis.training.config import EncoderTraining, FrontEndSettings, TrainConfig
from sonopsis.training.start import Start, open_start


@dataclass(frozen=True)
class Second:
    """A second encoder with its weights, and how it hears the log-Mel of the first one."""

    config: SecondEncoder
    encoder: Encoder


def open_second(config: TrainConfig, start: Start) -> Second | None:
    """The second encoder of a run: that of the model which `second_encoder` names, or of the captioner that it starts
    from.

    Raises ValueError, in one line, for a model that cannot be read or that hears another log-Mel than the first one.
    """
    name = config.second_encoder
    if name is None:
        known = start.captioner
        if known is None or known.second is None or known.second_config is None:
            return None
        return Second(known.second_config, known.second)
    if name in PRESETS:
        raise ValueError(f"second_encoder: {name} has no weights, and none are trained here; name a model")
    try:
        other = open_start(
            replace(
                config,
                model=name,
                encoder=EncoderTraining(window=config.encoder.window),
                front_end=FrontEndSettings(padding=config.front_end.padding),
            )
        )
    except ValueError as error:
        raise ValueError(f"second_encoder: {str(error).removeprefix('model: ')}") from error
    assert other.tagger is not None
    if unlike := differences(start.mel, other.mel):
        raise ValueError(
            f"second_encoder: {name} hears another log-Mel than {start.name}: {'; '.join(unlike)}. Choose one of the "
            "same family" + ("; `encoder.window` sets how long both hear" if unlike[0].startswith("frames") else "")
        )
    scale = start.mel.std / other.mel.std
    shift = (start.mel.mean - other.mel.mean) / (2 * other.mel.std)
    return Second(SecondEncoder(other.encoder, scale, shift), other.tagger.encoder)


def differences(first: MelConfig, second: MelConfig) -> list[str]:
    """In what the log-Mel of a second encoder is not the first one's, but for mean and deviation, which can be changed.

    Where inputs are as long as the clip, the second one may take longer ones, and in finer steps.
    """
    mine, theirs = asdict(first), asdict(second)
    alike = {"mean", "std"}
    if first.multiple is not None and second.multiple is not None and first.multiple % second.multiple == 0:
        alike |= {"multiple"} | ({"frames"} if second.frames >= first.frames else set())
    return [f"{key} {mine[key]} and {theirs[key]}" for key in mine if key not in alike and mine[key] != theirs[key]]
