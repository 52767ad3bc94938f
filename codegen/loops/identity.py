"""When two functions are one: the same structure, whatever their names.

    function_key(f) == function_key(g)     f's text serves for g's calls too
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, is_dataclass

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.ir import Buffer, Comment, Const, For, Func, Local
from gradc.tracer.graph.types import DType


def function_key(func: Func) -> Hashable:
    """Equal for functions that differ in names and comments only. A failing check reports its
    eqn, so functions with checks of different eqns differ."""
    return _Key(func).key


class _Key:
    """Numbers buffers, locals and loop variables in order of appearance."""

    def __init__(self, func: Func) -> None:
        self.numbers: dict[object, int] = {}
        params = tuple(self.of(b) for b in func.params)
        self.key = (params, tuple(self.of(s) for s in func.body), func.fails)

    def number(self, thing: object) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))

    def of(self, x: object) -> Hashable:
        if isinstance(x, Buffer):
            return self.number(x), x.dtype.name, x.shape, x.space, x.written, x.shared
        if isinstance(x, Local):
            return self.number(x.name), x.dtype.name
        if isinstance(x, Const):
            return "const", x.dtype.name, x.key
        if isinstance(x, ix.Index):
            return self.index(x)
        if isinstance(x, Comment):
            return ()
        if isinstance(x, DType):
            return x.name
        if isinstance(x, tuple):
            return tuple(self.of(y) for y in x)
        if isinstance(x, For):
            head = (self.number(x.var), self.of(x.start), self.of(x.stop), x.step, x.mode)
            return "for", head, self.of(x.body)
        if is_dataclass(x):
            return (type(x).__name__, *(self.of(getattr(x, f.name)) for f in fields(x)))
        assert isinstance(x, Hashable)
        return x

    def index(self, e: ix.Index) -> Hashable:
        return e.constant, tuple((self.atom(a), c) for a, c in e.terms)

    def atom(self, a: ix.Atom) -> Hashable:
        if isinstance(a, ix.Var):
            return self.number(a.name)
        if isinstance(a, ix.Div | ix.Mod):
            return type(a).__name__, self.index(a.operand), a.divisor
        if isinstance(a, ix.Min):
            return "min", self.index(a.left), self.index(a.right)
        assert isinstance(a, ix.Value)
        return "value", self.of(a.expr)
