"""watch: a graph that also checks its floating-point results, `gradc.compile(checks=...)`.

    y: f32[3] = log(x)      ->      y: f32[3] = log(x)
                                    check(or(not(isnan(y)), isnan(x)); message="log made NaN")

An eqn makes a NaN where its result has one and no operand has; for infinities in the same way, so
that a mask of -inf is no fault. Element by element for elementwise eqns, as a whole for others.
What only moves elements makes none and is left alone. The checks are effects: passes keep them, and
state is written after all of them have passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradc.codegen.passes.rewrite import next_eqn_id
from gradc.tracer import ops
from gradc.tracer.graph.ir import NO_PARAMS, Atom, Eqn, Graph, Literal, Params, Phase, Var
from gradc.tracer.graph.types import TensorType, bool_
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.rules.failures import made_not_finite

TESTS: dict[str, tuple[Primitive, str]] = {
    "nan": (ops.isnan, "NaN"),
    "inf": (ops.isinf, "an infinity"),
}
_MOVING = frozenset({"movement", "creation", "sorting", "effect"})


def watch(graph: Graph, kinds: Iterable[str]) -> Graph:
    """The graph with a check behind every eqn that could make what is watched for.

    Args:
        kinds: some of `TESTS`.
    """
    watched = sorted(kinds)
    if not watched:
        return graph
    maker = _Maker(next_eqn_id(graph))
    for eqn in graph.eqns:
        maker.eqns.append(eqn)
        if eqn.prim.family in _MOVING or eqn.prim is ops.gather:
            continue
        for kind in watched:
            for out in eqn.outputs:
                if out.type.dtype.is_float:
                    _check(maker, eqn, out, *TESTS[kind])
    return graph.replace(eqns=tuple(maker.eqns))


class _Maker:
    """Appends eqns that belong to the eqn they watch."""

    def __init__(self, next_id: int) -> None:
        self.eqns: list[Eqn] = []
        self._next_id = next_id

    def emit(self, of: Eqn, prim: Primitive, inputs: Sequence[Atom], params: Params) -> Var | None:
        types = prim.infer(*(a.type for a in inputs), **params)
        outputs = tuple(Var(t) for t in types)
        self.eqns.append(
            Eqn(prim, tuple(inputs), params, outputs, of.loc, of.phase, of.scope, self._next_id)
        )
        self._next_id += 1
        return outputs[0] if outputs else None

    def value(self, of: Eqn, prim: Primitive, *inputs: Atom, **params: object) -> Var:
        found = self.emit(of, prim, inputs, Params(**params) if params else NO_PARAMS)
        assert found is not None
        return found


def _check(maker: _Maker, eqn: Eqn, out: Var, test: Primitive, what: str) -> None:
    whole = eqn.prim.family != "elementwise"
    bad = _where(maker, eqn, out, test, whole)
    fine = maker.value(eqn, ops.bitwise_not, bad)
    for operand in dict.fromkeys(eqn.inputs):
        if operand.type.dtype.is_float and not isinstance(operand, Literal):
            there = _where(maker, eqn, operand, test, whole)
            fine = maker.value(eqn, ops.bitwise_or, fine, there)
    message = made_not_finite(
        eqn.prim.name, what, backward=eqn.phase is Phase.BACKWARD, scope=eqn.scope
    )
    maker.emit(eqn, ops.check, [fine], Params(message=message))


def _where(maker: _Maker, eqn: Eqn, atom: Atom, test: Primitive, whole: bool) -> Var:
    """Where `atom` is what the test asks for: its elements, or whether any is."""
    found = maker.value(eqn, test, atom)
    if not whole:
        return found
    axes = tuple(range(atom.type.ndim))
    if not axes:
        return found
    any_of_them = maker.value(eqn, ops.reduce_any, found, axes=axes)
    assert any_of_them.type == TensorType((), bool_)
    return any_of_them
