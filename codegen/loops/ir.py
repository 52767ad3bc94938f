"""The Loop IR: what C can say, before it is text.

    Module ::=  name slots:Slot* funcs:Func* calls:Invoke* commit work_bytes threads shared_ns
    Func   ::=  name params:Buffer* body:Stmt* note:Note
    Stmt   ::=  Let(local, value)                           const T local = value;
            |   LetCall(locals, op, args)                   several results: threefry2x32
            |   For(var, start, stop, step, body, mode)     int64 counter; mode: how to run it
            |   If(condition, then, orelse)
            |   Alloc(buffer, init?)                        a fixed-size array on the stack
            |   Store(buffer, index, value)                 buffer[index] = value
            |   Accumulate(buffer, index, op, args)         buffer[index] = op(buffer[index], args)
            |   Multiply(sums, rows, columns, a, b, count)  a tile of a product of matrices
            |   Transpose(target, columns, inside, source, count)  a matrix copied turned
            |   Check(kind, eqn, ok, element, index, limit, axis)
            |   Comment(text)
    Expr   ::=  Const(value)  Read(local)  Load(buffer, index)  At(index)
            |   Call(op, args)  Cast(x)  Bitcast(x)  Select(p, a, b)          each with a dtype
    Index  ::=  constant + coefficient*Atom + ...           see index.py; always int64

Expr is typed by `DType`; a bool is 0 or 1. Index arithmetic never overflows and prints as plain
C; integer data wraps (two's complement), so `Call("add", ...)` on signed types must go through
unsigned. Every Expr is total: nothing traps, whatever the data (an integer division by zero
gives 0 in `Call("floor_divide", ...)`, loads are always in bounds). What may fail is said by
`Check` alone. Expressions of a finished Func are trees; shared values have been bound by `Let`.

`Call.op` is the name of an elementwise primitive of `gradc.tracer.ops` with that primitive's
meaning (UNARY, BINARY, TESTS below), so `maximum` propagates NaN and `sign(-0.0)` is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from gradc.codegen.loops.index import Index
from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import DType, bool_, int64

# One operand, result of the operand's dtype (which kinds: tracer/ops/elementwise.py).
UNARY = (
    "neg", "abs", "sign", "floor", "ceil", "trunc", "round", "sqrt", "rsqrt", "exp", "expm1",
    "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "sigmoid", "erf", "erfinv", "lgamma", "digamma", "bitwise_not",
)  # fmt: skip
# The same on an operand that is never positive, but for NaN.
NARROWED = ("exp_nonpositive",)
# Two operands of one dtype, result of it. Integer division by zero gives 0.
BINARY = (
    "add", "sub", "mul", "div", "floor_divide", "trunc_divide", "remainder", "fmod", "pow",
    "atan2", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor", "shift_left",
    "shift_right",
)  # fmt: skip
# Result bool. On bool operands `bitwise_*` above are logical.
TESTS = ("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf")
# `LetCall` only: uint32 (k0, k1, c0, c1) -> (r0, r1).
MULTIPLE = ("threefry2x32",)
# `Accumulate.op`: one argument; "set" is a plain assignment. "fma" takes two and may be contracted
# into one rounding: buffer[index] = a * b + buffer[index] (for integers it wraps).
ACCUMULATE = ("add", "mul", "maximum", "minimum", "bitwise_and", "bitwise_or", "fma")


class Space(StrEnum):
    """Where a buffer lives."""

    PARAM = "param"  # passed to the function as a pointer
    LOCAL = "local"  # an `Alloc`: on the stack; of shape () it is a plain mutable variable


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """An array of a function. Compared by identity.

    Attributes:
        name: a proposal from the user's name or the role; unique in its function, ASCII or not.
        shape: what it holds, for comments; loads and stores use row-major element offsets.
        written: whether the function stores to it (else the pointer is const).
        shared: another parameter may overlap it without being it: no `restrict`. A buffer that is
            read and overwritten at the same index is one parameter, and restrict is fine.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    space: Space = Space.PARAM
    written: bool = False
    shared: bool = False

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """An immutable scalar bound by `Let`. Compared by identity; names are unique in a function."""

    name: str
    dtype: DType


# ---- expressions -------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _bits(text: str, value: bool | int | float, dtype: DType) -> bytes:
    """The bits of a number; the text tells -0.0 from 0.0 and 1 from 1.0 and True."""
    return np.asarray(value, dtype.numpy).tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A literal; compared by bits where it matters (`key`)."""

    value: bool | int | float
    dtype: DType

    @property
    def key(self) -> bytes:
        return _bits(repr(self.value), self.value, self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The value of a local."""

    local: Local

    @property
    def dtype(self) -> DType:
        return self.local.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """`buffer[index]`; of a local buffer of shape (): the variable's current value."""

    buffer: Buffer
    index: Index

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


@dataclass(frozen=True, slots=True, eq=False)
class At:
    """An index as an int64 value."""

    index: Index

    @property
    def dtype(self) -> DType:
        return int64


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`op(*args)`: an elementwise primitive by name."""

    op: str
    args: tuple[Expr, ...]
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Result `which` of a primitive of several results (`MULTIPLE`); finished functions bind them
    by `LetCall` and do not contain this."""

    op: str
    args: tuple[Expr, ...]
    which: int
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """Conversion. Float to integer truncates and saturates, NaN gives 0; to bool is `x != 0` (NaN
    is true); integer to narrower integer wraps."""

    x: Expr
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Bitcast:
    """The same bits as another dtype of the same width."""

    x: Expr
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """`p ? a : b`; both sides may be evaluated."""

    p: Expr
    a: Expr
    b: Expr

    @property
    def dtype(self) -> DType:
        return self.a.dtype


Expr: TypeAlias = "Const | Read | Load | At | Call | Result | Cast | Bitcast | Select"


# ---- statements --------------------------------------------------------------------------------


class Mode(StrEnum):
    """How a loop may be run. Results never depend on it."""

    SERIAL = "serial"  # in order
    SIMD = "simd"  # iterations are independent: `omp simd`
    UNROLL = "unroll"  # short and constant: unroll wholly
    ROLLED = "rolled"  # in order; around loops that are worth unrolling, and not so itself
    # Iterations are independent tasks. Such a loop starts at 0 and ends its function, which is
    # called once for every task, by whichever thread is free.
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class Let:
    """`const T local = value;` in scope until the enclosing body ends."""

    local: Local
    value: Expr


@dataclass(frozen=True, slots=True)
class LetCall:
    """Bind every result of a primitive of several results."""

    locals: tuple[Local, ...]
    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class For:
    """`for (int64_t var = start; var < stop; var += step) body`. The counter is an index variable
    of that name, so names of counters are unique along every nest."""

    var: str
    start: Index
    stop: Index
    step: int
    body: tuple[Stmt, ...]
    mode: Mode = Mode.SERIAL


@dataclass(frozen=True, slots=True)
class If:
    condition: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True)
class Alloc:
    """A local array (64-byte aligned) or, of shape (), a mutable variable; `init` fills it all."""

    buffer: Buffer
    init: Expr | None = None


@dataclass(frozen=True, slots=True)
class Store:
    buffer: Buffer
    index: Index
    value: Expr


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`buffer[index] = op(buffer[index], *args)` with op one of ACCUMULATE."""

    buffer: Buffer
    index: Index
    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Strided:
    """A matrix inside an array: element (i, k) is `buffer[start + i * row + k * step]`."""

    buffer: Buffer
    start: Index
    row: int
    step: int


@dataclass(frozen=True, slots=True)
class Multiply:
    """`sums[i * columns + j]` = the sum over k < count, in its order, of `a(i, k) * b(j, k)`, as if
    by "fma". Of b, neighbouring columns are side by side: its `row` is 1."""

    sums: Buffer
    rows: int
    columns: int
    a: Strided
    b: Strided
    count: int


@dataclass(frozen=True, slots=True)
class Transpose:
    """`target[base + k * columns + j] = source(j, k)` for k < count, where j < inside; 0 in the
    columns behind. Along k the source is contiguous: its `step` is 1."""

    target: Buffer
    columns: int
    inside: int
    source: Strided
    count: int
    base: Index


@dataclass(frozen=True, slots=True)
class Check:
    """Unless `ok`, report a failure of eqn `eqn`: keep the record with the least (eqn, element) and
    carry on (every expression is total); the entry point returns the status at the commit point.

    Attributes:
        kind: `index`, `division` or `assert`.
        element: row-major position in the checked domain.
        index, limit, axis: for an index: its int64 value, the size it must be below, the axis.
    """

    kind: str
    eqn: int
    ok: Expr
    element: Index
    index: Expr
    limit: int = 0
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Ask for the cache line of `buffer[index]`, to read or to `write` it. Changes nothing."""

    buffer: Buffer
    index: Index
    write: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """A line for readers."""

    text: str


Stmt: TypeAlias = (
    "Let | LetCall | For | If | Alloc | Store | Accumulate | Multiply | Transpose | Check"
    " | Prefetch | Comment"
)


# ---- functions and the module ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """What the comment above a function says.

    Attributes:
        index: the kernel's number in the plan.
        lines: the user's lines whose eqns it computes, in order, each once.
        title: the member primitives in short, `dot_general + add + maximum`.
        extent: the domain, `64 x 512, over 784`.
        bytes, flops: the cost model's estimate of one run.
    """

    index: int
    phase: Phase
    lines: tuple[Location, ...]
    title: str
    extent: str
    bytes: int = 0
    flops: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Func:
    """One kernel. `fails` says whether it holds a Check: it is then given the error record.

    Attributes:
        name: a proposal, ASCII identifier, `k4_dot_add_maximum`.
        params: buffers in the order of `Invoke.args`; roles name them, not the user's variables.
        values: numbers in which the calls differ, in the order of `Invoke.values`.
    """

    name: str
    params: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    note: Note
    fails: bool = False
    values: tuple[Local, ...] = ()

    @property
    def tasks(self) -> int:
        """How many tasks it is divided into; 0: it is called once and does everything."""
        last = self.body[-1] if self.body else None
        if isinstance(last, For) and last.mode is Mode.PARALLEL:
            return last.stop.constant
        return 0

    def replace(self, **changes: Any) -> Func:
        return replace(self, **changes)


class Place(StrEnum):
    """Which memory of the entry point a slot names."""

    INPUT = "input"  # in[index]
    OUTPUT = "output"  # out[index]
    WORK = "work"  # at byte `offset` of the work area (past the error record)
    PRIVATE = "private"  # at byte `offset` of what the running thread has for itself
    CONSTANT = "constant"  # `data`: a static const array of the file


@dataclass(slots=True, eq=False)
class Slot:
    """A whole array of the program. Compared by identity; `offset` is set by memory planning.

    Attributes:
        name: the user's name where there is one, for call sites; unique in the module.
        index: position among inputs or outputs; -1 otherwise.
        offset: bytes from the start of `work`, a multiple of 64; the error record is [0, 64).
        role: what functions call it; taken from the name where not given.
        inside: the array of the work area that this one is a part of, and the element of it where
            it begins.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    place: Place
    index: int = -1
    offset: int = 0
    data: np.ndarray[Any, Any] | None = None
    role: str = ""
    inside: tuple[Slot, int] | None = None

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Invoke:
    """One call of a function (one per task, if it is divided). Calls of one segment run at the
    same time, but for those of functions that are not divided: they are the first thread's, in
    order. Every thread ends a segment before any begins the next.

    Attributes:
        args: the arrays, in the order of `func.params`.
        offsets: the element of each array that is the function's element 0; () where all are 0.
        values: the numbers it is given, in the order of `func.values`.
        chained: a task runs directly after the same task of the call before, on the same thread,
            with the same private memory.
    """

    func: Func
    args: tuple[Slot, ...]
    note: Note
    segment: int = 0
    offsets: tuple[int, ...] = ()
    values: tuple[Const, ...] = ()
    chained: bool = False

    def replace(self, **changes: Any) -> Invoke:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Module:
    """Everything the C printer needs.

    Attributes:
        calls: in order. After `calls[:commit]` every check has run and nothing that aliases state
            has been written: where a check failed the entry point returns there.
        in_place: (output, input) pairs of state that is read and then overwritten. Every use in
            `calls` is through the OUTPUT slot: where the caller's out[o] is not in[i], the entry
            point copies in[i] to out[o] before the first call. `can_alias` has all pairs that may
            be one array; every other overlap of a written array is refused on entry.
        funcs: every distinct function, in order of first use.
        work_bytes: of the work area, without what each thread has for itself.
        private_bytes: of every thread's own part, which follows.
        threads: how many threads it has use for; 1: it is written for one, and no function is
            divided.
        shared_ns: estimate of the divided work, on one thread.
    """

    name: str
    slots: tuple[Slot, ...]
    funcs: tuple[Func, ...]
    calls: tuple[Invoke, ...]
    commit: int
    in_place: tuple[tuple[int, int], ...]
    can_alias: tuple[tuple[int, int], ...]
    work_bytes: int
    private_bytes: int = 0
    threads: int = 1
    shared_ns: int = 0
    checks: Mapping[int, Any] = field(default_factory=dict)


# ---- short forms -------------------------------------------------------------------------------


def call(op: str, *args: Expr) -> Call:
    """`op(*args)` with the dtype the primitive gives."""
    return Call(op, args, bool_ if op in TESTS else args[0].dtype)


def children(e: Expr) -> tuple[Expr, ...]:
    """The direct operands."""
    match e:
        case Call() | Result():
            return e.args
        case Cast() | Bitcast():
            return (e.x,)
        case Select():
            return (e.p, e.a, e.b)
        case _:
            return ()


def with_children(e: Expr, new: tuple[Expr, ...]) -> Expr:
    """`e` over other operands; `e` itself when they are the same objects."""
    if all(a is b for a, b in zip(children(e), new, strict=True)):
        return e
    match e:
        case Call() | Result():
            return replace(e, args=new)
        case Cast() | Bitcast():
            return replace(e, x=new[0])
        case Select():
            return Select(*new)
        case _:
            return e


def loops(body: Iterable[Stmt]) -> Iterable[For]:
    """Every loop of a body, outer ones first."""
    for s in body:
        if isinstance(s, For):
            yield s
            yield from loops(s.body)
        elif isinstance(s, If):
            yield from loops(s.then)
            yield from loops(s.orelse)
