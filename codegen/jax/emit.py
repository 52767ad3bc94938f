"""A graph as a JAX function.

    program = emit(graph)
    outputs, failures = program(*inputs)        traceable by jax.jit, jax.grad, ...

`failures` has one row per eqn that can fail: (failed, element, index, limit, axis). The host looks
at it before it commits anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from gradc.codegen.jax.rules import jax_rule, wrapped
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var

Value = Any


@dataclass(frozen=True, eq=False)
class JaxProgram:
    """An emitted graph.

    Attributes:
        call: `call(*inputs) -> (outputs, failures)`.
        sites: the eqns that can fail, in the order of the rows of `failures`.
    """

    graph: Graph
    call: Callable[..., tuple[tuple[Value, ...], Value]]
    sites: tuple[Eqn, ...]


def can_fail(eqn: Eqn) -> bool:
    """Whether this eqn is watched."""
    return eqn.prim.can_fail(*(a.type for a in eqn.inputs))


def emit(graph: Graph) -> JaxProgram:
    """The graph as a function of JAX arrays, in the order of its eqns."""
    sites = tuple(eqn for eqn in graph.eqns if can_fail(eqn))

    def call(*inputs: Value) -> tuple[tuple[Value, ...], Value]:
        values: dict[Var, Value] = dict(zip(graph.inputs, inputs, strict=True))
        failures: list[Value] = []
        for eqn in graph.eqns:
            operands = [_read(a, values) for a in eqn.inputs]
            if can_fail(eqn):
                failures.append(_failure(eqn, operands))
            found = jax_rule[eqn.prim](*operands, **eqn.params)
            results = found if isinstance(found, tuple) else (found,)
            values.update(zip(eqn.outputs, results, strict=True))
        outputs = tuple(_read(a, values) for a in graph.outputs)
        rows = jnp.stack(failures) if failures else jnp.zeros((0, 5), jnp.int64)
        return outputs, rows

    return JaxProgram(graph, call, sites)


def _read(atom: Atom, values: dict[Var, Value]) -> Value:
    if isinstance(atom, Literal):
        return jnp.asarray(atom.value, atom.type.dtype.name)
    return values[atom]


def _failure(eqn: Eqn, operands: Sequence[Value]) -> Value:
    """(failed, element, index, limit, axis) of the first element that fails."""
    if eqn.prim in (ops.gather, ops.scatter):
        return _index_failure(eqn, operands)
    bad = ~operands[0] if eqn.prim is ops.check else operands[1] == 0
    failed, element = _first(bad)
    zero = jnp.zeros((), jnp.int64)
    return jnp.stack([failed, element, zero, zero, zero])


def _index_failure(eqn: Eqn, operands: Sequence[Value]) -> Value:
    x = operands[0]
    indices = operands[1:] if eqn.prim is ops.gather else operands[2:]
    bads, rows = [], []
    for index, axis in zip(indices, eqn.params["axes"]):
        size = x.shape[axis]
        place = wrapped(index, size, eqn.params["wrap"])
        bad = (place < 0) | (place >= size)
        failed, element = _first(bad)
        at = index.reshape(-1)[element] if index.size else jnp.zeros((), jnp.int64)
        limits = [jnp.asarray(v, jnp.int64) for v in (size, axis)]
        rows.append(jnp.stack([failed, element, at, *limits]))
        bads.append(jnp.where(failed != 0, element, jnp.iinfo("int64").max))  # type: ignore[no-untyped-call]
    return jnp.stack(rows)[jnp.argmin(jnp.stack(bads))]


def _first(bad: Value) -> tuple[Value, Value]:
    if bad.size == 0:
        return jnp.zeros((), jnp.int64), jnp.zeros((), jnp.int64)
    flat = bad.reshape(-1)
    return jnp.any(flat).astype(jnp.int64), jnp.argmax(flat).astype(jnp.int64)
