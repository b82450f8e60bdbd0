"""A description of the machine, and the memory of this process."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sonopsis.many import cores
from sonopsis.processor import processor

# Instruction sets that decide how fast matrices are multiplied, by their names in Linux.
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
)
PACKAGES = ("numpy", "torch", "transformers", "peft", "openvino", "onnxruntime", "llama-cpp-python")
QUIET = 0.5  # the highest load average at which times can be trusted


def describe_machine() -> dict[str, Any]:
    """CPU, cores, threads, memory, versions and the load average at this moment; nothing is imported to find out."""
    cpu = processor()
    return {
        "cpu": cpu.name,
        "flags": [flag for flag in FLAGS if flag in cpu.flags],
        "cores": cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sonopsis": _own_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "load": load_average(),
    }


def summary(machine: Mapping[str, Any]) -> str:
    """The machine in one line, for the text above a table."""
    flags = ", ".join(machine["flags"])
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items())
    read = f", reads {machine['read_gb_per_s']} GB/s" if "read_gb_per_s" in machine else ""
    return (
        f"{machine['cpu']}{f' ({flags})' if flags else ''}, {machine['cores']} cores, threads {machine['threads']}, "
        f"load {machine['load']}; Python {machine['python']}, sonopsis {machine['sonopsis']}, {versions}{read}"
    )


def warn_if_busy(machine: Mapping[str, Any]) -> str | None:
    """A warning of one line if the machine has other work to do, else None."""
    load = machine["load"]
    if load is None or load <= QUIET:
        return None
    return f"warning: load average {load} at the start: others use this machine, and these figures are noise"


def load_average() -> float | None:
    """The number of processes that wanted a core over the last minute; None if the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def resident_mib() -> float | None:
    """Resident memory of this process in MiB; None if the system does not tell."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Set the peak to the memory of this moment. Where the system forbids it, the peak since the start remains."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_mib() -> float | None:
    """The largest resident memory in MiB since `reset_peak`, or since the start of the process."""
    peak = _status("VmHWM")
    if peak is not None or sys.platform == "win32":
        return peak
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _status(name: str) -> float | None:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _own_version() -> str:
    import sonopsis

    return sonopsis.__version__


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
