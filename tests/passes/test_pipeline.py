"""The driver of rewrites and the pipeline: places, ids, fuel, stages, speed."""

from __future__ import annotations

import sys
from collections import Counter
from time import perf_counter

import numpy as np
import pytest
from random_graphs import random_program

from gradc.codegen.passes import simplify as simplify_module
from gradc.codegen.passes.rewrite import Fuel, Rewriter, RuleSet, rewrite
from gradc.codegen.pipeline import PASSES_C, Stage, run_passes
from gradc.tracer import ops
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Params, Phase
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType, float32
from gradc.tracer.graph.verify import verify
from gradc.tracer.rules.interpret import run_graph

RULES = simplify_module.RULES

CHAIN = """
graph f(x: f32[3])
  forward
    n: f32[3] = neg(x)
    m: f32[3] = neg(n)
    o: f32[3] = broadcast(1.0, shape=(3,), axes=())
    p: f32[3] = mul(m, o)
    q: f32[3] = pow(p, o)
  return q: f32[3]"""


def test_rewrites_are_counted() -> None:
    applied: Counter[str] = Counter()
    graph = rewrite(parse_graph(CHAIN), RULES, applied=applied)
    assert not graph.eqns
    assert applied == {"involution": 1, "mul_one": 1, "pow_literal": 1}


@pytest.mark.parametrize(("fuel", "left"), [(0, 5), (1, 3), (2, 2), (3, 0), (9, 0)])
def test_fuel_stops_the_rewriting(fuel: int, left: int) -> None:
    graph = rewrite(parse_graph(CHAIN), RULES, fuel=Fuel(fuel))
    verify(graph)
    assert len(graph.eqns) == left


def test_what_replaces_an_eqn_has_its_place_and_name() -> None:
    frame = sys._getframe()
    loc = Location(frame.f_code, frame.f_lineno)
    b = GraphBuilder("f")
    x = b.input(TensorType((3,), float32), "x")
    four = b.op(ops.broadcast, Literal(4.0, TensorType((), float32)), shape=(3,), axes=())
    (y,) = b.emit(ops.div, (x, four), loc=loc, phase=Phase.BACKWARD, scope=("mean",))
    y.name = "quotient"
    graph = rewrite(b.finish([y]), RULES)
    quarter, product = graph.eqns
    assert product.prim is ops.mul
    assert product.output is y
    assert (product.id, quarter.id) == (1, 2)
    for eqn in graph.eqns:
        assert (eqn.loc, eqn.phase, eqn.scope) == (loc, Phase.BACKWARD, ("mean",))


def test_an_unchanged_graph_is_the_same_object() -> None:
    graph = parse_graph("graph f(x: f32[3])\nforward\na: f32[3] = exp(x)\nreturn a: f32[3]")
    assert run_passes(graph, PASSES_C) is graph


def test_rules_that_undo_each_other_are_reported() -> None:
    rules = RuleSet("endless")

    @rules.on(ops.sin)
    def to_cos(rw: Rewriter, eqn: Eqn) -> Atom | None:
        return rw.emit(ops.cos, *eqn.inputs)

    @rules.on(ops.cos)
    def to_sin(rw: Rewriter, eqn: Eqn) -> Atom | None:
        return rw.emit(ops.sin, *eqn.inputs)

    graph = parse_graph("graph f(x: f32[3])\nforward\na: f32[3] = sin(x)\nreturn a: f32[3]")
    with pytest.raises(InternalError, match=r"endless: the rewrites of \w+ do not end"):
        rewrite(graph, rules)


def test_a_rule_that_changes_the_type_is_reported() -> None:
    rules = RuleSet("wrong")

    @rules.on(ops.cast)
    def drop_cast(rw: Rewriter, eqn: Eqn) -> Atom | None:
        return eqn.inputs[0]

    text = "graph f(x: f32[3])\nforward\na: f64[3] = cast(x, dtype=f64)\nreturn a: f64[3]"
    with pytest.raises(InternalError, match=r"drop_cast: gave f32\[3\] for f64\[3\]"):
        rewrite(parse_graph(text), rules)


def test_stages_are_recorded() -> None:
    stages: list[Stage] = []
    run_passes(parse_graph(CHAIN), PASSES_C, verify=True, record=stages)
    assert [s.name for s in stages] == [p.__name__ for p in PASSES_C]
    text = str(stages[2])
    assert text.startswith("# after simplify (")
    assert "5 -> 0 eqns)\ngraph f(x: f32[3])" in text


def test_verify_names_the_pass_that_broke_the_graph() -> None:
    def forget(graph: Graph) -> Graph:
        return graph.replace(eqns=graph.eqns[1:])

    with pytest.raises(InternalError, match="malformed after forget"):
        run_passes(parse_graph(CHAIN), (forget,), verify=True)


def test_ids_of_eqns_that_can_fail_survive() -> None:
    for seed in range(60):
        graph, _ = random_program(seed)
        after = run_passes(graph, PASSES_C, verify=True)
        known = {e.id: e.prim for e in graph.eqns}
        for eqn in after.eqns:
            if eqn.prim.can_fail(*(a.type for a in eqn.inputs)):
                assert known[eqn.id] is eqn.prim


def large_graph(n: int) -> Graph:
    """Layers of what optimizers and activations look like, with work for most rules."""
    b = GraphBuilder("large")
    type = TensorType((4, 8), float32)
    x = b.input(type, "x")
    rate = b.input(TensorType((), float32), "rate")
    one = Literal(1.0, TensorType((), float32))
    while len(b.eqns) < n:
        ones = b.op(ops.broadcast, one, shape=type.shape, axes=())
        spread = b.op(ops.broadcast, rate, shape=type.shape, axes=())
        scaled = b.op(ops.mul, b.op(ops.mul, spread, ones), x)
        turned = b.op(ops.permute, b.op(ops.permute, scaled, axes=(1, 0)), axes=(1, 0))
        peak = b.op(ops.reshape, b.op(ops.reduce_max, turned, axes=(1,)), shape=(4, 1))
        x = b.op(ops.sub, turned, b.op(ops.broadcast, peak, shape=type.shape, axes=(0, 1)))
    return b.finish([x])


def test_twenty_thousand_eqns_take_seconds() -> None:
    graph = large_graph(20_000)
    start = perf_counter()
    after = run_passes(graph, PASSES_C)
    assert perf_counter() - start < 20
    assert len(after.eqns) < 0.6 * len(graph.eqns)
    small = large_graph(40)
    inputs = [np.ones((4, 8), np.float32), np.array(0.5, np.float32)]
    (want,), (found,) = run_graph(small, inputs), run_graph(run_passes(small, PASSES_C), inputs)
    np.testing.assert_array_equal(want, found)


def test_params_of_emitted_eqns_are_whole() -> None:
    graph = run_passes(large_graph(40), PASSES_C)
    assert all(isinstance(e.params, Params) for e in graph.eqns)
