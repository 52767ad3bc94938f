"""Rewrites of arithmetic: neutral operands, double negation, powers, integer identities.

    x * 1 -> x      x - 0.0 -> x      x / 4.0 -> x * 0.25      x ** 2 -> x * x
"""

from __future__ import annotations

import math

from gradc.codegen.passes.rewrite import Rewriter, RuleSet
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn
from gradc.tracer.graph.types import DType

rules = RuleSet("arithmetic")


def _either_way(eqn: Eqn) -> tuple[tuple[Atom, Atom], tuple[Atom, Atom]]:
    x, y = eqn.inputs
    return (x, y), (y, x)


def _is_integer(atom: Atom) -> bool:
    return atom.type.dtype.is_integer


@rules.on(ops.mul)
def mul_one(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x * 1 -> x. Exact for every x."""
    return next((x for x, y in _either_way(eqn) if rw.is_value(y, 1)), None)


@rules.on(ops.mul)
def mul_minus_one(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x * -1 -> -x. Exact: both only turn the sign, of zeros and infinities too."""
    if eqn.output.type.dtype.kind == "u":
        return None
    found = next((x for x, y in _either_way(eqn) if rw.is_value(y, -1)), None)
    return None if found is None else rw.emit(ops.neg, found)


@rules.on(ops.mul)
def mul_negated(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """(-x) * (-y) -> x * y. Exact: the signs cancel, the magnitude is the same."""
    x, y = (rw.producer(a, ops.neg) for a in eqn.inputs)
    return None if x is None or y is None else rw.emit(ops.mul, x.inputs[0], y.inputs[0])


@rules.on(ops.mul)
def mul_integer_zero(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x * 0 -> 0, integers only (0 * NaN is NaN, 0 * -1 is -0.0)."""
    if not _is_integer(eqn.output):
        return None
    return next((y for x, y in _either_way(eqn) if rw.is_value(y, 0)), None)


@rules.on(ops.div, ops.floor_divide, ops.trunc_divide)
def div_one(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x / 1 -> x, and integer quotients alike. Exact for every x; 1 does not fail."""
    x, y = eqn.inputs
    if eqn.prim is not ops.div and not _is_integer(x):
        return None
    return x if rw.is_value(y, 1) else None


@rules.on(ops.div)
def div_power_of_two(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x / 2^k -> x * 2^-k. Exact: one rounding of the same real number, also to denormals."""
    x, y = eqn.inputs
    literal = rw.literal(y)
    if literal is None or not _has_exact_reciprocal(float(literal.value), y.type.dtype):
        return None
    return rw.emit(ops.mul, x, rw.full(1.0 / float(literal.value), y.type))


def _has_exact_reciprocal(value: float, dtype: DType) -> bool:
    if value == 0 or not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5:
        return False
    # Normal numbers on both sides, in the eqn's own type.
    limit = 126 if dtype.bits == 32 else 1022
    return abs(math.frexp(value)[1]) <= limit


@rules.on(ops.div)
def div_negated(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """(-x) / (-y) -> x / y. Exact: the signs cancel, the magnitude is the same."""
    x, y = (rw.producer(a, ops.neg) for a in eqn.inputs)
    return None if x is None or y is None else rw.emit(ops.div, x.inputs[0], y.inputs[0])


@rules.on(ops.add)
def add_neutral(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x + -0.0 -> x; x + 0 -> x for integers. Exact: -0.0 + -0.0 is -0.0, but -0.0 + 0.0 is not."""
    zero = 0 if _is_integer(eqn.output) else -0.0
    return next((x for x, y in _either_way(eqn) if rw.is_value(y, zero)), None)


@rules.on(ops.add)
def add_negated(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x + (-y) -> x - y. Exact: IEEE 754 defines subtraction so; integers wrap alike."""
    for x, y in _either_way(eqn):
        negated = rw.producer(y, ops.neg)
        if negated is not None:
            return rw.emit(ops.sub, x, negated.inputs[0])
    return None


@rules.on(ops.sub)
def sub_zero(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x - 0.0 -> x. Exact: -0.0 - 0.0 is -0.0 (but x - -0.0 is not x for x = -0.0)."""
    x, y = eqn.inputs
    return x if rw.is_value(y, 0) else None


@rules.on(ops.sub)
def sub_negated(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x - (-y) -> x + y. Exact: IEEE 754 defines subtraction so; integers wrap alike."""
    x, y = eqn.inputs
    negated = rw.producer(y, ops.neg)
    return None if negated is None else rw.emit(ops.add, x, negated.inputs[0])


@rules.on(ops.sub)
def sub_from_zero(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """-0.0 - x -> -x; 0 - x -> -x for integers. Exact (but 0.0 - 0.0 is 0.0 and -0.0 is not)."""
    x, y = eqn.inputs
    zero = 0 if _is_integer(x) else -0.0
    return rw.emit(ops.neg, y) if rw.is_value(x, zero) else None


@rules.on(ops.sub, ops.bitwise_xor)
def integer_self_difference(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x - x -> 0 and x ^ x -> 0, integers and bools only (inf - inf is NaN)."""
    x, y = eqn.inputs
    return rw.full(0, x.type) if x == y and not x.type.dtype.is_float else None


@rules.on(ops.neg, ops.bitwise_not)
def involution(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """-(-x) -> x, ~(~x) -> x. Exact: both only turn bits."""
    inner = rw.producer(eqn.inputs[0], eqn.prim)
    return None if inner is None else inner.inputs[0]


@rules.on(ops.neg)
def neg_of_difference(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """-(x - y) -> y - x for integers only (-(1.0 - 1.0) is -0.0)."""
    inner = rw.producer(eqn.inputs[0], ops.sub)
    if inner is None or not _is_integer(eqn.output):
        return None
    return rw.emit(ops.sub, inner.inputs[1], inner.inputs[0])


@rules.on(ops.abs)
def abs_of_sign_change(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """|-x| -> |x|, ||x|| -> |x|. Exact: the sign does not enter (the least integer stays)."""
    inner = rw.producer(eqn.inputs[0], ops.neg, ops.abs)
    return None if inner is None else rw.emit(ops.abs, inner.inputs[0])


@rules.on(ops.floor, ops.ceil, ops.trunc, ops.round)
def round_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """floor(round(x)) -> round(x), and so on. Exact: an integral value is its own rounding."""
    (x,) = eqn.inputs
    return x if rw.producer(x, ops.floor, ops.ceil, ops.trunc, ops.round) else None


@rules.on(ops.pow)
def pow_literal(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x ** 0 -> 1, x ** 1 -> x, x ** 2 -> x * x, x ** -1.0 -> 1 / x.

    Exact: the results are the correctly rounded powers, with the special values of IEEE 754's
    pow (NaN ** 0 is 1). x ** 0.5 is not sqrt(x): they differ at -0.0 and -inf.
    """
    x, y = eqn.inputs
    if rw.is_value(y, 0) or rw.is_value(y, -0.0):
        return rw.full(1, x.type)
    if rw.is_value(y, 1):
        return x
    if rw.is_value(y, 2):
        return rw.emit(ops.mul, x, x)
    if x.type.dtype.is_float and rw.is_value(y, -1):
        return rw.emit(ops.div, rw.full(1.0, x.type), x)
    return None


@rules.on(ops.add, ops.mul)
def integer_constants_together(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """(x + 3) + 4 -> x + 7 and (x * 3) * 4 -> x * 12, integers only: they wrap associatively."""
    if not _is_integer(eqn.output):
        return None
    for inner, outer in _either_way(eqn):
        made = rw.producer(inner, eqn.prim)
        if made is None or rw.literal(outer) is None:
            continue
        for x, constant in _either_way(made):
            if rw.literal(constant) is not None:
                return rw.emit(eqn.prim, x, rw.emit(eqn.prim, constant, outer))
    return None


@rules.on(ops.maximum, ops.minimum, ops.bitwise_and, ops.bitwise_or)
def idempotent(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """max(x, x) -> x, and min, and, or alike. Exact for every x, NaN too."""
    x, y = eqn.inputs
    return x if x == y else None


@rules.on(ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor)
def bits_with_literal(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x & 0 -> 0, x & ~0 -> x, x | 0 -> x, x | ~0 -> ~0, x ^ 0 -> x; bools alike."""
    dtype = eqn.output.type.dtype
    ones = dtype.max if dtype.kind in "bu" else -1
    for x, y in _either_way(eqn):
        if rw.is_value(y, 0):
            return y if eqn.prim is ops.bitwise_and else x
        if rw.is_value(y, ones) and eqn.prim is not ops.bitwise_xor:
            return x if eqn.prim is ops.bitwise_and else y
    return None


@rules.on(ops.shift_left, ops.shift_right)
def shift_by_zero(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x << 0 -> x, x >> 0 -> x."""
    x, count = eqn.inputs
    return x if rw.is_value(count, 0) else None

