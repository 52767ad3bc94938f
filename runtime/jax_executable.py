"""Running a graph through JAX, on CPU or GPU.

    bound = JaxExecutable(graph).bind(state)
    (loss,) = bound([x, y])

64-bit types are switched on for gradc's own calls only; the user's JAX configuration is never
touched. State that a step writes stays on the device; NumPy sees it when it looks
(`Storage.sync`). JAX is an optional extra, loaded by name on first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradc.codegen.pipeline import PASSES_JAX, Pass, run_passes
from gradc.runtime.locks import writing_lock
from gradc.tracer import ops
from gradc.tracer.errors import ArgumentError, GradcError
from gradc.tracer.graph.ir import Eqn, Graph
from gradc.tracer.rules.failures import (
    check_failed,
    division_by_zero,
    index_out_of_range,
    located,
)
from gradc.tracer.storage import Array, Storage


def load_jax() -> tuple[Any, Any]:
    """The modules `jax` and `gradc.codegen.jax.emit`.

    Raises:
        ArgumentError: JAX is not installed.
    """
    try:
        jax = importlib.import_module("jax")
    except ImportError as error:
        raise ArgumentError(
            "backend 'jax' needs JAX, which is not installed",
            hint='pip install "gradc[jax]", or use backend="c" or "numpy"',
        ) from error
    return jax, importlib.import_module("gradc.codegen.jax.emit")


class JaxExecutable:
    """A graph compiled by XLA.

    Args:
        graph: the program.
        passes: what is done to it first; the outputs and inputs stay.
        compiler_options: passed on to XLA, as `jax.jit` takes them.
    """

    def __init__(
        self,
        graph: Graph,
        passes: Sequence[Pass] = PASSES_JAX,
        compiler_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.graph = graph
        self.jax, emit = load_jax()
        self.program = emit.emit(run_passes(graph, passes))
        self.compiler_options = dict(compiler_options or {})
        self._call = self.jit(self.program.call)

    def jit(self, function: Callable[..., Any]) -> Any:
        """`function` compiled with this executable's options."""
        return self.jax.jit(function, compiler_options=self.compiler_options)

    def bind(self, state: Sequence[Storage]) -> JaxBound:
        """The program on this state."""
        return JaxBound(self, state)

    def run(self, inputs: Sequence[Any]) -> tuple[list[Any], Any]:
        """All outputs and the failures, as JAX arrays."""
        with self.jax.enable_x64(True):
            arrays = [self.jax.numpy.asarray(x) for x in inputs]
            outputs, failures = self._call(*arrays)
            return list(outputs), failures


class JaxBound:
    """A JAX program with its state. Threads may share it."""

    def __init__(self, executable: JaxExecutable, state: Sequence[Storage]) -> None:
        self.executable = executable
        self.state = tuple(state)
        graph = executable.graph
        # What replaces an argument is a fresh array: an argument's memory is not the device's.
        self._updates = {o: i - graph.n_args for o, i in graph.aliases if i >= graph.n_args}
        self._fresh = [i for i in range(len(graph.outputs)) if i not in self._updates]
        self._lock = writing_lock(bool(self._updates))

    def __call__(self, args: Sequence[Array]) -> list[Array]:
        with self._lock:
            held = [s.newest() for s in self.state]
            outputs, failures = self.executable.run([*args, *held])
            _raise_first(self.executable.program.sites, failures)
            for output, target in self._updates.items():
                self.state[target].store_device(outputs[output])
        # np.array copies: what JAX hands out is read-only.
        return [np.array(outputs[i]) for i in self._fresh]


def _raise_first(sites: Sequence[Eqn], failures: Any) -> None:
    if not sites:
        return
    rows = np.asarray(failures)
    failed = np.flatnonzero(rows[:, 0])
    if failed.size:
        site, (_, _, index, limit, axis) = sites[failed[0]], rows[failed[0]].tolist()
        raise failure(site, index, limit, axis)


def failure(site: Eqn, index: int, limit: int, axis: int) -> GradcError:
    """The error of a failed eqn, in the same words as on every other executor."""
    if site.prim in (ops.gather, ops.scatter):
        return located(
            index_out_of_range(site.prim.name, index, axis=axis, size=limit), site
        )
    if site.prim is ops.check:
        return check_failed(site.params["message"], loc=site.loc)
    return division_by_zero(site.prim.name, loc=site.loc)


def jax_oracle(
    graph: Graph, compiler_options: Mapping[str, Any] | None = None
) -> tuple[Callable[..., list[Array]], Callable[..., list[Any]]]:
    """The forward through JAX, and its gradient by JAX's own autodiff.

    Returns:
        `forward(*inputs) -> outputs`, and `gradient(inputs, cotangents) -> input cotangents` for
        the floating inputs (None for the others), given one cotangent per floating output.
    """
    # A fault of a pass must not be in the oracle.
    executable = JaxExecutable(graph, (), compiler_options)
    jax = executable.jax
    floats = [i for i, v in enumerate(graph.inputs) if v.type.dtype.is_float]
    results = [i for i, a in enumerate(graph.outputs) if a.type.dtype.is_float]

    def forward(*inputs: Any) -> list[Array]:
        outputs, failures = executable.run(inputs)
        _raise_first(executable.program.sites, failures)
        return [np.array(o) for o in outputs]

    def pulled(arrays: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        def of_floats(*values: Any) -> list[Any]:
            full = list(arrays)
            for i, value in zip(floats, values):
                full[i] = value
            outputs, _ = executable.program.call(*full)
            return [outputs[i] for i in results]

        _, pull = jax.vjp(of_floats, *(arrays[i] for i in floats))
        return pull(cotangents)

    compiled = executable.jit(pulled)

    def gradient(inputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        with jax.enable_x64(True):
            arrays = [jax.numpy.asarray(x) for x in inputs]
            found = compiled(arrays, [jax.numpy.asarray(c) for c in cotangents])
        grads: list[Any] = [None] * len(arrays)
        for i, g in zip(floats, found):
            grads[i] = np.array(g)
        return grads

    return forward, gradient
