"""What can be done wrong with each operation: the call, the class of the error, and its words.

    "sum": [(lambda: X.sum(2), IndexOutOfRange, "range of \\[-2, 1\\]")]

Keys are names of specs. `FAILING` are the mistakes that only values show: they are made inside
compiled programs too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradc
import gradc.nn.functional as F
from gradc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AssertionFailed,
    DivisionByZero,
    DTypeError,
    IndexOutOfRange,
    ShapeError,
)
from gradc.tracer import ops

from .elementwise import SPECS as ELEMENTWISE
from .window_mistakes import MISTAKES as WINDOWS

Mistake = tuple[Callable[..., Any], type[Exception], str]

X, V3 = gradc.ones(3, 4), gradc.ones(3)
WORDS, TRUTHS, NONE = gradc.tensor([0, 1]), gradc.tensor([True, False]), gradc.zeros(0)
NAMES = {  # a spec of a primitive, and what users call it
    "shift_left": "bitwise_left_shift", "shift_right": "bitwise_right_shift",
    "pow of integers": "pow", "gelu of tanh": "gelu", "trunc_divide": "div",
}  # fmt: skip
BAD_DIM = r"expected to be in range of \[-2, 1\], but got"
BROADCAST = r"sizes 4 and 3 at axis -1 do not broadcast"


def user_function(name: str) -> Callable[..., Any]:
    name = NAMES.get(name, name)
    return getattr(gradc, name, None) or getattr(F, name)


def unary(name: str) -> list[Mistake]:
    return [(lambda x=None: user_function(name)("text"), ArgumentTypeError, "tensor or a number")]


def binary(name: str) -> list[Mistake]:
    return [
        (lambda: user_function(name)(X, V3), ShapeError, BROADCAST),
        (lambda: user_function(name)(X, "text"), ArgumentTypeError, "tensor or a number"),
    ]


def along(call: Callable[..., Any]) -> list[Mistake]:
    """Of whatever takes a dimension."""
    return [
        (lambda: call(X, 2), IndexOutOfRange, BAD_DIM),
        (lambda: call(X, -3), IndexOutOfRange, BAD_DIM),
        (lambda: call(X, "one"), ArgumentTypeError, "dim"),
    ]


def several(call: Callable[..., Any]) -> list[Mistake]:
    return [*along(call), (lambda: call(X, (1, -1)), ArgumentError, "dim 1 appears multiple times")]


def losing(call: Callable[..., Any]) -> list[Mistake]:
    """Of reductions that are nothing without an element."""
    return [(lambda: call(NONE, 0), ShapeError, "size 0")]


BINARY = {
    "add", "sub", "mul", "div", "maximum", "minimum", "pow", "atan2", "eq", "ne", "lt", "le", "gt",
    "ge", "bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder", "fmod",
    "shift_left", "shift_right", "pow of integers", "logaddexp", "hypot", "isclose",
}  # fmt: skip
OWN = {"where", "threefry2x32", "bitcast", "arithmetic with numbers", "mixed dtypes", "clamp", "lerp",
       "trunc_divide"}  # fmt: skip

MISTAKES: dict[str, list[Mistake]] = {
    **WINDOWS,
    **{s.name: unary(s.name) for s in ELEMENTWISE if s.name not in BINARY | OWN and "cast" not in s.name},
    **{name: binary(name) for name in sorted(BINARY)},
    **{
        s.name: [(lambda: X.to("float128"), ArgumentTypeError, "is not a dtype")]
        for s in ELEMENTWISE if s.name.startswith("cast")
    },
    "bitwise_not": [(lambda: gradc.bitwise_not(X), DTypeError, "does not take float32")],
    "neg": [(lambda: -TRUTHS, DTypeError, "does not take bool")],
    "sub": [*binary("sub"), (lambda: TRUTHS - TRUTHS, DTypeError, "does not take bool")],
    "bitwise_and": [*binary("bitwise_and"), (lambda: X & X, DTypeError, "does not take float32")],
    "bitwise_or": [*binary("bitwise_or"), (lambda: X | X, DTypeError, "does not take float32")],
    "bitwise_xor": [*binary("bitwise_xor"), (lambda: X ^ X, DTypeError, "does not take float32")],
    "shift_left": [*binary("shift_left"), (lambda: X << 1, DTypeError, "does not take float32")],
    "shift_right": [*binary("shift_right"), (lambda: X >> 1, DTypeError, "does not take float32")],
    "trunc_divide": [
        (lambda: gradc.div(X, V3, rounding_mode="trunc"), ShapeError, BROADCAST),
        (lambda: gradc.div(X, X, rounding_mode="up"), ArgumentError, "rounding_mode"),
    ],
    "where": [
        (lambda: gradc.where(X, X, X), DTypeError, "boolean tensor, but got float32"),
        (lambda: gradc.where(TRUTHS, X, X), ShapeError, "do not broadcast"),
    ],
    "clamp": [(lambda: gradc.clamp(X), ArgumentError, "min"), *unary("abs")],
    "lerp": [(lambda: gradc.lerp(X, V3, 0.5), ShapeError, "do not broadcast")],
    "threefry2x32": [(lambda: ops.threefry2x32(X, X, X, X), DTypeError, "takes uint32, not float32")],
    "bitcast": [(lambda: ops.bitcast(X, dtype=gradc.float64), DTypeError, "differ in width")],
    "arithmetic with numbers": [(lambda: gradc.add(X, None), ArgumentTypeError, "tensor or a number")],
    "mixed dtypes": [(lambda: X.double() + V3, ShapeError, BROADCAST)],
    "sum": several(lambda x, d: x.sum(d)), "prod": along(lambda x, d: x.prod(d)),
    "mean": [
        *several(lambda x, d: x.mean(d)),
        (lambda: WORDS.mean(), DTypeError, "floating point"),
    ],
    "amax": several(gradc.amax) + losing(gradc.amax), "amin": several(gradc.amin) + losing(gradc.amin),
    "any": along(gradc.any), "all": along(gradc.all),
    "argmax": along(gradc.argmax) + losing(gradc.argmax),
    "argmin": along(gradc.argmin) + losing(gradc.argmin),
    "norm": along(lambda x, d: gradc.norm(x, 2, d)), "logsumexp": several(gradc.logsumexp),
    "sum of nothing": [(lambda: NONE.sum(1), IndexOutOfRange, r"range of \[-1, 0\]")],
    "var and std": several(gradc.var) + several(gradc.std),
    "cumsum": along(gradc.cumsum), "sort": along(gradc.sort),
    "topk and median": [(lambda: X.topk(5), ArgumentError, "k"), *along(gradc.median)],
    "reshape": [
        (lambda: X.reshape(5, -1), ShapeError, r"shape '\[5, -1\]' is invalid for input of size 12"),
        (lambda: X.reshape(-1, -1), ShapeError, "only one dimension can be inferred"),
        (lambda: X.t().view(12), ShapeError, "reshape"),
    ],
    "permute": [(lambda: X.permute(0, 0), ArgumentError, "not a permutation of the 2 dimensions")],
    "permute of three": [(lambda: X.permute(2, 0, 1), IndexOutOfRange, BAD_DIM)],
    "broadcast": [(lambda: X.expand(2, 4), ShapeError, r"f32\[3,4\] does not broadcast to \[2,4\]")],
    "slice": [
        (lambda: X[5], IndexOutOfRange, "index 5 is out of bounds for dimension 0 with size 3"),
        (lambda: X[0, 0, 0], IndexOutOfRange, "too many indices"),
        (lambda: X[::0], ArgumentError, "step cannot be zero"),
    ],
    "flip and roll": along(lambda x, d: x.flip(d)),
    "pad": [
        (lambda: F.pad(X, (-3, -3)), ShapeError, "negative widths cut more than there is"),
        (lambda: F.pad(X, (1,)), ArgumentError, "1 widths do not fit"),
    ],
    "interior pad": [
        (lambda: ops.pad(X, V3, low=(0, 0), high=(0, 0), interior=(0, 0)), ShapeError, "pad"),
    ],
    "cat and stack": [
        (lambda: gradc.cat([X, gradc.ones(2, 3)]), ShapeError, "shapes differ outside axis 0"),
        (lambda: gradc.cat([]), ArgumentError, "non-empty"),
        (lambda: gradc.stack([X, V3]), ShapeError, "equal size"),
        (lambda: gradc.cat([X, X], 2), IndexOutOfRange, BAD_DIM),
    ],
    "triangles": [(lambda: gradc.tril(V3), ShapeError, "dimensions")],
    "split": [(lambda: X.split((1, 1)), ArgumentError, "split"), *along(lambda x, d: x.chunk(2, d))],
    "constant": [(lambda: gradc.tensor([[1], [1, 2]]), ShapeError, "the nesting is ragged")],
    "arange and linspace": [
        (lambda: gradc.arange(0, 5, 0), ArgumentError, "step must be nonzero"),
        (lambda: gradc.linspace(0, 1, -1), ArgumentError, "non-negative"),
    ],
    "index": [(lambda: X[X], ArgumentTypeError, "index")],
    "gather": [
        (lambda: X.gather(0, WORDS), ShapeError, "index has 1 dimensions and input has 2"),
        (lambda: X.gather(0, X), DTypeError, "dtype int64 for index"),
        *along(lambda x, d: x.gather(d, gradc.zeros(1, 1, dtype=gradc.int64))),
    ],
    "embedding": [(lambda: F.embedding(X, X), DTypeError, "index|indices|input")],
    "scatter": [(lambda: X.scatter_add(0, WORDS, X), ShapeError, "index has 1 dimensions")],
    **{
        f"scatter by {c}": [
            (lambda c=c: ops.scatter(X, V3, WORDS, axes=(1,), batch=0, wrap=True, combiner=c),
             ShapeError, "scatter"),
        ]
        for c in ("set", "min", "max", "mul")
    },
    "in-place assignment": [(lambda: gradc.ones(3, 4).__setitem__(0, V3), ShapeError, "broadcast")],
    "check": [(lambda: ops.check(V3, message="no"), DTypeError, "bool")],
    "matmul": [
        (lambda: X @ X, ShapeError, "inner dimensions differ: 4 and 3"),
        (lambda: X @ gradc.tensor(1.0), ShapeError, "at least 1D"),
    ],
    "dot_general": [
        (lambda: ops.dot_general(X, X, contract=((1,), (0,)), batch=((), ())), ShapeError,
         "paired sizes differ"),
    ],
    "linear": [(lambda: F.linear(X, X.t()), ShapeError, "linear")],
    "einsum": [(lambda: gradc.einsum("ij,jk->ik", X, X), ShapeError, "4 and 3")],
    "softmax": along(gradc.softmax), "log_softmax": along(gradc.log_softmax),
    "layer_norm": [(lambda: F.layer_norm(X, (3,)), ShapeError, "normalized_shape")],
    "cross_entropy": [(lambda: F.cross_entropy(X, WORDS), ShapeError, "3")],
    "losses": [(lambda: F.mse_loss(X, V3), ShapeError, "broadcast")],
    "attention": [(lambda: F.scaled_dot_product_attention(X, V3[None], X), ShapeError, "4 and 3")],
}  # fmt: skip

# Name: function of arrays, the arrays, class, words.
FAILING: dict[str, tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = {
    "floor_divide": (lambda x, y: x // y, (WORDS, WORDS), DivisionByZero, "floor_divide"),
    "remainder": (lambda x, y: x % y, (WORDS, WORDS), DivisionByZero, "remainder"),
    "fmod": (lambda x, y: gradc.fmod(x, y), (WORDS, WORDS), DivisionByZero, "fmod"),
    "trunc_divide": (lambda x, y: gradc.div(x, y, rounding_mode="trunc"), (WORDS, WORDS),
                     DivisionByZero, "trunc_divide"),
    "gather": (lambda x, i: x.gather(0, i), (X, gradc.tensor([[7]])), IndexOutOfRange,
               "gather: index 7 is out of range for a dimension of size 3"),
    "index": (lambda x, i: x[:, i], (X, gradc.tensor([-5])), IndexOutOfRange,
              "index -5 is out of range for axis 1 with size 4"),
    "embedding": (lambda w, i: F.embedding(i, w), (X, gradc.tensor([3])), IndexOutOfRange,
                  "index 3 is out of range for axis 0 with size 3"),
    "scatter": (lambda x, i: x.scatter_add(1, i, x), (X, gradc.tensor([[0, 4]])), IndexOutOfRange,
                "scatter_add: index 4 is out of range for a dimension of size 4"),
    "in-place assignment": (lambda x, i: gradc.clone(x).index_put_((i,), gradc.ones(4)),
                            (X, gradc.tensor([3])), IndexOutOfRange, "index 3 is out of range"),
    "check": (lambda x, y: _checked(x, y), (WORDS, WORDS), AssertionFailed, "must be positive"),
}  # fmt: skip


def _checked(x: Any, y: Any) -> Any:
    ops.check(x > 0, message="must be positive")
    return y
