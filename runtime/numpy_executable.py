"""The NumPy executable: a graph run eqn by eqn with the rules of `tracer/rules/evaluate.py`.

    bound = NumpyExecutable(graph).bind([w])      w: the storage of graph.inputs[n_args:]
    (loss,) = bound([x, y])                       w.array now holds the aliased output

Nothing is written before every eqn has run: a call that fails leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.codegen.pipeline import PASSES_NUMPY, run_passes
from gradc.runtime.locks import writing_lock
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.rules.interpret import NumpyProgram
from gradc.tracer.storage import Array, Storage


class NumpyExecutable:
    """Runs `graph` with NumPy; needs no compiler and no other package."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._program = NumpyProgram(run_passes(graph, PASSES_NUMPY))

    def bind(self, state: Sequence[Storage]) -> NumpyBound:
        """The executable on this state, one storage per input from `n_args` on.

        Raises:
            InternalError: the number of storages does not fit the graph.
        """
        expected = len(self.graph.inputs) - self.graph.n_args
        if len(state) != expected:
            raise InternalError(
                f"{self.graph.name} has {expected} state inputs and was given {len(state)}"
            )
        return NumpyBound(self._program, tuple(state))


class NumpyBound:
    """A program with its state: call it with the arguments. Threads may share it."""

    def __init__(self, program: NumpyProgram, state: tuple[Storage, ...]) -> None:
        self._program = program
        self._state = state
        n_args = program.graph.n_args
        self._updates = {o: i for o, i in program.graph.aliases if i >= n_args}
        self._donated = {o: i for o, i in program.graph.aliases if i < n_args}
        self._lock = writing_lock(bool(self._updates))

    def __call__(self, args: Sequence[Array]) -> list[Array]:
        """The outputs that replace no state, see `Bound`; the others are written back.

        Raises:
            IndexOutOfRange, DivisionByZero, AssertionFailed: with the user's line; nothing has
                been written then.
        """
        with self._lock:
            inputs = [*args, *map(_array, self._state)]
            outputs = self._program.run(inputs)
            for output, target in (self._updates | self._donated).items():
                np.copyto(inputs[target], outputs[output])
        for output, target in self._donated.items():
            outputs[output] = inputs[target]
        return [a for i, a in enumerate(outputs) if i not in self._updates]


def _array(storage: Storage) -> Array:
    storage.sync()
    assert storage.array is not None, "state holds data outside a trace"
    return storage.array
