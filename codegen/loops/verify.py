"""Checking finished functions.

Names are bound before use and once; every index is proved to lie inside its array; nothing is
stored to a const array; operators meet operands of the right types; what only exists while a
function is made (`Result`, indices that hold expressions) is gone. A failure is a fault of gradc.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.ir import (
    ACCUMULATE,
    BINARY,
    NARROWED,
    TESTS,
    UNARY,
    Accumulate,
    Alloc,
    At,
    Buffer,
    Call,
    Check,
    Expr,
    For,
    Func,
    If,
    Invoke,
    Let,
    LetCall,
    Load,
    Mode,
    Module,
    Multiply,
    Prefetch,
    Read,
    Result,
    Select,
    Space,
    Stmt,
    Store,
    Transpose,
    children,
    loops,
)
from gradc.codegen.loops.share import touched
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.types import bool_, int64

_ARITY = {**dict.fromkeys((*UNARY, *NARROWED), 1), **dict.fromkeys(BINARY, 2)}


def verify_module(module: Module) -> None:
    """Raise InternalError if a function or a call is not well formed."""
    reach: dict[Func, dict[Buffer, int]] = {}
    for func in module.funcs:
        verify_func(func)
        reach[func] = _reach(func)
    for n, call in enumerate(module.calls):
        if len(call.args) != len(call.func.params) or len(set(call.args)) != len(call.args):
            raise InternalError(f"{call.func.name}: called with wrong arrays")
        _verify_arrays(call, reach[call.func])
        if tuple(v.dtype for v in call.func.values) != tuple(v.dtype for v in call.values):
            raise InternalError(f"{call.func.name}: called with wrong numbers")
        if call.func.fails and n >= module.commit:
            raise InternalError(f"{call.func.name}: checks after the commit point")


def _reach(func: Func) -> dict[Buffer, int]:
    """How many elements of each array a function may touch."""
    reach: dict[Buffer, int] = {}
    for buffer, index in touched(func.body):
        reach[buffer] = max(reach.get(buffer, 0), index.hi + 1)
    return reach


def _verify_arrays(call: Invoke, reach: dict[Buffer, int]) -> None:
    offsets = call.offsets or (0,) * len(call.args)
    for slot, p, offset in zip(call.args, call.func.params, offsets, strict=True):
        if slot.dtype is not p.dtype or offset + reach.get(p, 0) > max(prod(slot.shape), 1):
            raise InternalError(f"{call.func.name}: {slot.name} is passed as {p.name}")


def verify_func(func: Func) -> None:
    """Raise InternalError if the function is not well formed."""
    tasks = [s for s in loops(func.body) if s.mode is Mode.PARALLEL]
    if tasks and (len(tasks) > 1 or tasks[0] is not func.body[-1] or tasks[0].start.constant):
        raise InternalError(f"{func.name} is malformed: its tasks are not its last loop")
    _Verifier(func).run()


class _Verifier:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.names: set[str] = set()  # ever bound
        self.known: set[str] = set()  # in scope
        self.buffers: set[Buffer] = set(func.params)
        for value in func.values:
            self.bind(value.name)

    def run(self) -> None:
        for b in self.func.params:
            self.fresh(b.name)
        self.body(self.func.body)

    def fail(self, what: str) -> InternalError:
        return InternalError(f"{self.func.name} is malformed: {what}")

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            raise self.fail(what)

    def fresh(self, name: str) -> None:
        self.require(name not in self.names, f"{name} is bound twice")
        self.names.add(name)

    # ---- statements -----------------------------------------------------------------------------

    def body(self, stmts: Iterable[Stmt]) -> None:
        known, buffers = set(self.known), set(self.buffers)
        for s in stmts:
            self.stmt(s)
        self.known, self.buffers = known, buffers

    def stmt(self, s: Stmt) -> None:
        match s:
            case Let():
                self.expr(s.value)
                self.require(s.value.dtype is s.local.dtype, f"{s.local.name} changes its dtype")
                self.bind(s.local.name)
            case LetCall():
                for a in s.args:
                    self.expr(a)
                for local in s.locals:
                    self.bind(local.name)
            case For():
                self.loop(s)
            case If():
                self.expr(s.condition)
                self.require(s.condition.dtype is bool_, "a condition is not bool")
                self.body(s.then)
                self.body(s.orelse)
            case Alloc():
                self.alloc(s)
            case Store():
                self.expr(s.value)
                self.require(s.value.dtype is s.buffer.dtype, f"{s.buffer.name}: stores {s.value}")
                self.written(s.buffer, s.index)
            case Accumulate():
                self.accumulate(s)
            case Multiply():
                self.multiply(s)
            case Transpose():
                self.transpose(s)
            case Prefetch():
                self.place(s.buffer, s.index)
            case Check():
                self.require(self.func.fails, "a check in a function that does not fail")
                self.expr(s.ok)
                self.expr(s.index)
                self.index(s.element)
                self.require(s.ok.dtype is bool_ and s.index.dtype is int64, "a check's types")

    def bind(self, name: str) -> None:
        self.fresh(name)
        self.known.add(name)

    def loop(self, s: For) -> None:
        self.index(s.start)
        self.index(s.stop)
        self.require(s.step > 0, "a loop does not advance")
        before = set(self.known)
        self.bind(s.var)
        self.body(s.body)
        self.known = before

    def alloc(self, s: Alloc) -> None:
        self.require(s.buffer.space is Space.LOCAL, f"{s.buffer.name} is allocated and passed")
        self.fresh(s.buffer.name)
        if s.init is not None:
            self.expr(s.init)
            self.require(s.init.dtype is s.buffer.dtype, f"{s.buffer.name}: wrong initial value")
        self.buffers.add(s.buffer)

    def accumulate(self, s: Accumulate) -> None:
        self.require(s.op in ACCUMULATE, f"accumulates by {s.op}")
        self.require(len(s.args) == (2 if s.op == "fma" else 1), f"{s.op} of {len(s.args)} values")
        for a in s.args:
            self.expr(a)
            self.require(a.dtype is s.buffer.dtype, f"{s.buffer.name}: accumulates {a}")
        self.written(s.buffer, s.index)

    def multiply(self, s: Multiply) -> None:
        self.require(s.sums.written and s.sums in self.buffers, f"{s.sums.name} is not at hand")
        self.require(s.sums.size >= s.rows * s.columns, f"{s.sums.name} is too small")
        self.require(s.b.row == 1 or s.columns == 1, f"{s.b.buffer.name}: columns lie apart")
        for x, n in ((s.a, s.rows), (s.b, s.columns)):
            self.require(x.buffer.dtype is s.sums.dtype, f"{x.buffer.name} is of another dtype")
            for i in (0, n - 1):
                for k in (0, s.count - 1):
                    self.place(x.buffer, x.start + i * x.row + k * x.step)

    def transpose(self, s: Transpose) -> None:
        self.written(s.target, s.base)
        self.written(s.target, s.base + (s.count * s.columns - 1))
        self.require(s.source.step == 1, f"{s.source.buffer.name}: not contiguous along k")
        self.require(0 < s.inside <= s.columns, f"{s.target.name}: {s.inside} columns inside")
        self.place(s.source.buffer, s.source.start)
        last = s.source.start + (s.inside - 1) * s.source.row + s.count - 1
        self.place(s.source.buffer, last)

    def written(self, buffer: Buffer, index: ix.Index) -> None:
        self.require(buffer.written, f"stores to {buffer.name}, which is const")
        self.place(buffer, index)

    # ---- expressions ----------------------------------------------------------------------------

    def place(self, buffer: Buffer, index: ix.Index) -> None:
        self.require(buffer in self.buffers, f"{buffer.name} is not at hand")
        self.index(index)
        inside = index.lo >= 0 and index.hi < max(buffer.size, 1)
        self.require(inside, f"{buffer.name}[{index}] may leave [0, {buffer.size})")

    def index(self, e: ix.Index) -> None:
        for atom in ix.atoms(e):
            self.require(not isinstance(atom, ix.Value), f"{e} holds an expression")
            if isinstance(atom, ix.Var):
                self.require(atom.name in self.known, f"{atom.name} is used before it is bound")

    def expr(self, e: Expr) -> None:
        for child in children(e):
            self.expr(child)
        match e:
            case Read():
                self.require(e.local.name in self.known, f"{e.local.name} is used before its time")
            case Load():
                self.place(e.buffer, e.index)
            case At():
                self.index(e.index)
            case Result():
                raise self.fail(f"{e.op} is not bound")
            case Select():
                self.require(e.p.dtype is bool_, "selects by what is not bool")
                self.require(e.a.dtype is e.b.dtype, "selects between different types")
            case Call():
                self.call(e)

    def call(self, e: Call) -> None:
        if e.op in TESTS:
            arity = 1 if e.op in ("isnan", "isinf") else 2
            self.require(e.dtype is bool_, f"{e.op} gives {e.dtype.name}")
        else:
            self.require(e.op in _ARITY, f"unknown operation {e.op}")
            arity = _ARITY[e.op]
            self.require(e.dtype is e.args[0].dtype, f"{e.op} gives {e.dtype.name}")
        self.require(len(e.args) == arity, f"{e.op} of {len(e.args)} operands")
        same = all(a.dtype is e.args[0].dtype for a in e.args)
        self.require(same, f"{e.op} of different types")
