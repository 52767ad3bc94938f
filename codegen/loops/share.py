"""Calls whose functions are alike share one.

    share([k3(x, y), k7(u, v)])     ->  [k3(x, y), k3(u, v)]

Two functions are alike where they differ only in names, in where within an array they begin, and
in numbers: a step of an unrolled loop reads `x + 96` where the step before read `x + 64`, and a
dropout layer counts from another number. The place becomes an offset of the call and the number a
parameter, so that an unrolled loop or a stack of layers compiles as one step of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gradc.codegen.loops.identity import Identity, identify
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    Buffer,
    Check,
    Comment,
    Const,
    Expr,
    For,
    Func,
    If,
    Invoke,
    Let,
    LetCall,
    Load,
    Local,
    Multiply,
    Prefetch,
    Read,
    Space,
    Stmt,
    Store,
    Strided,
    Transpose,
    children,
    with_children,
)


def share(calls: Sequence[Invoke]) -> list[Invoke]:
    """The same calls of as few functions as can be; a function serves those after its first."""
    identities: dict[Func, Identity] = {}
    families: dict[object, list[Func]] = {}
    for func in dict.fromkeys(c.func for c in calls):
        found = identities[func] = identify(func)
        families.setdefault(found.shape, []).append(func)
    chosen: dict[Func, tuple[Func, tuple[Const, ...]]] = {}
    for family in families.values():
        chosen |= _unite(family, identities)
    return [_with(c, *chosen[c.func]) for c in calls]


def _with(call: Invoke, func: Func, values: tuple[Const, ...]) -> Invoke:
    return call if func is call.func else call.replace(func=func, values=values)


def _unite(
    family: list[Func], identities: dict[Func, Identity]
) -> dict[Func, tuple[Func, tuple[Const, ...]]]:
    """Members of one shape: the function that serves each, and the numbers it is given."""
    first = family[0]
    columns = list(zip(*(identities[f].numbers for f in family), strict=True))
    differing = [n for n, column in enumerate(columns) if len({c.key for c in column}) > 1]
    if not differing:
        return dict.fromkeys(family, (first, ()))
    # Places that hold equal numbers in every member are one parameter.
    parameters: dict[tuple[bytes, ...], list[int]] = {}
    for n in differing:
        parameters.setdefault(tuple(c.key for c in columns[n]), []).append(n)
    groups = list(parameters.values())
    values = [Local(f"value_{n}", columns[g[0]][0].dtype) for n, g in enumerate(groups)]
    places = {n: v for g, v in zip(groups, values, strict=True) for n in g}
    serving = _parametrize(first, places, tuple(values))
    return {
        f: (serving, tuple(identities[f].numbers[g[0]] for g in groups)) for f in family
    }


def _parametrize(func: Func, places: dict[int, Local], values: tuple[Local, ...]) -> Func:
    """`func` with the numbers at these places, in the order of `identify`, given by the call."""
    count = iter(range(1 << 62))

    def number(e: Expr) -> Expr | None:
        if not isinstance(e, Const) or e.dtype.is_bool:
            return None
        local = places.get(next(count))
        return Read(local) if local is not None else None

    body = Rewriting(replace_expr=number).body(func.body)
    return func.replace(body=body, values=values)


# ---- offsets -----------------------------------------------------------------------------------


def rebase(func: Func) -> tuple[Func, tuple[int, ...]]:
    """The function over arrays that begin at the first place it touches, where that is a constant,
    and those places."""
    least: dict[Buffer, int] = {}
    for buffer, index in touched(func.body):
        if buffer.space is Space.PARAM:
            start = min(index.constant, index.lo)
            least[buffer] = min(least.get(buffer, start), start)
    starts = {b: n for b, n in least.items() if n > 0}
    if not starts:
        return func, ()
    body = Rewriting(offset=lambda b: starts.get(b, 0)).body(func.body)
    return func.replace(body=body), tuple(starts.get(b, 0) for b in func.params)


def touched(body: Iterable[Stmt]) -> Iterator[tuple[Buffer, Index]]:
    """Every place of an array that is read or written."""
    for s in body:
        expressions: tuple[Expr, ...] = ()
        match s:
            case For():
                yield from touched(s.body)
            case If():
                expressions = (s.condition,)
                yield from touched((*s.then, *s.orelse))
            case Let():
                expressions = (s.value,)
            case LetCall():
                expressions = s.args
            case Store():
                expressions = (s.value,)
                yield s.buffer, s.index
            case Accumulate():
                expressions = s.args
                yield s.buffer, s.index
            case Check():
                expressions = (s.ok, s.index)
            case Multiply():
                yield from _corners(s.a, s.rows, s.count)
                yield from _corners(s.b, s.columns, s.count)
            case Transpose():
                yield s.target, s.base
                yield s.target, s.base + (s.count * s.columns - 1)
                yield from _corners(s.source, s.inside, s.count)
        yield from _loads(expressions)


def _corners(x: Strided, rows: int, count: int) -> Iterator[tuple[Buffer, Index]]:
    for i in (0, rows - 1):
        for k in (0, count - 1):
            yield x.buffer, x.start + (i * x.row + k * x.step)


def _loads(expressions: tuple[Expr, ...]) -> Iterator[tuple[Buffer, Index]]:
    stack = list(expressions)
    while stack:
        e = stack.pop()
        stack += children(e)
        if isinstance(e, Load):
            yield e.buffer, e.index


# ---- rewriting ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A body rebuilt, its expressions in the order in which they stand.

    Attributes:
        offset: by how many elements later an array begins.
        replace_expr: what stands for an expression without operands, None for itself.
    """

    offset: Callable[[Buffer], int | Index] = lambda b: 0
    replace_expr: Callable[[Expr], Expr | None] = lambda e: None

    def body(self, body: Iterable[Stmt]) -> tuple[Stmt, ...]:
        return tuple(self.stmt(s) for s in body)

    def stmt(self, s: Stmt) -> Stmt:
        match s:
            case For():
                return replace(s, body=self.body(s.body))
            case If():
                condition = self.expr(s.condition)
                return If(condition, self.body(s.then), self.body(s.orelse))
            case Let():
                return Let(s.local, self.expr(s.value))
            case LetCall():
                return replace(s, args=tuple(map(self.expr, s.args)))
            case Store():
                return Store(s.buffer, s.index - self.offset(s.buffer), self.expr(s.value))
            case Accumulate():
                args = tuple(map(self.expr, s.args))
                return replace(s, index=s.index - self.offset(s.buffer), args=args)
            case Check():
                return replace(s, ok=self.expr(s.ok), index=self.expr(s.index))
            case Multiply():
                return replace(s, a=self.strided(s.a), b=self.strided(s.b))
            case Transpose():
                base = s.base - self.offset(s.target)
                return replace(s, source=self.strided(s.source), base=base)
            case Prefetch():
                return replace(s, index=s.index - self.offset(s.buffer))
            case Alloc() | Comment():
                return s

    def strided(self, x: Strided) -> Strided:
        return replace(x, start=x.start - self.offset(x.buffer))

    def expr(self, e: Expr) -> Expr:
        new = self.replace_expr(e)
        if new is not None:
            return new
        if isinstance(e, Load):
            n = self.offset(e.buffer)
            return Load(e.buffer, e.index - n) if n else e
        return with_children(e, tuple(map(self.expr, children(e))))
