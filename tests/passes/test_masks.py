"""Masks of relus read off their results: only where those are stored, and exactly."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.codegen.passes.masks import masks
from gradc.tracer import ops
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Literal
from gradc.tracer.graph.types import TensorType, float32
from gradc.tracer.graph.verify import verify
from gradc.tracer.rules.interpret import run_graph

SQUARE = TensorType((3, 3), float32)
PRODUCT = {"contract": ((1,), (0,)), "batch": ((), ())}


def program(zero: float, stored: bool, order: str = "le"):
    b = GraphBuilder("f")
    x, g = b.input(SQUARE, "x"), b.input(SQUARE, "g")
    cut = b.op(ops.broadcast, Literal(zero, TensorType((), float32)), shape=(3, 3), axes=())
    p = b.op(getattr(ops, order), x, cut)
    y = b.op(ops.select, p, cut, x)
    used = b.op(ops.dot_general, y, y, **PRODUCT) if stored else b.op(ops.add, y, y)
    back = b.op(ops.select, p, cut, g)
    return b.finish([used, back], n_args=2)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_the_mask_of_a_stored_relu(zero):
    graph = program(zero, stored=True)
    after = masks(graph)
    verify(after)
    tests = [e for e in after.eqns if e.prim is ops.le]
    relu, back = (e for e in after.eqns if e.prim is ops.select)
    assert relu.inputs[0] is tests[0].output
    assert back.inputs[0] is tests[1].output
    assert tests[1].inputs[0] is relu.output
    values = np.array([[1, -1, 0], [-0.0, np.nan, np.inf], [-np.inf, 1e-40, -1e-40]], np.float32)
    arrays = [values, np.arange(1, 10, dtype=np.float32).reshape(3, 3)]
    for a, b in zip(run_graph(graph, arrays), run_graph(after, arrays)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", [(0.0, False, "le"), (1.0, True, "le"), (0.0, True, "lt")])
def test_other_masks_stay(case):
    graph = program(*case)
    assert masks(graph) is graph
