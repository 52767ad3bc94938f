"""Every elementwise primitive on every dtype, as generated C, against the NumPy rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ctools import STRICT, Build, Program

from gradc.codegen.c.target import FLAGS
from gradc.codegen.loops import ir
from gradc.codegen.pipeline import lower_c
from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.tracer import ops
from gradc.tracer.errors import GradcError
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import DTYPES, DType, TensorType, uint32

N = 200
SPECIAL = (0, -0.0, 1, -1, 0.5, -0.5, np.inf, -np.inf, np.nan, 2, 1e-40, 3e4)
DIVISIONS = ("floor_divide", "trunc_divide", "remainder", "fmod")
ONE, TWO = (*ir.UNARY, "isnan", "isinf"), (*ir.BINARY, *ir.TESTS[:6])
ARITY = dict.fromkeys(ONE, 1) | dict.fromkeys(TWO, 2)


def every_op(dtype: DType) -> tuple[Graph, list[str]]:
    """A program with one output per operation that takes `dtype`, and their names."""
    b = GraphBuilder(f"every_{dtype.short}")
    x, y, nonzero = (b.input(TensorType((N,), dtype), n) for n in ("x", "y", "nonzero"))
    outputs, names = [], []
    for op, arity in ARITY.items():
        divides = op in DIVISIONS and dtype.is_integer
        operands = (x, nonzero if divides else y)[:arity]
        try:
            outputs.append(b.op(getattr(ops, op), *operands))
            names.append(op)
        except GradcError:
            continue
    for other in DTYPES:
        outputs.append(b.op(ops.cast, x, dtype=other))
        names.append(f"cast to {other.name}")
        if other.bits == dtype.bits and not (other.is_bool or dtype.is_bool):
            outputs.append(b.op(ops.bitcast, x, dtype=other))
            names.append(f"bitcast to {other.name}")
    if dtype is uint32:
        outputs += b.emit(ops.threefry2x32, (x, y, nonzero, x))
        names += ["threefry2x32 (0)", "threefry2x32 (1)"]
    return b.finish(outputs), names


def operands(dtype: DType) -> list[Any]:
    rng = np.random.default_rng(0)
    if dtype.is_bool:
        return [rng.integers(0, 2, N).astype(bool) for _ in range(3)]
    arrays = []
    for _ in range(3):
        if dtype.is_float:
            x = (rng.normal(size=N) * 3).astype(dtype.numpy)
            x[: len(SPECIAL)] = SPECIAL
        else:
            x = rng.integers(dtype.min, dtype.max, N, endpoint=True, dtype=dtype.numpy)
            x[:40] = rng.integers(0 if dtype.kind == "u" else -9, 70, 40)
            x[50:54] = [dtype.min, dtype.max, 0, 1]
        arrays.append(rng.permutation(x))
    if dtype.is_integer:
        arrays[2][arrays[2] == 0] = 3
    return arrays


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_every_primitive(build: Build, dtype: DType) -> None:
    graph, names = every_op(dtype)
    module = lower_c(graph)
    strict = [w for w in STRICT if w != "-Wpedantic"]
    program = Program(module, build(module.source, *FLAGS, "-march=native", *strict))
    inputs = operands(dtype)
    outputs = [np.empty(p.type.shape, p.type.dtype.numpy) for p in module.outputs]
    assert program.call(inputs, outputs) == 0
    with np.errstate(all="ignore"):
        wanted = NumpyExecutable(graph).bind([])(inputs)
    for name, got, want in zip(names, outputs, wanted, strict=True):
        if got.dtype.kind == "f":
            limit = 16 * np.finfo(got.dtype).eps
            # The zeros of these two are not found to the last place.
            near_zero = 1e-14 if name in ("lgamma", "digamma") else np.finfo(got.dtype).tiny
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(
                    got, want, rtol=limit, atol=float(near_zero), err_msg=name
                )
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)
