"""What the processor of this machine computes in hardware, found out without torch."""

import platform
from dataclasses import dataclass
from functools import cache
from importlib import import_module

# The instruction sets that multiply numbers of a precision, by the names that Linux gives them on x86 and on ARM.
# A processor with none of them widens every number first, which is several times slower than float32.
HARDWARE = {
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}
# Linux's names of what NumPy knows, for systems that have no /proc/cpuinfo.
NUMPY_NAMES = {
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512VNNI": "avx512_vnni",
    "AVX512BF16": "avx512_bf16",
    "AVX512FP16": "avx512_fp16",
    "ASIMD": "asimd",
    "ASIMDHP": "asimdhp",
    "ASIMDDP": "asimddp",
}


@dataclass(frozen=True)
class Processor:
    """A processor, as far as the choice of an engine and of a precision depends on it."""

    name: str
    vendor: str  # AuthenticAMD, GenuineIntel, ...; empty where the system does not tell
    flags: frozenset[str]  # instruction sets, by the names that Linux gives them

    def computes(self, precision: str) -> bool:
        """Whether it multiplies numbers of a precision directly; float32 and int8 are multiplied everywhere."""
        return precision not in HARDWARE or not self.flags.isdisjoint(HARDWARE[precision])

    @property
    def vectors(self) -> str:
        """The widest vectors it computes with, as people call them: AVX-512, AVX2, NEON, or "plain" instructions."""
        for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")):
            if flag in self.flags:
                return name
        return "plain"


@cache
def processor() -> Processor:
    """The processor that this process runs on."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return read_cpuinfo(file.read())
    except OSError:
        return from_numpy()


def read_cpuinfo(text: str) -> Processor:
    """The first processor that the text of /proc/cpuinfo describes."""
    first = text.strip().split("\n\n")[0]
    parts = (line.partition(":") for line in first.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in parts}
    flags = fields.get("flags", fields.get("Features", ""))  # x86, ARM
    return Processor(
        fields.get("model name", platform.machine()), fields.get("vendor_id", ""), frozenset(flags.split())
    )


def from_numpy() -> Processor:
    """The processor as NumPy knows it, which is less: no vendor, and not every instruction set."""
    known: dict[str, bool] = import_module("numpy._core._multiarray_umath").__cpu_features__
    flags = frozenset(flag for name, flag in NUMPY_NAMES.items() if known.get(name))
    return Processor(platform.processor() or platform.machine(), "", flags)
