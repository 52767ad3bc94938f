"""The first eqn at which an executor departs from the truth.

    first_divergence(graph, inputs, run)   ->  Divergence(eqn, alone=True, distance, ...)

Twice over. Alone: every eqn by itself, on the operands the float64 run has for it, so that errors
made earlier do not show. Where each eqn alone is right (fusion or memory planning is at fault),
in context: the shortest beginning of the program whose results are wrong, found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gradc.codegen.passes.widen import widen
from gradc.runtime.compare import Distance, eqn_bound, program_bound, worst, wrong
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var
from gradc.tracer.rules.interpret import read, run_eqn
from gradc.tracer.storage import Array

Run: TypeAlias = Callable[[Graph, Sequence[Array]], list[Array]]
Values: TypeAlias = dict[Var, Array]

# Eqns run alone are compiled together, so many at a time.
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where an executor first departs.

    Attributes:
        eqn: the eqn, of the program that was checked.
        alone: whether it is wrong by itself; else the beginning of the program up to it is.
        graph, inputs: the least program that shows it.
    """

    eqn: Eqn
    alone: bool
    distance: Distance
    graph: Graph
    inputs: tuple[Array, ...]


def all_values(graph: Graph, inputs: Sequence[Array]) -> Values:
    """Every variable's value by the NumPy rules."""
    values: Values = dict(zip(graph.inputs, inputs))
    for eqn in graph.eqns:
        found = run_eqn(eqn, [read(a, values) for a in eqn.inputs])
        values.update(zip(eqn.outputs, found))
    return values


def wide_inputs(inputs: Sequence[Array]) -> list[Array]:
    """The inputs of the widened program."""
    return [a.astype(np.float64) if a.dtype == np.float32 else a for a in inputs]


def wide_values(graph: Graph, inputs: Sequence[Array]) -> Values:
    """Every variable's value in float64, by the variables of `graph`."""
    wide = widen(graph)
    found = all_values(wide, wide_inputs(inputs))
    # Widening keeps eqn ids, and inputs in order.
    by_id = {e.id: e for e in wide.eqns}
    values = {v: found[w] for v, w in zip(graph.inputs, wide.inputs)}
    for eqn in graph.eqns:
        values.update((v, found[w]) for v, w in zip(eqn.outputs, by_id[eqn.id].outputs))
    return values


def _narrow(array: Array, var: Var) -> Array:
    with np.errstate(all="ignore"):
        return np.array(array, var.type.dtype.numpy, order="C")


# -- alone ----------------------------------------------------------------------------------------


def alone(eqns: Sequence[Eqn], name: str) -> tuple[Graph, list[Var]]:
    """A program of these eqns in which each reads inputs only; and what those inputs stand for."""
    stand_ins: dict[Var, Var] = {}

    def stand_in(atom: Atom) -> Atom:
        if isinstance(atom, Literal):
            return atom
        return stand_ins.setdefault(atom, Var(atom.type, atom.name))

    own = [
        e.replace(
            inputs=tuple(map(stand_in, e.inputs)),
            outputs=tuple(Var(v.type, v.name) for v in e.outputs),
        )
        for e in eqns
    ]
    outputs = tuple(v for e in own for v in e.outputs)
    inputs = tuple(stand_ins.values())
    return Graph(name, inputs, tuple(own), outputs, len(inputs)), list(stand_ins)


def _first_alone(graph: Graph, truth: Values, run: Run) -> Divergence | None:
    for low in range(0, len(graph.eqns), _BATCH):
        batch = graph.eqns[low : low + _BATCH]
        program, wanted = alone(batch, graph.name)
        found = run(program, [_narrow(truth[v], v) for v in wanted])
        at = 0
        for eqn in batch:
            results, at = found[at : at + len(eqn.outputs)], at + len(eqn.outputs)
            divergence = _judge_alone(eqn, results, truth, graph.name)
            if divergence is not None:
                return divergence
    return None


def _judge_alone(
    eqn: Eqn, results: Sequence[Array], truth: Values, name: str
) -> Divergence | None:
    program, wanted = alone([eqn], name)
    inputs = [_narrow(truth[v], v) for v in wanted]
    values, wide = all_values(program, inputs), wide_values(program, inputs)
    (single,) = program.eqns
    for var, found in zip(single.outputs, results):
        bound = eqn_bound(wide[var], found.dtype, _summed(single, wide, var))
        if wrong(found, wide[var], values[var], bound):
            distance = worst(found, wide[var])
            return Divergence(eqn, True, distance, program, tuple(inputs))
    return None


_SUMS = (ops.reduce_sum, ops.reduce_prod, ops.cumsum, ops.dot_general, ops.scatter)


def _summed(eqn: Eqn, wide: Values, out: Var) -> Array | None:
    """`n` times the sum of absolute values that an element of a sum is made of."""
    if eqn.prim not in _SUMS or not out.type.dtype.is_float:
        return None
    operands = [read(a, wide) for a in eqn.inputs]
    sizes = [np.abs(x) if x.dtype.kind == "f" else x for x in operands]
    (total,) = run_eqn(eqn, sizes)
    terms = max(1, max(s.size for s in sizes) // max(1, total.size))
    return np.asarray(total, np.float64) * terms


# -- in context -----------------------------------------------------------------------------------


def beginning(graph: Graph, count: int) -> Graph:
    """The first `count` eqns; the results are what the rest of the program reads of them."""
    first, rest = graph.eqns[:count], graph.eqns[count:]
    needed = {a for e in rest for a in e.inputs} | set(graph.outputs)
    last = set(first[-1].outputs) if first else set()
    outputs = tuple(v for e in first for v in e.outputs if v in needed or v in last)
    return graph.replace(
        eqns=first, outputs=outputs, n_args=len(graph.inputs), aliases=(), output_names=()
    )


def _first_in_context(
    graph: Graph, inputs: Sequence[Array], truth: Values, own: Values, run: Run
) -> Divergence | None:
    def judge(count: int) -> Distance | None:
        program = beginning(graph, count)
        for var, found in zip(program.outputs, run(program, inputs)):
            assert isinstance(var, Var)
            bound = program_bound(truth[var], found.dtype)
            if wrong(found, truth[var], own[var], bound):
                return worst(found, truth[var])
        return None

    low, high, distance = 0, len(graph.eqns), judge(len(graph.eqns))
    if distance is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        nearer = judge(middle)
        if nearer is None:
            low = middle
        else:
            high, distance = middle, nearer
    return Divergence(
        graph.eqns[high - 1], False, distance, beginning(graph, high), tuple(inputs)
    )


def first_divergence(graph: Graph, inputs: Sequence[Array], run: Run) -> Divergence | None:
    """The first eqn at which `run` departs from the truth on this program and these inputs.

    Args:
        run: compiles a program without state and runs it.
    """
    truth = wide_values(graph, inputs)
    found = _first_alone(graph, truth, run)
    if found is not None:
        return found
    return _first_in_context(graph, inputs, truth, all_values(graph, inputs), run)

