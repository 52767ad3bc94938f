"""Graphs as text.

    graph f(x: f32[3]; state w: f32[3])
      forward
        a: f32[3] = mul(x, w)                          # train.py:4  y = x * w
      return a: f32[3]

Names are the user's where a value has one, else letters in order; printing the same program
twice gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.tracer.graph.types import DType

if TYPE_CHECKING:
    from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var

_COMMENT_COLUMN = 72


def letters() -> Iterator[str]:
    """`a, b, ..., z, aa, ab, ...`"""
    for i in count():
        name, n = "", i
        while True:
            name = chr(ord("a") + n % 26) + name
            n = n // 26 - 1
            if n < 0:
                break
        yield name


def graph_names(graph: Graph) -> dict[Var, str]:
    """A name for every variable of `graph`, unique within it."""
    fresh = letters()
    taken: set[str] = set()
    names: dict[Var, str] = {}

    def pick(var: Var) -> str:
        if var.name is None:
            return next(name for name in fresh if name not in taken)
        if var.name not in taken:
            return var.name
        return next(n for i in count(2) if (n := f"{var.name}_{i}") not in taken)

    def assign(var: Var) -> None:
        names[var] = pick(var)
        taken.add(names[var])

    for var in graph.inputs:
        assign(var)
    for eqn in graph.eqns:
        for var in eqn.outputs:
            assign(var)
    return names


def format_literal(literal: Literal) -> str:
    """The value as Python writes it; infinities and NaN by name."""
    return repr(literal.value)


def format_atom(atom: Atom, names: dict[Var, str]) -> str:
    # A variable without a name is one that is not defined: malformed graphs are printed too.
    return names.get(atom) or repr(atom)  # type: ignore[arg-type]


def format_param(value: Any) -> str:
    if isinstance(value, DType):
        return value.short
    if isinstance(value, np.ndarray):
        return f"<{value.dtype}{list(value.shape)}>" if value.size > 8 else str(value.tolist())
    if isinstance(value, tuple):
        inner = ",".join(format_param(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str) and not value.isidentifier():
        return repr(value)
    return str(value)


def format_eqn(eqn: Eqn, names: dict[Var, str]) -> str:
    """One line, without its source comment."""
    outs = ", ".join(f"{names[v]}: {v.type}" for v in eqn.outputs)
    args = [format_atom(a, names) for a in eqn.inputs]
    args += [f"{k}={format_param(v)}" for k, v in eqn.params.items()]
    call = f"{eqn.prim.name}({', '.join(args)})"
    return f"{outs} = {call}" if outs else call


def _with_comment(text: str, eqn: Eqn, last: object) -> str:
    if eqn.loc is None or eqn.loc == last:
        return text
    return f"{text:<{_COMMENT_COLUMN}}  # {eqn.loc}  {eqn.loc.text}".rstrip()


def _signature(graph: Graph, names: dict[Var, str]) -> str:
    def listing(inputs: tuple[Var, ...]) -> str:
        return ", ".join(f"{names[v]}: {v.type}" for v in inputs)

    args, state = graph.inputs[: graph.n_args], graph.inputs[graph.n_args :]
    tail = f"; state {listing(state)}" if state else ""
    return f"graph {graph.name}({listing(args)}{tail})"


def format_graph(graph: Graph) -> str:
    """The whole graph, eqns grouped under the phase they run in."""
    names = graph_names(graph)
    lines = [_signature(graph, names)]
    phase, last = None, None
    for eqn in graph.eqns:
        if eqn.phase != phase:
            phase, last = eqn.phase, None
            lines.append(f"  {phase.value}")
        lines.append(_with_comment(f"    {format_eqn(eqn, names)}", eqn, last))
        last = eqn.loc
    written = {o: names[graph.inputs[i]] + "' = " for o, i in graph.aliases}
    results = [
        f"{written.get(i, '')}{format_atom(a, names)}: {a.type}"
        for i, a in enumerate(graph.outputs)
    ]
    return "\n".join([*lines, f"  return {', '.join(results)}"])
