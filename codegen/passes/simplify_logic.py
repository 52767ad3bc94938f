"""Rewrites of select, comparisons and casts.

    select(p, x, x) -> x      not (x == y) -> x != y      cast(cast(x: f32; f64); f32) -> x
"""

from __future__ import annotations

from gradc.codegen.passes.rewrite import Rewriter, RuleSet
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn
from gradc.tracer.graph.types import DType

rules = RuleSet("logic")


@rules.on(ops.select)
def select_known(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """select(true, a, b) -> a, select(false, a, b) -> b."""
    p, a, b = eqn.inputs
    if rw.is_value(p, True):
        return a
    return b if rw.is_value(p, False) else None


@rules.on(ops.select)
def select_same(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """select(p, a, a) -> a; also where both sides are one literal."""
    _, a, b = eqn.inputs
    if a == b:
        return a
    literal = rw.literal(a)
    return a if literal is not None and literal == rw.literal(b) else None


@rules.on(ops.select)
def select_not(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """select(not p, a, b) -> select(p, b, a)."""
    p, a, b = eqn.inputs
    negated = rw.producer(p, ops.bitwise_not)
    return None if negated is None else rw.emit(ops.select, negated.inputs[0], b, a)


@rules.on(ops.select)
def select_again(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """select(p, select(p, a, b), c) -> select(p, a, c), and on the other side."""
    p, a, b = eqn.inputs
    first, second = rw.producer(a, ops.select), rw.producer(b, ops.select)
    if first is not None and first.inputs[0] == p:
        return rw.emit(ops.select, p, first.inputs[1], b)
    if second is not None and second.inputs[0] == p:
        return rw.emit(ops.select, p, a, second.inputs[2])
    return None


@rules.on(ops.select)
def select_of_truth(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """select(p, true, false) -> p, select(p, false, true) -> not p."""
    p, a, b = eqn.inputs
    if not a.type.dtype.is_bool:
        return None
    if rw.is_value(a, True) and rw.is_value(b, False):
        return p
    swapped = rw.is_value(a, False) and rw.is_value(b, True)
    return rw.emit(ops.bitwise_not, p) if swapped else None


_OPPOSITE = {
    ops.eq: ops.ne, ops.ne: ops.eq, ops.lt: ops.ge, ops.ge: ops.lt, ops.gt: ops.le, ops.le: ops.gt,
}  # fmt: skip


@rules.on(ops.bitwise_not)
def not_of_comparison(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """not (x == y) -> x != y, not (x != y) -> x == y; not (x < y) -> x >= y but for floats.

    Exact: == and != are opposites for NaN too; < and >= are both false there.
    """
    inner = rw.producer(eqn.inputs[0], *_OPPOSITE)
    if inner is None or not eqn.output.type.dtype.is_bool:
        return None
    ordered = inner.prim not in (ops.eq, ops.ne)
    if ordered and inner.inputs[0].type.dtype.is_float:
        return None
    return rw.emit(_OPPOSITE[inner.prim], *inner.inputs)


@rules.on(ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge)
def compare_with_itself(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x == x -> true, x < x -> false, but for floats; x != x -> isnan(x) for floats."""
    x, y = eqn.inputs
    if x != y:
        return None
    if x.type.dtype.is_float and eqn.prim not in (ops.lt, ops.gt):
        return rw.emit(ops.isnan, x) if eqn.prim is ops.ne else None
    return rw.full(eqn.prim in (ops.eq, ops.le, ops.ge), eqn.output.type)


@rules.on(ops.eq, ops.ne)
def compare_truth(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """p == true -> p, p != false -> p; p == false -> not p, p != true -> not p."""
    if not eqn.inputs[0].type.dtype.is_bool:
        return None
    for x, y in (eqn.inputs, eqn.inputs[::-1]):
        if rw.is_value(y, eqn.prim is ops.eq):
            return x
        if rw.is_value(y, eqn.prim is ops.ne):
            return rw.emit(ops.bitwise_not, x)
    return None


# -- casts ------------------------------------------------------------------------------------

_MANTISSA = {32: 24, 64: 53}


def holds_all_of(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is a value of `wide`."""
    if narrow.is_bool or wide is narrow:
        return True
    if wide.is_float:
        if narrow.is_float:
            return wide.bits >= narrow.bits
        return max(abs(narrow.min), narrow.max + 1) <= 1 << _MANTISSA[wide.bits]
    if wide.is_bool or narrow.is_float:
        return False
    return wide.min <= narrow.min and narrow.max <= wide.max


@rules.on(ops.cast, ops.bitcast)
def cast_nothing(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """cast(x) -> x to its own dtype; bitcast alike."""
    (x,) = eqn.inputs
    return x if x.type == eqn.output.type else None


@rules.on(ops.cast)
def cast_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """cast(cast(x; b); c) -> cast(x; c) where b holds every value of x's dtype.

    Exact: the second cast sees the same numbers. But integers wrap and floats saturate, so from
    integer through float to integer only where nothing overflows.
    """
    inner = rw.producer(eqn.inputs[0], ops.cast)
    if inner is None:
        return None
    (x,) = inner.inputs
    first, middle, last = x.type.dtype, inner.params.dtype, eqn.params.dtype
    if not holds_all_of(middle, first):
        return None
    saturates = first.is_integer and middle.is_float and last.is_integer
    if saturates and not holds_all_of(last, first):
        return None
    return rw.emit(ops.cast, x, dtype=last)


@rules.on(ops.bitcast)
def bitcast_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """bitcast(bitcast(x; b); c) -> bitcast(x; c)."""
    inner = rw.producer(eqn.inputs[0], ops.bitcast)
    return None if inner is None else rw.emit(ops.bitcast, *inner.inputs, dtype=eqn.params.dtype)


@rules.on(ops.ne)
def nonzero_of_cast(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """cast(p) != 0 -> p for a bool p."""
    x, y = eqn.inputs
    inner = rw.producer(x, ops.cast)
    if inner is None or not inner.inputs[0].type.dtype.is_bool or not rw.is_value(y, 0):
        return None
    return inner.inputs[0]
