"""Rewrites of finished bodies.

    drop_unused(body)     bindings and arrays nothing reads are gone, and loops left empty
    buffers(body)         every buffer a body touches

Sharing, hoisting and lanes are decided while a body is made (`emit.py`, `rows.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Buffer,
    Check,
    Comment,
    Expr,
    For,
    If,
    Let,
    LetCall,
    Load,
    Multiply,
    Prefetch,
    Read,
    Space,
    Stmt,
    Store,
    Transpose,
    children,
)


class Uses:
    """Names of locals and buffers that expressions read."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.buffers: set[Buffer] = set()
        self._seen: set[Expr] = set()

    def expr(self, *es: Expr) -> None:
        stack = list(es)
        while stack:
            e = stack.pop()
            if e in self._seen:
                continue
            self._seen.add(e)
            stack += children(e)
            if isinstance(e, Read):
                self.names.add(e.local.name)
            elif isinstance(e, Load):
                self.buffers.add(e.buffer)
                self.index(e.index)
            elif isinstance(e, At):
                self.index(e.index)

    def index(self, *indices: ix.Index) -> None:
        for e in indices:
            for atom in ix.atoms(e):
                if isinstance(atom, ix.Var):
                    self.names.add(atom.name)
                elif isinstance(atom, ix.Value):
                    self.expr(atom.expr)


def drop_unused(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The body without what nothing reads. Stores to local arrays never read go as well."""
    uses = Uses()
    while True:
        found = Uses()
        _read_locals(body, found)
        if uses.buffers == found.buffers and uses.names == found.names:
            return body
        uses = found
        body = _live(body, Uses(), uses.buffers)


def _live(body: tuple[Stmt, ...], uses: Uses, read: set[Buffer]) -> tuple[Stmt, ...]:
    kept: list[Stmt] = []
    for s in reversed(body):
        new = _live_stmt(s, uses, read)
        if new is not None:
            kept.append(new)
    return tuple(reversed(kept))


def _live_stmt(s: Stmt, uses: Uses, read: set[Buffer]) -> Stmt | None:
    """Going backwards: what follows the statement is in `uses` already."""
    match s:
        case Let():
            if s.local.name not in uses.names:
                return None
            uses.expr(s.value)
        case LetCall():
            if not any(local.name in uses.names for local in s.locals):
                return None
            uses.expr(*s.args)
        case For():
            inner = _live(s.body, uses, read)
            if not inner:
                return None
            uses.index(s.start, s.stop)
            return s if inner == s.body else For(s.var, s.start, s.stop, s.step, inner, s.mode)
        case If():
            then, orelse = _live(s.then, uses, read), _live(s.orelse, uses, read)
            if not then and not orelse:
                return None
            uses.expr(s.condition)
            return If(s.condition, then, orelse)
        case Alloc() | Store() | Accumulate():
            if s.buffer.space is Space.LOCAL and s.buffer not in read:
                return None
            _effect(s, uses)
        case Multiply():
            if s.sums not in read:
                return None
            _multiplied(s, uses)
        case Transpose():
            _transposed(s, uses)
        case Check():
            uses.expr(s.ok, s.index)
            uses.index(s.element)
        case Prefetch():
            uses.index(s.index)
        case Comment():
            pass
    return s


def _transposed(s: Transpose, uses: Uses) -> None:
    uses.buffers.add(s.source.buffer)
    uses.index(s.source.start, s.base)


def _multiplied(s: Multiply, uses: Uses) -> None:
    uses.buffers |= {s.a.buffer, s.b.buffer}
    uses.index(s.a.start, s.b.start)


def _effect(s: Alloc | Store | Accumulate, uses: Uses) -> None:
    if isinstance(s, Alloc):
        if s.init is not None:
            uses.expr(s.init)
        return
    uses.index(s.index)
    uses.expr(*([s.value] if isinstance(s, Store) else s.args))


def _read_locals(body: Iterable[Stmt], uses: Uses) -> None:
    """Everything the statements read, dead or not."""
    for s in body:
        match s:
            case Let():
                uses.expr(s.value)
            case LetCall():
                uses.expr(*s.args)
            case For():
                uses.index(s.start, s.stop)
                _read_locals(s.body, uses)
            case If():
                uses.expr(s.condition)
                _read_locals((*s.then, *s.orelse), uses)
            case Alloc() | Store() | Accumulate():
                _effect(s, uses)
            case Multiply():
                _multiplied(s, uses)
            case Transpose():
                _transposed(s, uses)
            case Check():
                uses.expr(s.ok, s.index)
                uses.index(s.element)
            case Prefetch():
                uses.buffers.add(s.buffer)
                uses.index(s.index)
            case Comment():
                pass


def buffers(body: Iterable[Stmt]) -> set[Buffer]:
    """Every buffer read or written."""
    uses = Uses()
    body = tuple(body)
    _read_locals(body, uses)
    return uses.buffers | set(_stored(body))


def _stored(body: Iterable[Stmt]) -> Iterable[Buffer]:
    for s in body:
        if isinstance(s, Store | Accumulate | Alloc):
            yield s.buffer
        elif isinstance(s, Multiply):
            yield s.sums
        elif isinstance(s, Transpose):
            yield s.target
        elif isinstance(s, For):
            yield from _stored(s.body)
        elif isinstance(s, If):
            yield from _stored((*s.then, *s.orelse))
