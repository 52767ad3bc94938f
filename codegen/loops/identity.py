"""When two functions are one: the same structure, whatever their names and numbers.

    identify(f).shape == identify(g).shape     f's text serves for g's calls too, given the numbers
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Bitcast,
    Buffer,
    Call,
    Cast,
    Check,
    Comment,
    Const,
    Expr,
    For,
    Func,
    If,
    Let,
    LetCall,
    Load,
    Multiply,
    Prefetch,
    Read,
    Result,
    Select,
    Space,
    Stmt,
    Store,
    Strided,
    Transpose,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a function is but for its names.

    Attributes:
        shape: equal for functions that differ in names, comments and numbers only. A failing
            check reports its eqn, so functions with checks of different eqns differ.
        numbers: every literal that is no bool, in the order of the text.
    """

    shape: Hashable
    numbers: tuple[Const, ...]


def identify(func: Func) -> Identity:
    """The identity of a function."""
    reader = _Reader()
    params = tuple(reader.buffer(b) for b in func.params)
    shape = (params, reader.body(func.body), func.fails)
    return Identity(shape, tuple(reader.consts))


class _Reader:
    """Numbers buffers, locals and loop variables in order of appearance."""

    def __init__(self) -> None:
        self.numbers: dict[object, int] = {}
        self.consts: list[Const] = []

    def number(self, thing: object) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))

    def buffer(self, b: Buffer) -> Hashable:
        """The shape of a parameter is for readers; that of a local is its size."""
        shape = b.shape if b.space is Space.LOCAL else ()
        return self.number(b), b.dtype.name, shape, b.space, b.written, b.shared

    # ---- statements -----------------------------------------------------------------------------

    def body(self, body: Iterable[Stmt]) -> Hashable:
        return tuple(map(self.stmt, body))

    def stmt(self, s: Stmt) -> Hashable:
        match s:
            case Store():
                place = self.number(s.buffer), self.index(s.index)
                return "store", place, self.expr(s.value)
            case Prefetch():
                return "prefetch", self.number(s.buffer), self.index(s.index), s.write
            case Let():
                value = self.expr(s.value)
                return "let", value, self.number(s.local.name), s.local.dtype.name
            case Accumulate():
                place = self.number(s.buffer), self.index(s.index)
                return "accumulate", place, s.op, tuple(map(self.expr, s.args))
            case For():
                head = self.number(s.var), self.index(s.start), self.index(s.stop), s.step, s.mode
                return "for", head, self.body(s.body)
            case Alloc():
                init = (s.init.dtype.name, s.init.key) if isinstance(s.init, Const) else None
                return "alloc", self.buffer(s.buffer), init
            case If():
                return "if", self.expr(s.condition), self.body(s.then), self.body(s.orelse)
            case LetCall():
                args = tuple(map(self.expr, s.args))
                return "call", s.op, args, tuple(self.number(x.name) for x in s.locals)
            case Check():
                where = s.kind, s.eqn, self.index(s.element), s.limit, s.axis
                return "check", where, self.expr(s.ok), self.expr(s.index)
            case Multiply():
                sums = self.number(s.sums), s.rows, s.columns, s.count
                return "multiply", sums, self.strided(s.a), self.strided(s.b)
            case Transpose():
                target = self.number(s.target), self.index(s.base), s.columns, s.inside, s.count
                return "transpose", target, self.strided(s.source)
            case Comment():
                return ()

    def strided(self, x: Strided) -> Hashable:
        return self.number(x.buffer), self.index(x.start), x.row, x.step

    # ---- expressions ----------------------------------------------------------------------------

    def expr(self, e: Expr) -> Hashable:
        match e:
            case Load():
                return "load", self.number(e.buffer), self.index(e.index)
            case Read():
                return self.number(e.local.name)
            case Call():
                return e.op, e.dtype.name, tuple(map(self.expr, e.args))
            case Const():
                if e.dtype.is_bool:
                    return "bool", e.key
                self.consts.append(e)
                return "number", e.dtype.name
            case At():
                return "at", self.index(e.index)
            case Select():
                return "select", self.expr(e.p), self.expr(e.a), self.expr(e.b)
            case Cast() | Bitcast():
                return type(e).__name__, e.dtype.name, self.expr(e.x)
            case Result():
                return "result", e.op, e.which, tuple(map(self.expr, e.args))

    def index(self, e: ix.Index) -> Hashable:
        return e.constant, tuple((self.atom(a), c) for a, c in e.terms)

    def atom(self, a: ix.Atom) -> Hashable:
        match a:
            case ix.Var():
                return self.number(a.name)
            case ix.Div() | ix.Mod():
                return type(a).__name__, self.index(a.operand), a.divisor
            case ix.Min():
                return "min", self.index(a.left), self.index(a.right)
            case ix.Value():
                return "value", self.expr(a.expr)
        raise TypeError(type(a).__name__)
