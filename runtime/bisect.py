"""Which pass, or which gradient rule, makes a program wrong.

    first_faulty_pass(graph, inputs, passes)     ->  PassFault("simplify", rule="mul_one", ...)
    first_faulty_gradient(forward, inputs)       ->  GradientFault(eqn, operand, ...)

A pass is judged by the NumPy rules: the program before it is right and the program after it is
wrong. Where the pass is a set of rewrites, the one rewrite is found by bisection over how many of
them are done. A gradient rule is judged by JAX's own differentiation of its eqn alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradc.codegen.passes import fold, layout, simplify
from gradc.codegen.passes.rewrite import Fuel, RuleSet, rewrite
from gradc.codegen.passes.widen import widen
from gradc.codegen.pipeline import Pass
from gradc.runtime.compare import Distance, program_bound, worst, wrong
from gradc.runtime.divergence import all_values, alone, wide_inputs, wide_values
from gradc.runtime.jax_executable import jax_oracle
from gradc.tracer.autograd import grad
from gradc.tracer.errors import GradcError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn, Graph, Literal
from gradc.tracer.interpreter import constant, scalar
from gradc.tracer.record import rules_of
from gradc.tracer.rules.interpret import run_graph
from gradc.tracer.storage import Array
from gradc.tracer.tensor import Tensor, new_tensor

# The passes that are sets of rewrites.
REWRITES: Mapping[Pass, RuleSet] = {
    simplify.simplify: simplify.RULES, fold.fold: fold.RULES, layout.layout: layout.RULES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PassFault:
    """A pass after which a program is wrong.

    Attributes:
        name, number: the pass and its place in the list, from 0.
        eqn: the first eqn whose value the pass changed; None where only outputs were.
        rule: the rewrite that did it, where the pass is a set of them.
        before: the program that went in.
    """

    name: str
    number: int
    eqn: Eqn | None
    rule: str | None
    distance: Distance
    before: Graph


@dataclass(frozen=True, slots=True)
class GradientFault:
    """An eqn whose gradient rule disagrees with JAX's derivative of it."""

    eqn: Eqn
    operand: int
    distance: Distance


# -- passes ---------------------------------------------------------------------------------------


class _Judge:
    """Whether a version of one program still gives the true outputs."""

    def __init__(self, graph: Graph, inputs: Sequence[Array]) -> None:
        self.inputs = list(inputs)
        self.truth = run_graph(widen(graph), wide_inputs(inputs))
        self.own = run_graph(graph, inputs)

    def distance(self, graph: Graph) -> Distance | None:
        """How far a wrong output is off; None if all are right."""
        for a, t, o in zip(run_graph(graph, self.inputs), self.truth, self.own):
            if wrong(a, t, o, program_bound(t, a.dtype)):
                return worst(a, t)
        return None


def first_faulty_pass(
    graph: Graph, inputs: Sequence[Array], passes: Sequence[Pass]
) -> PassFault | None:
    """The first pass that makes the program wrong by the NumPy rules, or None.

    Args:
        passes: in the order they run.
    """
    judge = _Judge(graph, inputs)
    for number, one in enumerate(passes):
        before, graph = graph, one(graph)
        distance = None if graph is before else judge.distance(graph)
        if distance is not None:
            rule, eqn = _guilty_rewrite(before, REWRITES.get(one), judge)
            if eqn is None:
                eqn = _first_changed(before, graph, inputs)
            return PassFault(one.__name__, number, eqn, rule, distance, before)
    return None


def _guilty_rewrite(
    before: Graph, rules: RuleSet | None, judge: _Judge
) -> tuple[str | None, Eqn | None]:
    """The last rewrite of the shortest run of rewrites that is wrong."""
    if rules is None:
        return None, None
    supply = 1 << 40
    fuel = Fuel(supply)
    if judge.distance(rewrite(before, rules, fuel=fuel)) is None:
        return None, None
    low, high = 0, supply - fuel.left
    while high - low > 1:
        middle = (low + high) // 2
        if judge.distance(rewrite(before, rules, fuel=Fuel(middle))) is None:
            low = middle
        else:
            high = middle
    fuel = Fuel(high)
    rewrite(before, rules, fuel=fuel)
    assert fuel.last is not None
    return fuel.last


def _first_changed(before: Graph, after: Graph, inputs: Sequence[Array]) -> Eqn | None:
    """The first eqn whose variable has another value after the pass. Passes keep variables."""
    truth, own = wide_values(before, inputs), all_values(before, inputs)
    found = all_values(after, inputs)
    for eqn in before.eqns:
        for var in eqn.outputs:
            value = found.get(var)
            if value is not None and wrong(
                value, truth[var], own[var], program_bound(truth[var], value.dtype)
            ):
                return eqn
    return None


# -- gradient rules -------------------------------------------------------------------------------


def first_faulty_gradient(graph: Graph, inputs: Sequence[Array]) -> GradientFault | None:
    """The first eqn of a forward program whose gradient rule JAX does not agree with, or None.

    Needs JAX. At kinks the two follow different conventions: see the documentation.
    """
    truth = wide_values(graph, inputs)
    seen: set[object] = set()
    for eqn in graph.eqns:
        key = eqn.prim, eqn.params, tuple(a.type for a in eqn.inputs)
        if key in seen or not all(v.type.dtype.is_float for v in eqn.outputs):
            continue
        program, wanted = alone([eqn], graph.name)
        values = [np.array(truth[v], v.type.dtype.numpy, order="C") for v in wanted]
        fault = _judge_gradient(eqn, program, values)
        if fault is not None:
            return fault
        seen.add(key)
    return None


def _judge_gradient(eqn: Eqn, program: Graph, values: list[Array]) -> GradientFault | None:
    rng = np.random.default_rng(0)
    cotangents = [
        np.asarray(rng.standard_normal(known_shape(v.type.shape)), v.type.dtype.numpy)
        for v in eqn.outputs
    ]
    if rules_of(eqn.prim) is None:
        return None
    try:
        ours = _own_gradients(program, values, cotangents)
        _, differentiate = jax_oracle(program)
        theirs = differentiate(values, cotangents)
    except GradcError:
        return None
    for operand, (a, t) in enumerate(zip(ours, theirs)):
        if t is None:
            continue
        found = np.zeros_like(t) if a is None else a
        if wrong(found, t, t, program_bound(t, t.dtype)):
            return GradientFault(eqn, operand, worst(found, t))
    return None


def _own_gradients(
    program: Graph, values: Sequence[Array], cotangents: Sequence[Array]
) -> list[Array | None]:
    """The gradients of a program of one eqn with respect to its inputs, by our rules."""
    (eqn,) = program.eqns
    tensors = {v: new_tensor(a.copy()) for v, a in zip(program.inputs, values)}
    for v, t in tensors.items():
        t.requires_grad = v.type.dtype.is_float
    operands = [
        scalar(a.value, a.type.dtype) if isinstance(a, Literal) else tensors[a] for a in eqn.inputs
    ]
    found = eqn.prim(*operands, **eqn.params)
    outputs: Sequence[Tensor] = found if isinstance(found, tuple) else (found,)
    wanted = [t for t in tensors.values() if t.requires_grad]
    if not wanted or not any(t.requires_grad for t in outputs):
        return [None] * len(values)
    along = [constant(c) for c in cotangents]
    grads: Iterator[Tensor | None] = iter(grad(outputs, wanted, along, allow_unused=True))
    result: list[Array | None] = []
    for t in tensors.values():
        g = next(grads) if t.requires_grad else None
        result.append(None if g is None else g.array())
    return result
