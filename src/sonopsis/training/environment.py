"""What a run was computed with, for whoever wants to repeat it."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

import sonopsis

ENVIRONMENT = "environment.json"  # in a run's output
PACKAGES = ("torch", "accelerate", "numpy", "tokenizers", "soundfile", "soxr", "safetensors", "transformers")


def environment(module: nn.Module, device: torch.device, processes: int, precision: str) -> dict[str, Any]:
    """Versions, machine, threads, precision and command, and the numbers of all and of trained parameters, as JSON."""
    parameters = list(module.parameters())
    return {
        "sonopsis": sonopsis.__version__,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "precision": precision,
        "command": sys.argv,
        "parameters": sum(one.numel() for one in parameters),
        "trainable": sum(one.numel() for one in parameters if one.requires_grad),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
