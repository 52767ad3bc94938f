"""What the tests of generated C share: strict warnings, a library's wants, loops over helpers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest

from gradc.codegen.c.module import CModule, strip_comments
from gradc.codegen.c.snippets import needed

STRICT = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wpedantic")
# As generated code is compiled, but faster.
FLAGS = ("-std=gnu11", "-O1", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
Build = Callable[..., Path]
C_TYPES = {"f32": "float", "f64": "double", "bool": "int"} | {
    f"{s}{b}": f"{'u' if s == 'u' else ''}int{b}_t" for s in "iu" for b in (8, 16, 32, 64)
}
NUMPY = {"f32": np.float32, "f64": np.float64} | {
    f"{s}{b}": np.dtype(f"{s}{b // 8}").type for s in "iu" for b in (8, 16, 32, 64)
}


def find_tool(names: Sequence[str]) -> str:
    found = next((path for n in names if (path := shutil.which(n))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    return found


def undefined(library: Path) -> set[str]:
    """The symbols a library wants from elsewhere, but for what every link brings along."""
    nm = find_tool(["nm"])
    listed = subprocess.run(
        [nm, "-D", "-u", str(library)], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines() if line.strip()}
    start = {"__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable",
             "_ITM_registerTMCloneTable"}  # fmt: skip
    return names - start


class Loops:
    """Helpers applied elementwise to arrays: `loops("gradc_exp_f32", x)`."""

    def __init__(self, build: Build, helpers: dict[str, tuple[str, ...]], *flags: str) -> None:
        """`helpers`: name -> (types of the operands..., type of the result)."""
        text = ["#include <stdint.h>\n#include <stddef.h>", *needed(helpers)]
        declarations = []
        for name, types in helpers.items():
            *operands, result = (C_TYPES[t] for t in types)
            args = ", ".join(f"const {t} *a{i}" for i, t in enumerate(operands))
            head = f"void loop_{name}({args}, {result} *out, int64_t n)"
            call = ", ".join(f"a{i}[i]" for i in range(len(operands)))
            loop = f"for (int64_t i = 0; i < n; i++) out[i] = {name}({call});"
            text.append(f"{head} {{ {loop} }}")
            declarations.append(f"{head};")
        self.types = helpers
        self.ffi = cffi.FFI()
        self.ffi.cdef("\n".join(declarations))
        self.library = self.ffi.dlopen(str(build("\n\n".join(text), *(flags or FLAGS))))

    def __call__(self, name: str, *operands: Any) -> Any:
        *types, result = self.types[name]
        arrays = [np.ascontiguousarray(a, NUMPY[t]) for a, t in zip(operands, types, strict=True)]
        out = np.empty(arrays[0].shape, NUMPY[result])
        pointers = [
            self.ffi.cast(f"{C_TYPES[t]} *", a.ctypes.data)
            for a, t in zip([*arrays, out], self.types[name], strict=True)
        ]
        getattr(self.library, f"loop_{name}")(*pointers, arrays[0].size)
        return out


# Libraries stay loaded: with the last one that uses OpenMP its run-time library would go, whose
# idle threads would then run code that is not there.
_kept: list[Any] = []


class Program:
    """A built module, called as C calls it."""

    def __init__(self, module: CModule, path: Path) -> None:
        name = module.name
        self.module, self.ffi = module, cffi.FFI()
        header = re.sub(r"^#.*$", "", strip_comments(module.header), flags=re.M)
        self.ffi.cdef(re.sub(r"GRADC_EXPORT|extern \"C\" \{|^\}$", "", header, flags=re.M))
        self.c = self.ffi.dlopen(str(path))
        _kept.append(self.c)
        self.entry = getattr(self.c, name)
        raw = np.zeros(module.work_bytes + 64, np.uint8)
        self.work = raw[-raw.ctypes.data % 64 :][: module.work_bytes]

    def function(self, what: str) -> Any:
        return getattr(self.c, f"{self.module.name}_{what}")

    def pointers(self, arrays: list[Any]) -> list[Any]:
        return [self.ffi.cast("void *", 0 if a is None else a.ctypes.data) for a in arrays]

    def call(
        self, inputs: list[Any], outputs: list[Any], work: int | None = None, options: Any = None
    ) -> int:
        area = self.work.ctypes.data if work is None else work
        return self.entry(
            self.ffi.new("const void *[]", self.pointers(inputs)),
            self.ffi.new("void *[]", self.pointers(outputs)),
            self.ffi.cast("void *", area),
            self.ffi.NULL if options is None else options,
        )
