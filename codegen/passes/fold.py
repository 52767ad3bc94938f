"""fold: eqns whose operands are known are computed now, with the NumPy rules.

    mul(broadcast(2.0), broadcast(3.0))  ->  broadcast(6.0)

Known is a literal, a literal repeated everywhere, and a small constant array. An eqn that would
fail is left to fail at run time. Exact: the rules are the ones that define the primitives; for
functions that are not exactly rounded the value is NumPy's.
"""

from __future__ import annotations

import numpy as np

from gradc.codegen.passes.rewrite import Rewriter, RuleSet, rewrite
from gradc.tracer import ops
from gradc.tracer.errors import GradcError
from gradc.tracer.graph import dims
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal
from gradc.tracer.graph.types import TensorType
from gradc.tracer.ops.movement import Constant
from gradc.tracer.ops.primitive import PRIMITIVES, Primitive
from gradc.tracer.rules.interpret import literal_array, run_eqn
from gradc.tracer.storage import Array

RULES = RuleSet("fold")
MAX_ELEMENTS = 4096

_ELEMENTWISE = tuple(p for p in PRIMITIVES.values() if p.family == "elementwise")
# Movement of constants is free anyway, and a broadcast or pad would only store more.
_OTHERS: tuple[Primitive, ...] = tuple(
    p for p in PRIMITIVES.values() if p.family in ("reduction", "scan", "contraction", "indexing")
)


@RULES.on(*_ELEMENTWISE)
def fold_literals(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """f(2.0, 3.0) -> its value, also where both are repeated everywhere."""
    literals = [rw.literal(x) for x in eqn.inputs]
    if any(x is None for x in literals):
        return None
    value = _compute(eqn, [literal_array(x) for x in literals if x is not None])
    return None if value is None else rw.full(value.item(), eqn.output.type)


@RULES.on(*_ELEMENTWISE)
def fold_select(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """f(select(p, 1.0, 0.0), 2.0) -> select(p, f(1.0, 2.0), f(0.0, 2.0)).

    Exact: f is applied to the same numbers. Not where f would fail on either.
    """
    chosen = [rw.producer(x, ops.select) for x in eqn.inputs]
    selects = [s for s in chosen if s is not None]
    if len(selects) != 1 or eqn.prim is ops.select:
        return None
    (found,), sides = selects, []
    for side in found.inputs[1:]:
        literals = [rw.literal(side if s is found else x) for s, x in zip(chosen, eqn.inputs)]
        if any(x is None for x in literals):
            return None
        value = _compute(eqn, [literal_array(x) for x in literals if x is not None])
        if value is None:
            return None
        sides.append(rw.full(value.item(), eqn.output.type))
    return rw.emit(ops.select, found.inputs[0], *sides)


@RULES.on(*_ELEMENTWISE, *_OTHERS, ops.reshape, ops.permute, ops.slice, ops.flip)
def fold_constants(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """f(constant, 2.0) -> a constant of at most 4096 elements."""
    size = eqn.output.type.size
    if not isinstance(size, int) or not 0 < size <= MAX_ELEMENTS:
        return None
    arrays = [_known(rw, x) for x in eqn.inputs]
    if any(x is None for x in arrays) or all(rw.literal(x) is not None for x in eqn.inputs):
        return None
    value = _compute(eqn, [x for x in arrays if x is not None])
    return None if value is None else _constant(rw, value, eqn.output.type)


@RULES.on(ops.constant)
def constant_of_one_value(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """A constant that is one value everywhere -> that literal, repeated."""
    elements = eqn.params.value.array.reshape(-1)
    # Compared as bits: NaN equals itself and -0.0 is not 0.0.
    bits = elements.view(f"u{elements.itemsize}")
    if elements.size == 0 or np.any(bits != bits[0]):
        return None
    return rw.full(elements[0].item(), eqn.output.type)


def _known(rw: Rewriter, atom: Atom) -> Array | None:
    literal = rw.literal(atom)
    if literal is not None:
        if not dims.is_known(atom.type.shape):
            return None
        return np.broadcast_to(literal_array(literal), dims.known_shape(atom.type.shape))
    eqn = rw.producer(atom, ops.constant)
    if eqn is None or eqn.params.value.array.size > MAX_ELEMENTS:
        return None
    return eqn.params.value.array  # type: ignore[no-any-return]


def _compute(eqn: Eqn, operands: list[Array]) -> Array | None:
    try:
        (value,) = run_eqn(eqn, operands)
    except GradcError:
        return None
    return value


def _constant(rw: Rewriter, value: Array, type: TensorType) -> Atom:
    if type.shape == ():
        return Literal(value.item(), type)
    return rw.emit(ops.constant, value=Constant(value))


def fold(graph: Graph) -> Graph:
    """Compute what is known already."""
    return rewrite(graph, RULES)
