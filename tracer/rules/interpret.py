"""Running a graph eqn by eqn with the NumPy rules.

    run_graph(graph, [x, w])  ->  one fresh C-contiguous array per output

`run_eqn` is one step of it, for those who walk a graph themselves (folding, comparing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var
from gradc.tracer.graph.types import TensorType
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.storage import Array


def literal_array(literal: Literal) -> Array:
    """The literal as a 0-d array of its dtype."""
    return np.array(literal.value, literal.type.dtype.numpy)


def read(atom: Atom, values: Mapping[Var, Array]) -> Array:
    """The value of an operand, given those of the variables."""
    return literal_array(atom) if isinstance(atom, Literal) else values[atom]


def run_eqn(eqn: Eqn, operands: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of one eqn; they may be views of the operands.

    Raises:
        IndexOutOfRange, DivisionByZero, AssertionFailed: with the eqn's line.
    """
    try:
        with np.errstate(all="ignore"):
            found = evaluate[eqn.prim](*operands, **eqn.params)
    except GradcError as error:
        raise error.at(eqn.loc) from None
    results = found if isinstance(found, tuple) else (found,)
    return tuple(map(np.asarray, results))


def last_uses(graph: Graph) -> list[list[Var]]:
    """For each eqn, the variables nobody reads after it (its own unread outputs included)."""
    kept = {a for a in graph.outputs if isinstance(a, Var)}
    dying: list[list[Var]] = []
    for eqn in reversed(graph.eqns):
        dead = []
        for atom in (*eqn.inputs, *eqn.outputs):
            if isinstance(atom, Var) and atom not in kept:
                kept.add(atom)
                dead.append(atom)
        dying.append(dead)
    return dying[::-1]


def run_graph(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of `graph` for these inputs (arguments, then state), which are not written.

    Raises:
        IndexOutOfRange, DivisionByZero, AssertionFailed: an eqn failed; the error has its line.
    """
    values = dict(zip(graph.inputs, inputs))
    for eqn, dying in zip(graph.eqns, last_uses(graph)):
        results = run_eqn(eqn, [read(a, values) for a in eqn.inputs])
        values.update(zip(eqn.outputs, results))
        for var in dying:
            del values[var]
    return [fresh(read(a, values), a.type) for a in graph.outputs]


def fresh(array: Array, type: TensorType) -> Array:
    """A C-contiguous copy nobody else holds."""
    return np.array(array, type.dtype.numpy, order="C")


def fits(array: Any, type: TensorType) -> bool:
    """Whether `array` is a NumPy array of exactly this type."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == type.dtype.numpy
        and array.shape == type.shape
    )
