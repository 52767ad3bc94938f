"""dce: eqns that nothing needs are dropped.

    b = exp(x); return x      ->      return x

An eqn that may fail at run time is an effect and always stays, and so does what it reads.
"""

from __future__ import annotations

from gradc.tracer.graph.ir import Eqn, Graph, Var


def can_fail(eqn: Eqn) -> bool:
    """Whether the eqn is an effect: it may report a failure at run time."""
    return eqn.prim.can_fail(*(a.type for a in eqn.inputs))


def dce(graph: Graph) -> Graph:
    """`graph` without the eqns whose outputs nobody reads; `graph` itself if there are none."""
    needed = {a for a in graph.outputs if isinstance(a, Var)}
    kept: list[Eqn] = []
    for eqn in reversed(graph.eqns):
        if can_fail(eqn) or not needed.isdisjoint(eqn.outputs):
            kept.append(eqn)
            needed.update(a for a in eqn.inputs if isinstance(a, Var))
    if len(kept) == len(graph.eqns):
        return graph
    return graph.replace(eqns=tuple(reversed(kept)))
