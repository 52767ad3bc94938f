"""cse: of equal eqns on equal operands only the earliest stays.

    a = mul(x, y); b = mul(y, x); c = add(a, b)      ->      a = mul(x, y); c = add(a, a)

Exact: the value is the same one (for commutative primitives up to which NaN comes out). The
earlier eqn keeps its id, line, phase and scope. Two equal eqns that may fail fail alike, and the
first is the one that reports.
"""

from __future__ import annotations

from typing import Any

from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Var

# maximum and minimum are not: of 0.0 and -0.0 either may come out.
COMMUTATIVE = frozenset(
    {ops.add, ops.mul, ops.eq, ops.ne, ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor}
)


def _atom_key(atom: Atom) -> tuple[Any, ...]:
    return (0, atom.id) if isinstance(atom, Var) else (1, *_literal_key(atom))


def _literal_key(atom: Any) -> tuple[Any, ...]:
    dtype, bits = atom.key
    return dtype.name, bits


def _eqn_key(eqn: Eqn) -> tuple[Any, ...]:
    operands = [_atom_key(a) for a in eqn.inputs]
    if eqn.prim in COMMUTATIVE:
        operands.sort()
    return eqn.prim, tuple(operands), eqn.params


def cse(graph: Graph) -> Graph:
    """`graph` with every eqn computed once; `graph` itself if nothing was computed twice."""
    first: dict[tuple[Any, ...], Eqn] = {}
    stands_for: dict[Var, Var] = {}
    kept: list[Eqn] = []

    def read(atom: Atom) -> Atom:
        return stands_for.get(atom, atom) if isinstance(atom, Var) else atom

    for eqn in graph.eqns:
        inputs = tuple(map(read, eqn.inputs))
        if inputs != eqn.inputs:
            eqn = eqn.replace(inputs=inputs)
        earlier = first.setdefault(_eqn_key(eqn), eqn)
        if earlier is eqn:
            kept.append(eqn)
        else:
            stands_for.update(zip(eqn.outputs, earlier.outputs))
    if not stands_for:
        return graph
    return graph.replace(eqns=tuple(kept), outputs=tuple(map(read, graph.outputs)))
