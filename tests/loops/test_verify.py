"""The verifier notices what is wrong."""

from __future__ import annotations

import pytest

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.ir import (
    Alloc,
    At,
    Buffer,
    Const,
    Expr,
    For,
    Func,
    Let,
    Load,
    Local,
    Note,
    Read,
    Space,
    Stmt,
    Store,
    call,
)
from gradc.codegen.loops.verify import verify_func
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.types import float32, int64

OUT = Buffer("out", float32, (4,), written=True)
X = Buffer("x", float32, (4,))
NOTE = Note(0, Phase.FORWARD, (), "", "")
AT = ix.var("i", 4)
ONE = Const(1.0, float32)
T = Local("t", float32)


def func(*body: Stmt) -> Func:
    return Func("f", (OUT, X), body, NOTE)


def loop(*body: Stmt, stop: int = 4) -> For:
    return For("i", ix.const(0), ix.const(stop), 1, body)


def test_a_good_function() -> None:
    double: Expr = call("add", Load(X, AT), Load(X, AT))
    verify_func(func(loop(Let(T, double), Store(OUT, AT, Read(T)))))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ((Store(OUT, ix.const(4), ONE),), "may leave"),
        ((loop(Store(OUT, AT + 1, ONE)),), "may leave"),
        ((Store(OUT, AT, ONE),), "before it is bound"),
        ((Store(X, ix.const(0), ONE),), "const"),
        ((Store(OUT, ix.const(0), Const(1, int64)),), "stores"),
        ((Store(OUT, ix.const(0), Read(T)),), "before its time"),
        ((loop(Let(T, ONE)), Store(OUT, ix.const(0), Read(T))), "before its time"),
        ((Let(T, ONE), Let(T, ONE)), "bound twice"),
        ((Let(T, At(ix.const(0))),), "dtype"),
        ((Store(OUT, ix.const(0), call("add", ONE, Const(1, int64))),), "different types"),
        ((Store(OUT, ix.const(0), call("frobnicate", ONE)),), "unknown operation"),
        ((Alloc(Buffer("a", float32, (), Space.PARAM)),), "allocated and passed"),
        ((Store(Buffer("b", float32, (1,), written=True), ix.const(0), ONE),), "not at hand"),
        ((Store(OUT, ix.value(At(AT), 0, 3), ONE),), "holds an expression"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_faults(body: tuple[Stmt, ...], what: str) -> None:
    with pytest.raises(InternalError, match=what):
        verify_func(func(*body))
