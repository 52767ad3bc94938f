"""masks: which elements a relu cut is read off its result, where that is stored anyway.

    p = le(x, 0); y = select(p, 0, x); ... use(p)      ->      ... use(le(y, 0))

Exact: y is 0 where x <= 0 and x elsewhere, NaN included, so `y <= 0` holds exactly where
`x <= 0` does. Then neither x nor the mask need be kept for backward: y is the operand of the next
product, convolution or pooling, which stores it.
"""

from __future__ import annotations

from gradc.codegen.passes.rewrite import next_eqn_id
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var

_STORING = ("contraction", "window")


def masks(graph: Graph) -> Graph:
    """`graph` with the masks of stored relus taken from their results."""
    results = _stored_relus(graph)
    relus = {id(relu) for relu, _ in results.values()}
    fresh: dict[Var, Var] = {}
    eqns: list[Eqn] = []
    number = next_eqn_id(graph)
    for eqn in graph.eqns:
        for mask in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var) and a in results):
            relu, test = results[mask]
            if id(eqn) not in relus and mask not in fresh:
                fresh[mask] = Var(mask.type)
                operands: tuple[Atom, ...] = (relu.output, test.inputs[1])
                found = test.replace(
                    inputs=operands, outputs=(fresh[mask],), id=number, loc=eqn.loc,
                    phase=eqn.phase, scope=eqn.scope,
                )  # fmt: skip
                eqns.append(found)
                number += 1
        inputs = tuple(fresh.get(a, a) if isinstance(a, Var) else a for a in eqn.inputs)
        changed = inputs != eqn.inputs and id(eqn) not in relus
        eqns.append(eqn.replace(inputs=inputs) if changed else eqn)
    return graph.replace(eqns=tuple(eqns)) if fresh else graph


def _stored_relus(graph: Graph) -> dict[Var, tuple[Eqn, Eqn]]:
    """By mask: the relu it belongs to and the comparison that made it."""
    producers = {v: e for e in graph.eqns for v in e.outputs}
    outputs = set(graph.outputs)
    stored = _stored_values(graph, producers)
    found: dict[Var, tuple[Eqn, Eqn]] = {}
    for eqn in graph.eqns:
        if eqn.prim is not ops.select or eqn.output not in stored or eqn.inputs[0] in outputs:
            continue
        mask, cut, x = eqn.inputs
        test = producers.get(mask) if isinstance(mask, Var) else None
        if test is None or test.prim is not ops.le or test.inputs != (x, cut):
            continue
        if _is_zero(cut, producers):
            found.setdefault(test.output, (eqn, test))
    return found


def _stored_values(graph: Graph, producers: dict[Var, Eqn]) -> set[Var]:
    """What contractions and windows read, through movement."""
    stored: set[Var] = set()
    stack = [a for e in graph.eqns if e.prim.family in _STORING for a in e.inputs]
    while stack:
        atom = stack.pop()
        if not isinstance(atom, Var) or atom in stored:
            continue
        stored.add(atom)
        eqn = producers.get(atom)
        if eqn is not None and eqn.prim.family == "movement":
            stack += eqn.inputs
    return stored


def _is_zero(atom: Atom, producers: dict[Var, Eqn]) -> bool:
    if isinstance(atom, Var) and atom in producers:
        eqn = producers[atom]
        return eqn.prim is ops.broadcast and _is_zero(eqn.inputs[0], producers)
    return isinstance(atom, Literal) and atom.value == 0
