"""What of a model its adapters reach, and how large they are."""

from dataclasses import dataclass

from sonopsis.lora.model import adapted_linears
from sonopsis.lora.targets import LanguageModel, target_name
from sonopsis.mamba2.model import Mamba2LM


@dataclass(frozen=True)
class Coverage:
    """What of a model is adapted: `adapters` per target, in how many layers of `layers`, and parameters by number."""

    adapters: dict[str, int]
    layers: int
    adapter_parameters: int
    trainable: int
    model_parameters: int  # without adapters

    @property
    def share(self) -> float:
        """Parameters of the adapters over those of the model they adapt."""
        return self.adapter_parameters / self.model_parameters

    def __str__(self) -> str:
        where = ", ".join(f"{target} in {count} of {self.layers} layers" for target, count in self.adapters.items())
        return (
            f"{where or 'no adapters'}: {self.adapter_parameters:,} parameters, {self.share:.2%} of the model's "
            f"{self.model_parameters:,}; {self.trainable:,} are trainable"
        )


def coverage(lm: LanguageModel) -> Coverage:
    """Which targets carry adapters, and how large these are beside the model."""
    counts: dict[str, int] = {}
    adapted = 0
    for name, linear in adapted_linears(lm):
        for part, adapter in linear.parts():
            target = target_name(name, part)
            counts[target] = counts.get(target, 0) + 1
            adapted += sum(parameter.numel() for parameter in adapter.parameters())
    parameters = list(lm.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in parameters)
    layers = lm.config.depth if isinstance(lm, Mamba2LM) else lm.model.config.num_hidden_layers
    return Coverage(counts, layers, adapted, trainable, total - adapted)
