"""Elementwise functions: torch's names, promotion and broadcasting.

    add(x, 2.0)      where(p, a, b)      gelu(x)

Operands are tensors, NumPy arrays or Python numbers, of which at least one is a tensor or array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes, broadcast_to
from gradc.tracer.context import CONTEXT, composite
from gradc.tracer.errors import ArgumentError, DTypeError, TraceError
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import bool_
from gradc.tracer.interpreter import as_operand, as_tensor, elementwise, full, is_weak
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.promotion import get_default_dtype, promote
from gradc.tracer.tensor import Tensor


def _unary(prim: Primitive, name: str, meaning: str) -> Callable[[Any], Tensor]:
    def function(input: Any) -> Tensor:
        return elementwise(prim, input)  # type: ignore[no-any-return]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}, elementwise."
    return function


def _binary(prim: Primitive, name: str, meaning: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        return elementwise(prim, input, other)  # type: ignore[no-any-return]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}, elementwise with broadcasting."
    return function


neg = negative = _unary(ops.neg, "neg", "The negative")
abs = absolute = _unary(ops.abs, "abs", "The absolute value (gradient 0 at 0)")
sign = _unary(ops.sign, "sign", "-1, 0 or 1; 0 for NaN")
sqrt = _unary(ops.sqrt, "sqrt", "The square root")
rsqrt = _unary(ops.rsqrt, "rsqrt", "1 / sqrt(x)")
exp = _unary(ops.exp, "exp", "e**x")
expm1 = _unary(ops.expm1, "expm1", "e**x - 1, accurate near 0")
log = _unary(ops.log, "log", "The natural logarithm")
log1p = _unary(ops.log1p, "log1p", "log(1 + x), accurate near 0")
sin = _unary(ops.sin, "sin", "The sine")
cos = _unary(ops.cos, "cos", "The cosine")
tan = _unary(ops.tan, "tan", "The tangent")
asin = arcsin = _unary(ops.asin, "asin", "The inverse sine")
acos = arccos = _unary(ops.acos, "acos", "The inverse cosine")
atan = arctan = _unary(ops.atan, "atan", "The inverse tangent")
sinh = _unary(ops.sinh, "sinh", "The hyperbolic sine")
cosh = _unary(ops.cosh, "cosh", "The hyperbolic cosine")
tanh = _unary(ops.tanh, "tanh", "The hyperbolic tangent")
asinh = arcsinh = _unary(ops.asinh, "asinh", "The inverse hyperbolic sine")
acosh = arccosh = _unary(ops.acosh, "acosh", "The inverse hyperbolic cosine")
atanh = arctanh = _unary(ops.atanh, "atanh", "The inverse hyperbolic tangent")
erf = _unary(ops.erf, "erf", "The error function")
erfinv = _unary(ops.erfinv, "erfinv", "The inverse of the error function")
lgamma = _unary(ops.lgamma, "lgamma", "log |gamma(x)|")
digamma = _unary(ops.digamma, "digamma", "The derivative of lgamma")
bitwise_not = _unary(ops.bitwise_not, "bitwise_not", "The bitwise complement; logical on bool")


def _rounding(prim: Primitive, name: str, meaning: str) -> Callable[[Any], Tensor]:
    def function(input: Any) -> Tensor:
        x = as_tensor(input)
        return x if x.dtype.is_integer else elementwise(prim, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}, elementwise; integers stay as they are."
    return function


floor = _rounding(ops.floor, "floor", "The greatest integer not above x")
ceil = _rounding(ops.ceil, "ceil", "The least integer not below x")
trunc = fix = _rounding(ops.trunc, "trunc", "x without its fraction")
_round = _rounding(ops.round, "round", "The nearest integer, ties to even")


def round(input: Any, *, decimals: int = 0) -> Tensor:
    """The nearest number with this many decimals, ties to even."""
    if decimals == 0:
        return _round(input)
    factor = 10.0**decimals
    return div(_round(mul(input, factor)), factor)


mul = multiply = _binary(ops.mul, "mul", "The product")
maximum = _binary(ops.maximum, "maximum", "The greater; NaN if either is")
minimum = _binary(ops.minimum, "minimum", "The lesser; NaN if either is")
atan2 = arctan2 = _binary(ops.atan2, "atan2", "The angle of (other, input)")
fmod = _binary(ops.fmod, "fmod", "The remainder with the sign of the dividend")
remainder = _binary(ops.remainder, "remainder", "The remainder with the sign of the divisor")
floor_divide = _binary(ops.floor_divide, "floor_divide", "The quotient rounded towards -inf")
pow = _binary(ops.pow, "pow", "input ** other")
bitwise_and = _binary(ops.bitwise_and, "bitwise_and", "The bitwise and")
bitwise_or = _binary(ops.bitwise_or, "bitwise_or", "The bitwise or")
bitwise_xor = _binary(ops.bitwise_xor, "bitwise_xor", "The bitwise exclusive or")
bitwise_left_shift = _binary(ops.shift_left, "bitwise_left_shift", "input << other")
bitwise_right_shift = _binary(ops.shift_right, "bitwise_right_shift", "input >> other")
eq = equal_to = _binary(ops.eq, "eq", "Whether input == other")
ne = not_equal = _binary(ops.ne, "ne", "Whether input != other")
lt = less = _binary(ops.lt, "lt", "Whether input < other")
le = less_equal = _binary(ops.le, "le", "Whether input <= other")
gt = greater = _binary(ops.gt, "gt", "Whether input > other")
ge = greater_equal = _binary(ops.ge, "ge", "Whether input >= other")


def _scaled(other: Any, alpha: Any) -> Any:
    return other if isinstance(alpha, (int, float)) and alpha == 1 else mul(other, alpha) if (
        isinstance(other, Tensor) or isinstance(alpha, Tensor)
    ) else other * alpha


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other."""
    return elementwise(ops.add, input, _scaled(other, alpha))  # type: ignore[no-any-return]


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other; not defined for bool."""
    return elementwise(ops.sub, input, _scaled(other, alpha))  # type: ignore[no-any-return]


subtract = sub


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """The quotient; integers give the default float dtype.

    Args:
        rounding_mode: None, "floor" (towards -inf) or "trunc" (towards 0).
    """
    if rounding_mode is None:
        return elementwise(ops.div, input, other)  # type: ignore[no-any-return]
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ArgumentError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'",
            loc=user_location(),
        )
    if _result_dtype(input, other).is_float:
        return trunc(elementwise(ops.div, input, other))
    return elementwise(ops.trunc_divide, input, other)  # type: ignore[no-any-return]


divide = true_divide = div


def _result_dtype(*operands: Any) -> Any:
    return promote(*(o if is_weak(o) else o.dtype for o in map(as_operand, operands)))


# -- tests and logic ------------------------------------------------------------------------------


def isnan(input: Any) -> Tensor:
    """Whether an element is NaN; integers never are."""
    x = as_tensor(input)
    return elementwise(ops.isnan, x) if x.dtype.is_float else full(x.shape, False, bool_)


def isinf(input: Any) -> Tensor:
    """Whether an element is infinite."""
    x = as_tensor(input)
    return elementwise(ops.isinf, x) if x.dtype.is_float else full(x.shape, False, bool_)


def isfinite(input: Any) -> Tensor:
    """Whether an element is neither infinite nor NaN."""
    return logical_not(logical_or(isnan(input), isinf(input)))


def _as_bool(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    x = as_tensor(value)
    return x if x.dtype is bool_ else ops.cast(x, dtype=bool_)


def logical_not(input: Any) -> Tensor:
    """Whether an element is zero."""
    return elementwise(ops.bitwise_not, _as_bool(input))  # type: ignore[no-any-return]


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both elements are non-zero."""
    return elementwise(ops.bitwise_and, _as_bool(input), _as_bool(other))  # type: ignore[no-any-return]


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one of the elements is non-zero."""
    return elementwise(ops.bitwise_or, _as_bool(input), _as_bool(other))  # type: ignore[no-any-return]


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one of the elements is non-zero."""
    return elementwise(ops.bitwise_xor, _as_bool(input), _as_bool(other))  # type: ignore[no-any-return]


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|."""
    near = le(abs(sub(input, other)), add(mul(abs(other), rtol), atol))
    close = logical_or(eq(input, other), logical_and(near, isfinite(other)))
    if equal_nan:
        close = logical_or(close, logical_and(isnan(input), isnan(other)))
    return close


# -- choice ---------------------------------------------------------------------------------------


@overload
def where(condition: Any) -> tuple[Tensor, ...]: ...


@overload
def where(condition: Any, input: Any, other: Any) -> Tensor: ...


@composite("where")
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other`; all three broadcast.

    With the condition alone: the places where it is not zero, one tensor per axis; eagerly only.

    Raises:
        DTypeError: the condition is not bool.
        ArgumentError: only one of `input` and `other`.
        TraceError: the condition alone in a trace.
    """
    if input is None and other is None:
        return nonzero_places(as_tensor(condition))
    if input is None or other is None:
        raise ArgumentError("where: input and other must both be given", loc=user_location())
    p = as_tensor(condition)
    if p.dtype is not bool_:
        raise DTypeError(
            f"where expected condition to be a boolean tensor, but got {p.dtype.name}",
            loc=user_location(),
        )
    a, b = as_operand(input), as_operand(other)
    dtype = _result_dtype(a, b)
    tensors = [t for t in (p, a, b) if isinstance(t, Tensor)]
    shape = broadcast_shapes("where", [t.type for t in tensors])

    def strict(t: Any) -> Tensor:
        if not isinstance(t, Tensor):
            return full(shape, t, dtype)
        return broadcast_to(t if t.dtype is dtype else ops.cast(t, dtype=dtype), shape)

    return ops.select(broadcast_to(p, shape), strict(a), strict(b))


def nonzero_places(x: Tensor) -> tuple[Tensor, ...]:
    """The places of non-zero elements, one int64 tensor per axis (one for a 0-d tensor).

    Raises:
        TraceError: in a trace, where their number is not known.
    """
    if CONTEXT.trace is not None:
        raise TraceError(
            "nonzero: how many elements there are is known only when the compiled function runs",
            loc=user_location(),
            operands=[str(x.type)],
            hint="use gradc.where with three arguments, or multiply by a mask",
        )
    array = x.array() if x.ndim else x.array().reshape(1)
    return tuple(as_tensor(np.ascontiguousarray(p)) for p in np.nonzero(array))


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """`value` where `mask` holds, else `input`; of input's dtype."""
    x = as_tensor(input)
    filler = value if isinstance(value, Tensor) else full((), value, x.dtype)
    if filler.dtype is not x.dtype:
        filler = ops.cast(filler, dtype=x.dtype)
    return where(mask, filler, x)


@composite("clamp")
def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """input limited to [min, max]; the gradient passes at the bounds, NaN stays.

    Raises:
        ArgumentError: neither bound is given.
    """
    if min is None and max is None:
        raise ArgumentError(
            "clamp: at least one of min or max must not be None", loc=user_location()
        )
    result = as_tensor(input)
    if min is not None:
        result = where(lt(result, min), min, result)
    if max is not None:
        result = where(gt(result, max), max, result)
    return result


clip = clamp


# -- composites -----------------------------------------------------------------------------------


@composite("square")
def square(input: Any) -> Tensor:
    """input ** 2."""
    x = as_tensor(input)
    return mul(x, x)


@composite("reciprocal")
def reciprocal(input: Any) -> Tensor:
    """1 / input."""
    return div(1.0, input)


@composite("log2")
def log2(input: Any) -> Tensor:
    """The logarithm to base 2."""
    return div(log(input), math.log(2.0))


@composite("log10")
def log10(input: Any) -> Tensor:
    """The logarithm to base 10."""
    return div(log(input), math.log(10.0))


@composite("exp2")
def exp2(input: Any) -> Tensor:
    """2 ** input."""
    return pow(2.0, input)


def floating(input: Any) -> Tensor:
    """The tensor, integers and bool as the default float dtype."""
    x = as_tensor(input)
    return x if x.dtype.is_float else ops.cast(x, dtype=get_default_dtype())


def decay(x: Tensor, positive: Tensor) -> Tensor:
    """exp(-|x|), which never overflows; `positive` is x >= 0.

    A choice between x and -x rather than `abs`, whose gradient at 0 is 0: both branches meet at 0
    with the same derivatives of every order in what is built from this.
    """
    return exp(ops.select(positive, ops.neg(x), x))


@composite("logaddexp")
def logaddexp(input: Any, other: Any) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    distance = sub(input, other)
    # Equal infinities have no distance; everywhere else one operand carries and the other adds.
    distance = where(logical_and(isinf(input), eq(input, other)), 0.0, distance)
    first = ge(distance, 0)
    return add(where(first, input, other), log1p(decay(distance, first)))


@composite("lerp")
def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return add(input, mul(sub(end, input), weight))


@composite("addcmul")
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = mul(tensor1, tensor2)
    return add(input, product if isinstance(value, int) and value == 1 else mul(product, value))


@composite("addcdiv")
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    first = tensor1 if isinstance(value, int) and value == 1 else mul(tensor1, value)
    return add(input, div(first, tensor2))


@composite("xlogy")
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), and 0 where input is 0 and other is no NaN."""
    off = logical_or(le(other, 0), isinf(other))
    zero = logical_and(eq(input, 0), off)
    return mul(input, log(where(zero, 1.0, other)))


@composite("nan_to_num")
def nan_to_num(
    input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and infinities replaced by numbers; the infinities by the extremes of the dtype."""
    x = as_tensor(input)
    if not x.dtype.is_float:
        return clone(x)
    limits = np.finfo(x.dtype.numpy)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    finite = where(eq(x, math.inf), high, where(eq(x, -math.inf), low, x))
    return where(isnan(x), nan, finite)


@composite("hypot")
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input**2 + other**2)."""
    scale = maximum(abs(_constant(input)), abs(_constant(other)))
    infinite = logical_or(isinf(input), isinf(other))
    # Scaled, so that squares neither overflow nor vanish; the scale cancels in gradients.
    scale = where(logical_or(infinite, eq(scale, 0)), 1.0, scale)
    root = sqrt(add(square(div(input, scale)), square(div(other, scale))))
    return where(infinite, math.inf, mul(root, scale))


def _constant(x: Any) -> Any:
    """`x` as a constant for gradients."""
    return x.alias() if isinstance(x, Tensor) else x


@composite("clone")
def clone(input: Any) -> Tensor:
    """A copy with its own memory; gradients flow through."""
    x = as_tensor(input)
    return ops.cast(x, dtype=x.dtype)  # type: ignore[no-any-return]
