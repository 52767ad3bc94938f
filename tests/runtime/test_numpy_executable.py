"""The NumPy executable: results, state written at the end only, errors with the user's line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.tracer import ops
from gradc.tracer.errors import DivisionByZero, IndexOutOfRange, InternalError
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Graph, Params
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType, float32, int32, int64
from gradc.tracer.rules.interpret import NumpyProgram, run_graph
from gradc.tracer.storage import Storage

STEP = """
graph step(x: f32[2]; state w: f32[2], c: i64[])
  forward
    y: f32[2] = mul(x, w)
    s: f32[] = reduce_sum(y, axes=(0,))
  update
    d: f32[2] = sub(w, y)
    e: i64[] = add(c, 1)
  return s: f32[], w' = d: f32[2], c' = e: i64[], y: f32[2]"""


def test_state_is_written_in_place() -> None:
    w, c = Storage(np.array([1, 2], np.float32)), Storage(np.array(7))
    memory = w.array
    bound = NumpyExecutable(parse_graph(STEP)).bind([w, c])
    x = np.array([10, 20], np.float32)
    s, y = bound([x])
    assert s == 50
    assert s.shape == ()
    assert y.tolist() == [10, 40]
    assert w.array is memory
    assert memory is not None and memory.tolist() == [-9, -38]
    assert c.array == 8
    bound([x])
    assert c.array == 9


def test_outputs_are_fresh() -> None:
    graph = parse_graph("graph f(x: f32[2,3])\n  return x: f32[2,3], x: f32[2,3], 2.0: f32[]")
    x = np.ones((3, 2), np.float32).T
    a, b, two = NumpyExecutable(graph).bind([])([x])
    assert a.flags.c_contiguous and not np.shares_memory(a, x) and not np.shares_memory(a, b)
    assert two == 2 and two.dtype == np.float32


def here() -> Location:
    frame = sys._getframe(1)
    return Location(frame.f_code, frame.f_lineno)


def failing() -> tuple[Graph, Location]:
    b = GraphBuilder("lookup")
    i, w = b.input(TensorType((1,), int64), "i"), b.input(TensorType((3,), float32), "w")
    doubled = b.op(ops.add, w, w)
    loc = here()
    (row,) = b.emit(ops.gather, (w, i), Params(axes=(0,), batch=0, wrap=False), loc=loc)
    return b.finish([row, doubled], n_args=1, aliases=[(1, 1)]), loc


def test_a_failing_call_names_the_line_and_writes_nothing() -> None:
    graph, loc = failing()
    w = Storage(np.ones(3, np.float32))
    bound = NumpyExecutable(graph).bind([w])
    with pytest.raises(IndexOutOfRange, match="index 3 is out of range") as caught:
        bound([np.array([3])])
    assert caught.value.loc == loc
    assert w.array is not None and w.array.tolist() == [1, 1, 1]


def test_effects_stay_though_nobody_reads_them() -> None:
    b = GraphBuilder("divide")
    x, y = b.input(TensorType((2,), int32)), b.input(TensorType((2,), int32))
    b.op(ops.floor_divide, x, y)
    bound = NumpyExecutable(b.finish([x])).bind([])
    with pytest.raises(DivisionByZero):
        bound([np.ones(2, np.int32), np.zeros(2, np.int32)])


def test_the_number_of_state_inputs_is_checked() -> None:
    with pytest.raises(InternalError, match="2 state inputs and was given 0"):
        NumpyExecutable(parse_graph(STEP)).bind([])


def test_values_are_freed_after_their_last_use() -> None:
    program = NumpyProgram(parse_graph(STEP))
    dying = [len(step.dying) for step in program._steps]
    # x dies with the first eqn, w and c with the updates; y is an output, 1 a literal.
    assert dying == [1, 0, 1, 1]


def test_run_graph() -> None:
    x, w = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    assert [a.tolist() for a in run_graph(parse_graph(STEP), [x, w, np.array(0)])] == [
        11, [0, -4], 1, [3, 8],
    ]  # fmt: skip
