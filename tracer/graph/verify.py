"""Checking that a graph is well formed.

Every variable is defined once and before its use; every type is inferred anew and compared; eqn
ids are unique; aliases join an output and an input of one type. A failure is a fault of gradc:
the message quotes the user's line and the neighbouring eqns.
"""

from __future__ import annotations

from gradc.tracer.errors import GradcError, InternalError
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var
from gradc.tracer.graph.printer import format_eqn, graph_names

_NEIGHBOURS = 5


def verify(graph: Graph, after: str = "tracing") -> None:
    """Raise InternalError if `graph` is not well formed; `after` names the stage before."""
    defined: set[Var] = set()
    ids: set[int] = set()
    for var in graph.inputs:
        _define(var, defined, graph, None, after)
    for index, eqn in enumerate(graph.eqns):
        for atom in eqn.inputs:
            _check_use(atom, defined, graph, index, after)
        if eqn.id in ids:
            raise _fault(f"the eqn id {eqn.id} occurs twice", graph, index, after)
        ids.add(eqn.id)
        _check_types(eqn, graph, index, after)
        for var in eqn.outputs:
            _define(var, defined, graph, index, after)
    for atom in graph.outputs:
        _check_use(atom, defined, graph, None, after)
    _check_aliases(graph, after)


def _define(var: Var, defined: set[Var], graph: Graph, index: int | None, after: str) -> None:
    if var in defined:
        raise _fault(f"{var!r} is defined twice", graph, index, after)
    defined.add(var)


def _check_use(
    atom: Atom, defined: set[Var], graph: Graph, index: int | None, after: str
) -> None:
    if isinstance(atom, Literal):
        if atom.type.shape != ():
            raise _fault(f"the literal {atom!r} is not 0-d", graph, index, after)
    elif atom not in defined:
        raise _fault(f"{atom!r} is used before it is defined", graph, index, after)


def _check_types(eqn: Eqn, graph: Graph, index: int, after: str) -> None:
    try:
        types = eqn.prim.infer(*(a.type for a in eqn.inputs), **eqn.params)
    except GradcError as error:
        raise _fault(f"{eqn.prim.name}: {error.what}", graph, index, after) from error
    found = tuple(v.type for v in eqn.outputs)
    if types != found:
        raise _fault(
            f"{eqn.prim.name}: outputs are {', '.join(map(str, found))} "
            f"and must be {', '.join(map(str, types))}",
            graph,
            index,
            after,
        )


def _check_aliases(graph: Graph, after: str) -> None:
    outputs = [o for o, _ in graph.aliases]
    inputs = [i for _, i in graph.aliases]
    if len(set(outputs)) != len(outputs) or len(set(inputs)) != len(inputs):
        raise _fault("an output or input is aliased twice", graph, None, after)
    for o, i in graph.aliases:
        if graph.outputs[o].type != graph.inputs[i].type:
            raise _fault(f"output {o} and input {i} alias and differ in type", graph, None, after)


def _fault(what: str, graph: Graph, index: int | None, after: str) -> InternalError:
    lines: list[str] = []
    loc = None
    if index is not None:
        names = graph_names(graph)
        loc = graph.eqns[index].loc
        low, high = max(index - _NEIGHBOURS, 0), index + _NEIGHBOURS + 1
        for i, eqn in enumerate(graph.eqns[low:high], low):
            try:
                text = format_eqn(eqn, names)
            except KeyError:
                text = f"{eqn.prim.name}(...)"
            lines.append(f"{'->' if i == index else '  '} {text}")
    return InternalError(
        f"{graph.name} is malformed after {after}: {what}", loc=loc, operands=lines
    )
