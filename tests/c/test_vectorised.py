"""Loops over the elementary functions become vector code: what gcc itself says of them."""

from __future__ import annotations

import platform
import re
import subprocess

import pytest

from gradc.codegen.c.snippets import needed
from gradc.codegen.c.target import FLAGS, X86_64_V3

ONE = ("exp", "expm1", "log", "log1p", "sigmoid", "tanh", "sinh", "cosh", "asinh", "acosh", "atanh",
       "erf", "erfinv", "sin", "cos", "tan", "asin", "acos", "atan", "lgamma", "digamma", "rsqrt",
       "sqrt")  # fmt: skip
TWO = ("pow", "atan2")


def program() -> tuple[str, dict[int, str]]:
    """A loop for every function, and the line on which each begins."""
    wanted = [f"gradc_{name}_{t}" for name in (*ONE, *TWO) for t in ("f32", "f64")]
    text = "\n\n".join(["#include <stdint.h>", *needed([*wanted, "GRADC_SIMD"]), ""])
    lines: dict[int, str] = {}
    for name in wanted:
        c = "float" if name.endswith("f32") else "double"
        arguments = "x[i], z[i]" if name.split("_")[1] in TWO else "x[i]"
        text += (
            f"void each_{name}({c} *restrict y, const {c} *restrict x, const {c} *restrict z, "
            f"int64_t n)\n{{\n    (void)z;\n    GRADC_SIMD\n"
        )
        lines[text.count("\n") + 1] = name
        text += f"    for (int64_t i = 0; i < n; i++) y[i] = {name}({arguments});\n}}\n"
    return text, lines


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86-64")
def test_every_function_vectorises(cc: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    version = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        pytest.skip("only gcc says which loops it has vectorised")
    text, lines = program()
    source = tmp_path / "loops.c"
    source.write_text(text)
    flags = [*FLAGS, X86_64_V3.flag, "-c", "-o", "/dev/null", "-fopt-info-vec-optimized"]
    said = subprocess.run([cc, *flags, str(source)], capture_output=True, text=True, check=True)
    found = re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized", said.stderr)
    assert {name for line, name in lines.items() if str(line) not in found} == set()
