"""What a processor computes in hardware, from what Linux says on real machines (with fewer flags)."""

import builtins
import platform
from typing import Any

import pytest

from sonopsis import processor as module
from sonopsis.processor import Processor, from_numpy, processor, read_cpuinfo

ZEN_3 = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7B13
flags\t\t: fpu sse sse2 ht fma sse4_1 sse4_2 avx f16c avx2 bmi1 bmi2 vaes vpclmulqdq

processor\t: 1
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7B13
flags\t\t: fpu sse sse2 ht fma sse4_1 sse4_2 avx f16c avx2 bmi1 bmi2 vaes vpclmulqdq avx512_bf16
"""
ZEN_4 = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC
flags\t\t: fpu sse2 fma avx f16c avx2 avx512f avx512dq avx512bw avx512vl avx512_bf16 avx512_vnni
"""
SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu sse2 fma avx avx2 avx512f avx_vnni avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8
"""
NEOVERSE_V1 = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes fphp asimdhp cpuid asimdrdm asimddp sve i8mm bf16
CPU implementer\t: 0x41
"""


@pytest.mark.parametrize(
    ("text", "vendor", "name", "vectors", "bfloat16", "float16"),
    [
        (ZEN_3, "AuthenticAMD", "AMD EPYC 7B13", "AVX2", False, False),
        (ZEN_4, "AuthenticAMD", "AMD EPYC", "AVX-512", True, False),
        (SAPPHIRE_RAPIDS, "GenuineIntel", "Intel(R) Xeon(R) Processor", "AVX-512", True, True),
        (NEOVERSE_V1, "", platform.machine(), "NEON", True, True),
    ],
)
def test_real_processors(text: str, vendor: str, name: str, vectors: str, bfloat16: bool, float16: bool) -> None:
    found = read_cpuinfo(text)
    assert (found.vendor, found.name, found.vectors) == (vendor, name, vectors)
    assert (found.computes("bfloat16"), found.computes("float16")) == (bfloat16, float16)
    assert found.computes("float32") and found.computes("int8")


def test_a_flag_is_a_whole_word() -> None:
    assert not read_cpuinfo("flags\t\t: fpu not_bf16 avx512_bf16x").computes("bfloat16")


def test_an_empty_text_is_a_processor_that_nothing_is_known_of() -> None:
    assert read_cpuinfo("") == Processor(platform.machine(), "", frozenset())
    assert read_cpuinfo("").vectors == "plain"


def test_numpy_is_asked_where_there_is_no_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    from numpy._core import _multiarray_umath

    opened = builtins.open

    def missing(file: Any, *arguments: Any, **options: Any) -> Any:
        if file == "/proc/cpuinfo":
            raise FileNotFoundError(file)
        return opened(file, *arguments, **options)

    features = {"AVX2": True, "AVX512F": False, "AVX512BF16": False, "MMX": True}
    monkeypatch.setattr(_multiarray_umath, "__cpu_features__", features)
    monkeypatch.setattr(builtins, "open", missing)
    found = processor.__wrapped__()
    assert found.flags == {"avx2"} and found.vendor == "" and found == from_numpy()


def test_numpy_knows_the_names_that_are_asked_for() -> None:
    """A release of NumPy that renames a feature would otherwise be read as a processor without it."""
    from numpy._core import _multiarray_umath

    known = set(_multiarray_umath.__cpu_features__)
    assert set(module.NUMPY_NAMES) <= known
