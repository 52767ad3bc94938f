"""What generated C expects of a compiler, as data: the runtime and exported Makefiles use it.

    build_flags("native")   -> ["-std=c11", "-O3", ..., "-march=native"]
"""

from __future__ import annotations

from dataclasses import dataclass

ABI_VERSION = 2
WORK_ALIGNMENT = 64
RECORD_BYTES = 64

# Each flag with why it stands there. No -ffast-math in any form: it folds isnan away, and gcc
# before 13 links code that turns denormals off for the whole process.
REASONS: dict[str, str] = {
    "-std=gnu11": "C with GNU attributes and builtins; the text itself is C99",
    "-O3": "lower levels keep accumulators in memory and do not vectorise as much",
    "-fno-math-errno": "otherwise sqrt may call the C library and does not vectorise; no pragma "
    "or attribute can say this",
    "-fno-trapping-math": "lets selections become vector blends: floating-point exception flags "
    "are not part of the result; values, NaN and infinities are unaffected",
    "-ffp-contract=off": "a * b + c is two roundings unless the text says otherwise",
    "-fwrapv": "a second belt: the text already wraps by unsigned arithmetic",
    "-fopenmp-simd": "honours `omp simd`, which needs no library",
    "-DGRADC_OPENMP_SIMD": "tells the text so: there is no predefined macro for it",
}
FLAGS: tuple[str, ...] = tuple(REASONS)
# In place of -O3 where the time of compiling matters more than that of running.
QUICK_FLAG = "-O1"
SHARED_FLAGS: tuple[str, ...] = ("-fPIC", "-shared", "-fvisibility=hidden")
POOL_FLAGS: tuple[str, ...] = (QUICK_FLAG, "-pthread")
WARNING_FLAGS: tuple[str, ...] = ("-Wall", "-Wextra", "-Werror")

# What a bare-metal link must still provide: compilers turn loops into these on their own.
COMPILER_SUPPORT: frozenset[str] = frozenset({"memcpy", "memmove", "memset", "memcmp"})


@dataclass(frozen=True, slots=True)
class Isa:
    """A level of instructions: the flag that chooses it, and macros it is known by."""

    name: str
    flag: str
    macros: tuple[str, ...]


BASELINE = Isa("baseline", "", ())
NATIVE = Isa("native", "-march=native", ())
X86_64_V3 = Isa("x86-64-v3", "-march=x86-64-v3", ("__AVX2__", "__FMA__"))
X86_64_V4 = Isa("x86-64-v4", "-march=x86-64-v4", ("__AVX512F__", "__FMA__"))
ISAS: dict[str, Isa] = {i.name: i for i in (BASELINE, NATIVE, X86_64_V3, X86_64_V4)}

# Macros whose presence names the instructions `-march=native` resolved to on this machine:
# `cc -march=native -dM -E - < /dev/null` lists them. They belong into a cache key.
ISA_MACROS: tuple[str, ...] = (
    "__SSE2__", "__SSE3__", "__SSSE3__", "__SSE4_1__", "__SSE4_2__", "__AVX__", "__AVX2__",
    "__FMA__", "__F16C__", "__BMI__", "__BMI2__", "__AVX512F__", "__AVX512BW__", "__AVX512CD__",
    "__AVX512DQ__", "__AVX512VL__", "__AVX512VNNI__", "__AVX512BF16__", "__AVX512FP16__",
    "__ARM_NEON", "__ARM_FEATURE_SVE", "__ARM_FEATURE_SVE_BITS", "__ARM_FEATURE_FMA",
    "__ARM_FEATURE_DOTPROD", "__riscv_vector", "__wasm_simd128__",
)  # fmt: skip


def build_flags(isa: str = "native", *, shared: bool = True) -> list[str]:
    """The flags generated C is meant to be compiled with.

    Args:
        isa: a name in `ISAS`, or a flag of one's own (`-mcpu=...`).
        shared: for a library that is loaded, rather than an object file.
    """
    known = ISAS.get(isa)
    flag = isa if known is None else known.flag
    return [
        *FLAGS,
        *([flag] if flag else []),
        *(SHARED_FLAGS if shared else ()),
    ]
