"""recompute: large products of attention are computed again for backward, not kept for it.

    s = q @ k.T; p = exp(s - m) / z; ...   backward: use(p)    ->    ... use(exp(q @ k.T - m) / z)

The scores of a head are many more numbers than what they are computed from: kept for backward,
they are the largest arrays of a program and go to memory and back. Computed again next to where
backward uses them, they need not be arrays at all (`plan/chain.py`). What was summed over them, of
the size of a row, is kept: the maximum and the sum of a softmax. Exact: the same eqns on the same
values.
"""

from __future__ import annotations

from math import prod

from gradc.codegen.passes.dce import can_fail
from gradc.codegen.passes.rewrite import next_eqn_id
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Phase, Var

# Smaller ones stay in the last cache from forward to backward, or would take little memory.
LARGE_BYTES = 1 << 24
# Products that sum more than a head has features are too dear.
MOST_SUMMED = 128
_CHEAP = ("elementwise", "movement", "creation")


def recompute(graph: Graph) -> Graph:
    """`graph` with what is cheap to compute from the inputs of large products computed twice."""
    found = _repeatable(graph)
    return _Repeater(graph, found).repeated() if found else graph


def _repeatable(graph: Graph) -> dict[Var, Eqn]:
    """By value: the eqn of what backward is to compute again."""
    found: dict[Var, Eqn] = {}
    for eqn in graph.eqns:
        if eqn.phase is not Phase.FORWARD or len(eqn.outputs) != 1:
            continue
        if not all(isinstance(d, int) for v in (*eqn.inputs, eqn.output) for d in v.type.shape):
            continue
        follows = any(isinstance(a, Var) and a in found for a in eqn.inputs)
        cheap = eqn.prim.family in _CHEAP and not can_fail(eqn)
        if _is_large_product(eqn) or (follows and cheap and _is_large(eqn)):
            found[eqn.output] = eqn
    return found


def _is_large_product(eqn: Eqn) -> bool:
    """Whether a product for each cell of a batch has more elements than both its operands."""
    if eqn.prim is not ops.dot_general or not eqn.params.batch[0]:
        return False
    left = known_shape(eqn.inputs[0].type.shape)
    summed = prod(left[a] for a in eqn.params.contract[0])
    larger = _size(eqn.output) > sum(map(_size, eqn.inputs))
    return larger and summed <= MOST_SUMMED and _is_large(eqn)


def _is_large(eqn: Eqn) -> bool:
    return _size(eqn.output) * eqn.output.type.dtype.itemsize >= LARGE_BYTES


def _size(atom: Atom) -> int:
    return prod(known_shape(atom.type.shape))


class _Repeater:
    """Puts a second set of the eqns in front of what reads them after forward."""

    def __init__(self, graph: Graph, found: dict[Var, Eqn]) -> None:
        self.graph, self.found = graph, found
        self.again: dict[Var, Var] = {}
        self.eqns: list[Eqn] = []
        self.next_id = next_eqn_id(graph)

    def repeated(self) -> Graph:
        for eqn in self.graph.eqns:
            if eqn.phase is not Phase.FORWARD:
                inputs = tuple(self.second(a, eqn) for a in eqn.inputs)
                eqn = eqn.replace(inputs=inputs) if inputs != eqn.inputs else eqn
            self.eqns.append(eqn)
        return self.graph.replace(eqns=tuple(self.eqns)) if self.again else self.graph

    def is_wanted(self, atom: Atom) -> bool:
        """Whether a value is to be computed again, and has not been; what is given back is stored
        anyway."""
        if not isinstance(atom, Var) or atom not in self.found:
            return False
        return atom not in self.again and atom not in self.graph.outputs

    def second(self, atom: Atom, reader: Eqn) -> Atom:
        """What stands for `atom` after forward, computed again where that is worth it."""
        stack = [atom]
        while stack:
            var = stack[-1]
            if not self.is_wanted(var):
                stack.pop()
                continue
            assert isinstance(var, Var)
            eqn = self.found[var]
            missing = [a for a in eqn.inputs if self.is_wanted(a)]
            if missing:
                stack += missing
                continue
            inputs = tuple(self.again.get(a, a) if isinstance(a, Var) else a for a in eqn.inputs)
            made = Var(var.type)
            self.eqns.append(
                eqn.replace(inputs=inputs, outputs=(made,), id=self.next_id, phase=reader.phase)
            )
            self.next_id += 1
            self.again[var] = made
            stack.pop()
        return self.again.get(atom, atom) if isinstance(atom, Var) else atom
