"""A C module written by hand to the ABI, for tests of what surrounds generated code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gradc.codegen.c.module import CheckSite, CModule, Port
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CBound
from gradc.tracer.graph.source import Location, user_location
from gradc.tracer.graph.types import TensorType, dtype_of
from gradc.tracer.storage import Storage

PRELUDE = """#include <stdint.h>
#include <stddef.h>
typedef struct { int64_t size, threads; const int64_t *dims; } f_options;
#define API __attribute__((visibility("default")))
API int f(const void *const *in, void *const *out, void *work, const f_options *options);
API int64_t f_abi_version(void);
API size_t f_work_bytes(const f_options *options);
int64_t f_abi_version(void) { return 2; }
size_t f_work_bytes(const f_options *options) { (void)options; return WORK; }
"""
HEADER = """#ifndef F_H
#define F_H
#include <stdint.h>
#include <stddef.h>
typedef struct { int64_t size, threads; const int64_t *dims; } f_options;
int f(const void *const *in, void *const *out, void *work, const f_options *options);
#endif
"""
# w (state, f32[n]) += x; total = sum of w before; fails where x holds a value above LIMIT.
ADD = """/* adds */
int f(const void *const *in, void *const *out, void *work, const f_options *options)
{
    const float *x = in[0];
    const float *w = in[1];
    float *w_new = out[1], *total = out[0];
    int64_t *record = work;
    float sum = 0;
    if (options == 0 || options->size < 24) return 4;
    if ((uintptr_t)x % 4) return 2;
    if (x < w + N && w < x + N) return 3;
    for (int64_t i = 0; i < N; i++) {
        if (x[i] > LIMIT) {
            record[0] = 7; record[1] = i; record[2] = (int64_t)x[i]; record[3] = 5; record[4] = 1;
            record[5] = KIND;
            return 1;
        }
    }
    for (int64_t i = 0; i < N; i++) { sum += w[i]; }
    for (int64_t i = 0; i < N; i++) { w_new[i] = w[i] + x[i]; }
    *total = sum;
    return 0;
}
"""


def typed(shape: Sequence[int], dtype: str = "float32") -> TensorType:
    found = dtype_of(np.dtype(dtype))
    assert found is not None
    return TensorType(tuple(shape), found)


def add_module(n: int = 4, *, kind: str = "index", limit: int = 100, salt: str = "") -> CModule:
    """`total = w.sum(); w += x` with a check on x."""
    number = {"index": 1, "division": 2, "assert": 3}[kind]
    text = f"#define N {n}\n#define LIMIT {limit}\n#define KIND {number}\n"
    text += f"#define SALT {salt or 0}\n#define WORK 128\n" + PRELUDE + ADD
    site = CheckSite(7, kind, "gather", here(), "x is small")
    vector = typed([n])
    return module(text, [("x", vector), ("w", vector)], [("total", typed([])), ("w", vector)],
                  aliases=((1, 1),), n_args=1, checks={7: site})  # fmt: skip


def here() -> Location | None:
    return user_location()


def module(text, inputs, outputs, aliases=(), n_args=0, checks=None, work=128) -> CModule:
    values = {
        "name": "f", "source": text, "header": HEADER,
        "inputs": tuple(Port(*p) for p in inputs), "outputs": tuple(Port(*p) for p in outputs),
        "aliases": tuple(aliases), "n_args": n_args, "work_bytes": work, "checks": checks or {},
        "kernels": (),
    }  # fmt: skip
    known = {f.name for f in dataclasses.fields(CModule)}
    return CModule(**{k: v for k, v in values.items() if k in known})


def run_add(program: CModule) -> tuple[float, list[float]]:
    """Load a program of `add_module` and run it once on [0, 1, 2, 3] and ones."""
    w = np.arange(4, dtype=np.float32)
    bound = CBound(program, load_module(program), [Storage(w)])
    (total,) = bound([np.ones(4, np.float32)])
    return float(total), w.tolist()


RIGHT = (6.0, [1.0, 2.0, 3.0, 4.0])
