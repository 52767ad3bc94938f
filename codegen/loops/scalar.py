"""Elementwise primitives as Loop IR expressions: one cell per primitive.

    scalar[ops.tanh](Load(x, i))    ->  Call("tanh", (Load(x, i),))

Rules take the operand expressions and the eqn's params by name. Most primitives are a `Call` by
their own name; a primitive of several results gives a tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from gradc.codegen.loops.ir import (
    BINARY,
    TESTS,
    UNARY,
    Bitcast,
    Cast,
    Const,
    Expr,
    Result,
    Select,
    call,
)
from gradc.tracer import ops
from gradc.tracer.graph.types import DType
from gradc.tracer.ops.primitive import PRIMITIVES, Primitive
from gradc.tracer.rules.table import RuleTable

ScalarRule: TypeAlias = "Callable[..., Expr | tuple[Expr, ...]]"
scalar: RuleTable[ScalarRule] = RuleTable("C scalar")


def cast_to(x: Expr, dtype: DType) -> Expr:
    """`x` as `dtype`; nothing where it is that already."""
    return x if x.dtype is dtype else Cast(x, dtype)


def _threefry(*args: Expr) -> tuple[Expr, ...]:
    return tuple(Result("threefry2x32", args, k, args[0].dtype) for k in range(2))


for _name in (*UNARY, *BINARY, *TESTS):
    scalar[PRIMITIVES[_name]] = partial(call, _name)


@scalar.rule(ops.select)
def _select(p: Expr, a: Expr, b: Expr) -> Expr:
    """p ? a : (q ? c : a) is (!p & q) ? c : a: compilers make branches of a choice within one, and
    then no lanes."""
    if isinstance(b, Select) and b.b is a:
        return Select(call("bitwise_and", call("bitwise_not", p), b.p), b.a, a)
    return Select(p, a, b)


# What takes the place of a primitive whose operand is never positive.
narrowed: dict[Primitive, str] = {ops.exp: "exp_nonpositive"}

scalar[ops.cast] = lambda x, dtype: cast_to(x, dtype)
scalar[ops.bitcast] = lambda x, dtype: x if x.dtype is dtype else Bitcast(x, dtype)
scalar[ops.threefry2x32] = _threefry

# How a reduction combines: the `Accumulate` op and the value it starts from, by dtype.
COMBINERS: dict[str, str] = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_any": "bitwise_or",
    "reduce_all": "bitwise_and",
    "dot_general": "add",
}


def identity(combiner: str, dtype: DType) -> Const:
    """The value that leaves every other unchanged under `combiner`."""
    value: Any
    if combiner in ("add", "bitwise_or"):
        value = 0
    elif combiner in ("mul", "bitwise_and"):
        value = 1
    elif dtype.is_float:
        value = float("-inf") if combiner == "maximum" else float("inf")
    else:
        value = dtype.min if combiner == "maximum" else dtype.max
    return Const(float(value) if dtype.is_float else bool(value) if dtype.is_bool else value, dtype)
