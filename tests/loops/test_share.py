"""Kernels that are alike become one function, and it computes what each of them would."""

from __future__ import annotations

import numpy as np
import pytest
from interpreter import run_module
from reference import run_reference
from small_programs import Maker

from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.ir import Module
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.pipeline import lower_c
from gradc.codegen.plan.fingerprint import fingerprint
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer import ops
from gradc.tracer.graph.ir import NO_PARAMS, Graph, Literal, Var
from gradc.tracer.graph.types import TensorType, uint32

STEPS = 6


def steps(literals: bool = False, turned: int | None = None) -> Graph:
    """h = tanh(x[:, t] + h @ w), a slice of `x` a step; optionally scaled by another number each
    step, or one of the steps taking `h` for both."""
    m = Maker("steps")
    x, w = m.input((5, STEPS, 7), "x"), m.input((7, 7), "w")
    h = m.input((5, 7), "h")
    for t in range(STEPS):
        now = m.slice(x, start=(0, t, 0), stop=(5, t + 1, 7), step=(1, 1, 1))
        now = h if t == turned else m.reshape(now, shape=(5, 7))
        if literals:
            now = m.mul(now, m.full(1.0 + 0.5 * t, (5, 7)))
        h = m.tanh(m.add(now, m.dot(h, w, 1, 0)))
    return m.b.finish([h])


def built(graph: Graph) -> Module:
    module = build_module(plan_graph(graph))
    verify_module(module)
    return module


def agrees(graph: Graph, module: Module) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=v.type.shape).astype(v.type.dtype.numpy)  # type: ignore[arg-type]
        if v.type.dtype.is_float
        else rng.integers(0, 1 << 32, v.type.shape, np.uint32)  # type: ignore[arg-type]
        for v in graph.inputs
    ]
    outputs, failure = run_module(module, graph, arrays)
    assert failure is None
    for got, want in zip(outputs, run_reference(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_steps_of_an_unrolled_loop_are_one_function() -> None:
    graph = steps()
    module = built(graph)
    assert len(module.calls) == STEPS
    # The last step writes the result and no array of the work area: the same function still.
    assert len(module.funcs) == 1
    starts = {max(c.offsets, default=0) for c in module.calls}
    assert starts == {7 * t for t in range(STEPS)}
    agrees(graph, module)


def test_they_are_recognised_before_they_are_built() -> None:
    plan = plan_graph(steps())
    assert len({fingerprint(k, plan).key for k in plan.kernels}) == 1


def test_numbers_are_parameters() -> None:
    graph = steps(literals=True)
    module = built(graph)
    (func,) = module.funcs
    assert len(func.values) == 1
    assert [c.values[0].value for c in module.calls] == [1.0 + 0.5 * t for t in range(STEPS)]
    agrees(graph, module)


def test_an_array_given_twice_is_another_function() -> None:
    graph = steps(turned=3)
    module = built(graph)
    assert len(module.funcs) == 2
    agrees(graph, module)


def test_random_streams_share_one_function() -> None:
    """Layers that draw from one key count from different numbers."""
    m = Maker("streams")
    key = m.input((2, 64), "key", uint32)
    total: Var | None = None
    for layer in range(4):
        k = [
            m.reshape(m.slice(key, start=(n, 0), stop=(n + 1, 64), step=(1, 1)), shape=(64,))
            for n in range(2)
        ]
        count = m.iota(shape=(64,), axis=0, dtype=uint32)
        salt = m.broadcast(_number(layer * 64), shape=(64,), axes=())
        bits, _ = m.b.emit(ops.threefry2x32, (*k, count, salt), NO_PARAMS)
        part = m.cumsum(bits, axis=0, reverse=False)
        total = part if total is None else m.add(total, part)
    graph = m.b.finish([total])
    module = built(graph)
    drawing = [c.func for c in module.calls if "cumsum" in c.note.title]
    assert len(drawing) == 4 and len(set(drawing)) == 1
    agrees(graph, module)


def _number(value: int) -> Literal:

    return Literal(value, TensorType((), uint32))


@pytest.mark.parametrize("literals", [False, True])
def test_the_text_grows_by_a_call_a_step(literals: bool) -> None:
    module = lower_c(steps(literals), name="steps", passes=(), verify=True)
    assert module.source.count("GRADC_KERNEL void") == 1
    assert len(module.kernels) == STEPS
