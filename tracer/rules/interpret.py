"""Running a graph eqn by eqn with the NumPy rules.

    run_graph(graph, [x, w])              one fresh C-contiguous array per output
    program = NumpyProgram(graph)         the same, prepared once to run often
    run_eqn(eqn, operands)                one step, for those who walk a graph themselves
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.rules.failures import located
from gradc.tracer.storage import Array


def literal_array(literal: Literal) -> Array:
    """The literal as a 0-d array of its dtype."""
    return np.array(literal.value, literal.type.dtype.numpy)


def _results(found: Any) -> tuple[Array, ...]:
    """What a rule gave as a tuple of arrays: for 0-d operands ufuncs give NumPy scalars."""
    if type(found) is np.ndarray:
        return (found,)
    return tuple(map(np.asarray, found if isinstance(found, tuple) else (found,)))


def run_eqn(eqn: Eqn, operands: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of one eqn; they may be views of the operands.

    Raises:
        IndexOutOfRange, DivisionByZero, AssertionFailed: with the eqn's line.
    """
    try:
        with np.errstate(all="ignore"):
            return _results(evaluate[eqn.prim](*operands, **eqn.params))
    except GradcError as error:
        raise located(error, eqn) from None


class _Step(NamedTuple):
    """One eqn over numbered places: which it reads, which it fills, which nobody reads after."""

    rule: Callable[..., Any]
    params: dict[str, Any]
    operands: tuple[int, ...]
    outputs: tuple[int, ...]
    dying: tuple[int, ...]
    eqn: Eqn


class NumpyProgram:
    """A graph made ready for many runs. Runs share nothing: threads may run it at one time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._places: dict[Atom, int] = {}
        self._initial: list[Array | None] = []
        for var in graph.inputs:
            self._place(var)
        steps = [self._step(eqn) for eqn in graph.eqns]
        self._outputs = [self._place(a) for a in graph.outputs]
        self._dtypes = [a.type.dtype.numpy for a in graph.outputs]
        literals = {i for a, i in self._places.items() if isinstance(a, Literal)}
        self._steps = _with_deaths(steps, literals.union(self._outputs))

    def _place(self, atom: Atom) -> int:
        place = self._places.get(atom)
        if place is None:
            place = self._places[atom] = len(self._initial)
            self._initial.append(literal_array(atom) if isinstance(atom, Literal) else None)
        return place

    def _step(self, eqn: Eqn) -> _Step:
        operands = tuple(map(self._place, eqn.inputs))
        outputs = tuple(map(self._place, eqn.outputs))
        return _Step(evaluate[eqn.prim], dict(eqn.params), operands, outputs, (), eqn)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for these inputs, which are not written; every output is a fresh array.

        Raises:
            IndexOutOfRange, DivisionByZero, AssertionFailed: an eqn failed; with its line.
        """
        values: list[Any] = self._initial.copy()
        values[: len(inputs)] = inputs
        with np.errstate(all="ignore"):
            for step in self._steps:
                try:
                    found = step.rule(*[values[i] for i in step.operands], **step.params)
                except GradcError as error:
                    raise located(error, step.eqn) from None
                for place, array in zip(step.outputs, _results(found)):
                    values[place] = array
                for place in step.dying:
                    values[place] = None
        return [
            np.array(values[place], dtype, order="C")
            for place, dtype in zip(self._outputs, self._dtypes)
        ]


def _with_deaths(steps: Iterable[_Step], kept: set[int]) -> list[_Step]:
    """The steps with what each reads or makes for the last time; `kept` never dies."""
    seen = set(kept)
    result: list[_Step] = []
    for step in reversed(list(steps)):
        dying = {i for i in (*step.operands, *step.outputs) if i not in seen}
        seen |= dying
        result.append(step._replace(dying=tuple(sorted(dying))))
    return result[::-1]


def run_graph(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of `graph` for these inputs (arguments, then state), which are not written.

    Raises:
        IndexOutOfRange, DivisionByZero, AssertionFailed: an eqn failed; the error has its line.
    """
    return NumpyProgram(graph).run(inputs)


def read(atom: Atom, values: dict[Var, Array]) -> Array:
    """The value of an operand, given those of the variables."""
    return literal_array(atom) if isinstance(atom, Literal) else values[atom]
