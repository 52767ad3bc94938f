"""Printed graphs read back: the text of the graph that was read is the same text."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.tracer import ops
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Literal
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.types import TensorType, float32
from gradc.tracer.graph.verify import verify

TEXT = """\
graph step(x: f32[2,3], i: i64[2]; state w.0: f32[3,4], b: f32[4])
  forward
    a: f32[2,4] = dot_general(x, w.0, contract=((1,),(0,)), batch=((),()))
    c: f32[2,4] = broadcast(b, shape=(2,4), axes=(1,))
    d: f32[2,4] = add(a, c)
    p: bool[2,4] = isnan(d)
    e: f32[2,4] = broadcast(-0.0, shape=(2,4), axes=())
    h: f32[2,4] = select(p, d, e)
    check(p, message='all of it, says "he": a = b  ')
  backward
    k: f32[2] = constant(value=[1.0, nan])
    m: i32[2,4] = cast(h, dtype=i32)
    q: f32[2] = gather(h, i, axes=(1,), batch=1, wrap=True)
    r: f32[] = reduce_sum(q, axes=(0,))
    s: f32[] = mul(r, 0.5)
    t: bool[] = lt(s, inf)
    u: u32[1], v: u32[1] = threefry2x32(y, y, y, y)
  update
    b_2: f32[4] = mul(b, b)
  return s: f32[], b' = b_2: f32[4], 1.0: f32[]"""


def test_round_trip() -> None:
    text = TEXT.replace("i: i64[2];", "i: i64[2], y: u32[1];")
    graph = parse_graph(text)
    verify(graph)
    assert str(graph) == text
    assert graph.aliases == ((1, 4),)
    assert graph.n_args == 3


def test_large_constants_stand_beside_the_text() -> None:
    b = GraphBuilder("f")
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    text = str(b.finish([b.op(ops.constant, value=ops.Constant(array))]))
    graph = parse_graph(text, [array])
    assert str(graph) == text
    np.testing.assert_array_equal(graph.eqns[0].params.value.array, array)


def test_literals_take_the_dtype_beside_them() -> None:
    text = "graph f(x: f32[])\n  forward\n    a: f32[] = add(x, 1.0)\n  return a: f32[]"
    graph = parse_graph(text)
    literal = graph.eqns[0].inputs[1]
    assert literal == Literal(1.0, TensorType((), float32))


@pytest.mark.parametrize(
    "text", ["hello\nworld", "graph f()\n  forward\n    a = nothing(x)\n  return a: f32[]"]
)
def test_other_text_is_an_error(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_graph(text)
