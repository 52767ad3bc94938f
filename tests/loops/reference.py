"""A graph evaluated by the NumPy rules, eqn by eqn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.tracer.graph.ir import Atom, Graph, Literal, Var
from gradc.tracer.rules.evaluate import evaluate

Array = np.ndarray[Any, Any]


def run_reference(graph: Graph, arrays: list[Array]) -> list[Array]:
    """Every output."""
    values: dict[Var, Array] = dict(zip(graph.inputs, arrays, strict=True))

    def get(atom: Atom) -> Array:
        if isinstance(atom, Literal):
            return np.asarray(atom.value, atom.type.dtype.numpy)
        return values[atom]

    with np.errstate(all="ignore"):
        for eqn in graph.eqns:
            results = evaluate[eqn.prim](*map(get, eqn.inputs), **eqn.params)
            if not isinstance(results, tuple):
                results = (results,)
            for var, array in zip(eqn.outputs, results, strict=True):
                values[var] = np.asarray(array)
    return [np.array(get(a)) for a in graph.outputs]
