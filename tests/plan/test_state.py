"""State: what is overwritten in place, what goes through the work area, and when."""

from __future__ import annotations

import numpy as np
from interpreter import run_module
from small_programs import Maker

from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.plan.kernel import Plan
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import int64


def run(graph: Graph, *arrays: object) -> tuple[Plan, list[np.ndarray]]:
    plan = plan_graph(graph)
    module = build_module(plan)
    verify_module(module)
    types = [v.type.dtype.numpy for v in graph.inputs]
    outputs, failure = run_module(
        module, graph, [np.asarray(a, t) for a, t in zip(arrays, types, strict=True)]
    )
    assert failure is None
    return plan, outputs


def test_an_update_at_its_own_place() -> None:
    m = Maker("f")
    w = m.input((3,), "w")
    plan, (new,) = run(m.b.finish([m.add(w, w)], n_args=0, aliases=[(0, 0)]), [1, 2, 3])
    assert plan.in_place == ((0, 0),)
    assert new.tolist() == [2, 4, 6]


def test_a_flip_goes_through_the_work_area() -> None:
    m = Maker("f")
    w = m.input((3,), "w")
    graph = m.b.finish([m.flip(w, axes=(0,))], n_args=0, aliases=[(0, 0)])
    plan, (new,) = run(graph, [1, 2, 3])
    assert plan.in_place == () and len(plan.kernels) == 2
    assert "not updated in place" in " ".join(plan.reasons)
    assert new.tolist() == [3, 2, 1]


def test_a_row_may_be_overwritten_after_its_last_use() -> None:
    m = Maker("f")
    w = m.input((2, 3), "w")
    total = m.rows(m.reduce_sum(w, axes=(1,)), 3)
    graph = m.b.finish([m.div(w, total)], n_args=0, aliases=[(0, 0)])
    plan, (new,) = run(graph, [[1, 1, 2], [3, 3, 2]])
    assert plan.in_place == ((0, 0),) and len(plan.kernels) == 1
    assert new.tolist() == [[0.25, 0.25, 0.5], [0.375, 0.375, 0.25]]


def test_two_states_change_places() -> None:
    m = Maker("f")
    a, b = m.input((2,), "a"), m.input((2,), "b")
    _, outputs = run(m.b.finish([b, a], n_args=0, aliases=[(0, 0), (1, 1)]), [1, 2], [3, 4])
    assert [o.tolist() for o in outputs] == [[3, 4], [1, 2]]


def test_three_states_go_round() -> None:
    m = Maker("f")
    a, b, c = (m.input((1,), n) for n in "abc")
    aliases = [(0, 0), (1, 1), (2, 2)]
    _, outputs = run(m.b.finish([b, c, a], n_args=0, aliases=aliases), [1], [2], [3])
    assert [o.item() for o in outputs] == [2, 3, 1]


def test_state_that_stays_as_it_is_costs_nothing() -> None:
    m = Maker("f")
    w = m.input((2,), "w")
    plan, _ = run(m.b.finish([w], n_args=0, aliases=[(0, 0)]), [1, 2])
    assert plan.kernels == ()


def test_readers_of_the_old_value_come_first() -> None:
    """`dx` is made from the weight before the update, although it stands after it."""
    m = Maker("f")
    w, x = m.input((3, 3), "w"), m.input((3, 3), "x")
    new = m.sub(w, m.dot(x, x, 0, 0))
    graph = m.b.finish([new, m.dot(x, w, 1, 0)], n_args=0, aliases=[(0, 0)])
    plan, outputs = run(graph, np.eye(3), 2 * np.eye(3))
    assert plan.in_place == ((0, 0),)
    assert outputs[1].tolist() == (2 * np.eye(3)).tolist()
    assert outputs[0].tolist() == (-3 * np.eye(3)).tolist()


def test_a_check_after_an_update_makes_it_wait() -> None:
    """The second index depends on the updated table: the table is written at the end."""
    m = Maker("f")
    table, i = m.input((3,), "table", int64), m.input((2,), "i", int64)
    new = m.scatter(table, i, i, axes=(0,), batch=0, wrap=False, combiner="add")
    again = m.gather(i, new, axes=(0,), batch=0, wrap=False)
    plan, outputs = run(m.b.finish([new, again], aliases=[(0, 0)]), [0, 0, 0], [0, 1])
    assert plan.in_place == ()
    assert outputs[0].tolist() == [0, 1, 0]
    checking = [n for n, k in enumerate(plan.kernels) if "check" in {r.kind for r in k.roots}]
    assert max(checking) < plan.commit


def test_a_failed_call_writes_no_state() -> None:
    m = Maker("f")
    w, i = m.input((3,), "w"), m.input((2,), "i", int64)
    picked = m.gather(w, i, axes=(0,), batch=0, wrap=False)
    graph = m.b.finish([m.add(w, w), picked], aliases=[(0, 0)])
    module = build_module(plan_graph(graph))
    w_array, i_array = np.ones(3, np.float32), np.array([1, 7])
    outputs, failure = run_module(module, graph, [w_array, i_array])
    assert failure is not None
    assert (failure.kind, failure.element, failure.index, failure.limit) == ("index", 1, 7, 3)
    assert outputs[0].tolist() == [1, 1, 1]


def test_outputs_that_are_inputs_literals_or_given_twice() -> None:
    m = Maker("f")
    x = m.input((2,), "x")
    y = m.exp(x)
    _, outputs = run(m.b.finish([x, y, y, m.full(3.0), x]), [0, 0])
    assert [o.tolist() for o in outputs] == [[0, 0], [1, 1], [1, 1], 3.0, [0, 0]]


def test_empty_arrays() -> None:
    m = Maker("f")
    x = m.input((0, 3), "x")
    graph = m.b.finish([m.reduce_sum(x, axes=(0,)), m.exp(x), m.reduce_sum(x, axes=(1,))])
    _, outputs = run(graph, np.zeros((0, 3)))
    assert outputs[0].tolist() == [0, 0, 0]
    assert outputs[1].shape == (0, 3) and outputs[2].shape == (0,)
