"""Which values are never positive: their exponentials need no care for overflow.

    signs = Signs(producers)
    signs.never_positive(y)       y = x - max(x), y = -|x|, y = min(x, 0), ...; NaN may occur

A rule gets the signs of the operands and gives that of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Flag
from typing import TypeAlias

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.movement import movement
from gradc.codegen.plan.access import Walker
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Literal, Var
from gradc.tracer.ops.primitive import Primitive


class Sign(Flag):
    """What is known of every element."""

    UNKNOWN = 0
    NOT_POSITIVE = 1
    NOT_NEGATIVE = 2
    ZERO = 3


UNKNOWN, NOT_POSITIVE, NOT_NEGATIVE = Sign.UNKNOWN, Sign.NOT_POSITIVE, Sign.NOT_NEGATIVE
_DEPTH = 12

SignRule: TypeAlias = Callable[..., Sign]


def _negated(a: Sign) -> Sign:
    return (NOT_NEGATIVE if NOT_POSITIVE in a else UNKNOWN) | (
        NOT_POSITIVE if NOT_NEGATIVE in a else UNKNOWN
    )


def _product(a: Sign, b: Sign) -> Sign:
    return (NOT_NEGATIVE if a & b else UNKNOWN) | (NOT_POSITIVE if a & _negated(b) else UNKNOWN)


_RULES: dict[Primitive, SignRule] = {
    **dict.fromkeys((ops.abs, ops.exp, ops.sigmoid, ops.sqrt), lambda a: NOT_NEGATIVE),
    ops.neg: _negated,
    ops.add: lambda a, b: a & b,
    ops.sub: lambda a, b: a & _negated(b),
    **dict.fromkeys((ops.mul, ops.div), _product),
    ops.maximum: lambda a, b: (a | b) & NOT_NEGATIVE | a & b,
    ops.minimum: lambda a, b: (a | b) & NOT_POSITIVE | a & b,
    ops.select: lambda p, a, b: a & b,
    ops.reduce_sum: lambda a: a,
}


class Signs:
    """Signs of the values of one graph, found when asked for."""

    def __init__(self, producers: Mapping[Var, Eqn]) -> None:
        self.producers = producers
        self._known: dict[Var, Sign] = {}
        self._walker = Walker(producers, lambda v: producers[v].prim not in movement)

    def never_positive(self, atom: Atom) -> bool:
        """Whether no element is above zero."""
        return NOT_POSITIVE in self.sign(atom)

    def sign(self, atom: Atom, depth: int = _DEPTH) -> Sign:
        """What is known of an atom, by looking at most `depth` eqns back."""
        if isinstance(atom, Literal):
            return _of_number(float(atom.value))
        found = self._known.get(atom)
        if found is not None:
            return found
        eqn = self.producers.get(atom)
        if eqn is None or not depth or not atom.type.dtype.is_float:
            return UNKNOWN
        self._known[atom] = found = self._computed(eqn, depth - 1)
        return found

    def _computed(self, eqn: Eqn, depth: int) -> Sign:
        if eqn.prim in movement:
            signs = [self.sign(a, depth) for a in eqn.inputs]
            return _all(signs)
        rule = _RULES.get(eqn.prim)
        if rule is None:
            return UNKNOWN
        if eqn.prim is ops.mul and eqn.inputs[0] is eqn.inputs[1]:
            return NOT_NEGATIVE
        if eqn.prim is ops.sub and self._at_most(*eqn.inputs):
            return NOT_POSITIVE
        return rule(*(self.sign(a, depth) for a in eqn.inputs))

    def _at_most(self, a: Atom, b: Atom) -> bool:
        """Whether `b` is a maximum of `a` and others, along axes or of two."""
        eqn = self.producers.get(b) if isinstance(b, Var) else None
        if eqn is None or not isinstance(a, Var):
            return False
        if eqn.prim is ops.maximum:
            return any(x is a for x in eqn.inputs)
        if eqn.prim not in movement:
            return False
        index = tuple(ix.var(f"e{k}", n) for k, n in enumerate(known_shape(a.type.shape)))
        reads = self._walker.reads([(b, index)])
        if len(reads.found) != 1 or reads.guards:
            return False
        (read,) = reads.found
        maximum = self.producers.get(read.leaf)
        if maximum is None or maximum.prim is not ops.reduce_max or maximum.inputs[0] is not a:
            return False
        kept = [i for axis, i in enumerate(index) if axis not in maximum.params.axes]
        return read.offset == ix.ravel(kept, known_shape(read.leaf.type.shape))


def _of_number(value: float) -> Sign:
    return (NOT_POSITIVE if value <= 0 else UNKNOWN) | (NOT_NEGATIVE if value >= 0 else UNKNOWN)


def _all(signs: list[Sign]) -> Sign:
    common = Sign.ZERO
    for sign in signs:
        common &= sign
    return common
