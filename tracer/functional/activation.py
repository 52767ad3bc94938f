"""Activation functions, elementwise, with torch's names and defaults.

    relu(x)      gelu(x, approximate="tanh")      softplus(x, beta=2.0)

Where a function has a kink, its gradient there is torch's.
"""

from __future__ import annotations

import math as _math
from typing import Any

from gradc.tracer import ops
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.functional.dimensions import normalize_dim
from gradc.tracer.functional.math import (
    abs,
    add,
    decay,
    div,
    eq,
    erf,
    exp,
    expm1,
    floating,
    ge,
    gt,
    le,
    log1p,
    lt,
    mul,
    neg,
    sub,
    tanh,
    where,
)
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import as_tensor, elementwise, full
from gradc.tracer.tensor import Tensor


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise(ops.sigmoid, input)  # type: ignore[no-any-return]


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow and with its true derivatives at 0."""
    positive = ge(x, 0)
    high = ops.select(positive, x, full(x.shape, 0, x.dtype))
    return ops.add(high, log1p(decay(x, positive)))  # type: ignore[no-any-return]


@composite("logsigmoid")
def logsigmoid(input: Any) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return neg(log1p_exp(neg(floating(input))))


@composite("relu")
def relu(input: Any) -> Tensor:
    """x where x > 0, else 0; NaN stays; the gradient at 0 is 0."""
    x = as_tensor(input)
    if x.dtype.is_bool:
        raise DTypeError(
            "relu: does not take bool", loc=user_location(), operands=[f"input  {x.type}"]
        )
    return ops.select(le(x, 0), full(x.shape, 0, x.dtype), x)  # type: ignore[no-any-return]


@composite("gelu")
def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x * Phi(x); `approximate="tanh"` for the tanh form.

    Raises:
        ArgumentError: another `approximate`.
    """
    x = as_tensor(input)
    if approximate == "none":
        return mul(mul(x, 0.5), add(erf(mul(x, _math.sqrt(0.5))), 1.0))
    if approximate != "tanh":
        raise ArgumentError(
            "approximate argument must be either none or tanh.", loc=user_location()
        )
    # (1 + tanh(u)) / 2 is sigmoid(2u), which does not cancel where u is far below 0.
    inner = mul(add(x, mul(mul(mul(x, x), x), 0.044715)), _math.sqrt(8 / _math.pi))
    return mul(x, sigmoid(inner))


@composite("silu")
def silu(input: Any) -> Tensor:
    """x * sigmoid(x)."""
    return mul(input, sigmoid(input))


@composite("softplus")
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold."""
    x = as_tensor(input)
    scaled = mul(x, beta)
    large = gt(scaled, threshold)
    smooth = div(log1p(exp(where(large, 0.0, scaled))), beta)
    return where(large, x, smooth)


@composite("leaky_relu")
def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    x = as_tensor(input)
    return where(gt(x, 0), x, mul(x, negative_slope))


@composite("elu")
def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    x = as_tensor(input)
    return _exponential(x, alpha, 1.0)


def _exponential(x: Tensor, alpha: float, divisor: float) -> Tensor:
    """x above 0, alpha * (exp(x / divisor) - 1) below; at 0 straight, with the slope from below."""
    below = lt(x, 0.0)
    inner = where(below, x, 0.0)
    curve = mul(expm1(inner if divisor == 1.0 else div(inner, divisor)), alpha)
    slope = alpha / divisor
    straight = x if slope == 1.0 else where(eq(x, 0.0), mul(x, slope), x)
    return where(below, curve, straight)


@composite("selu")
def selu(input: Any) -> Tensor:
    """The self-normalising exponential linear unit: a scaled `elu`."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return mul(_exponential(as_tensor(input), alpha, 1.0), scale)


@composite("celu")
def celu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise ArgumentError("alpha cannot be 0 for CELU", loc=user_location())
    return _exponential(as_tensor(input), alpha, alpha)


def _clipped(x: Tensor, low: float, high: float) -> Tensor:
    """x limited to [low, high], with gradient 0 at both bounds; NaN stays."""
    return where(le(x, low), low, where(ge(x, high), high, x))


@composite("hardtanh")
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val]; the gradient at both bounds is 0.

    Raises:
        ArgumentError: min_val is greater than max_val.
    """
    if min_val > max_val:
        raise ArgumentError("min_val cannot be greater than max_val", loc=user_location())
    return _clipped(as_tensor(input), min_val, max_val)


@composite("relu6")
def relu6(input: Any) -> Tensor:
    """x limited to [0, 6]; the gradient at both bounds is 0."""
    return _clipped(as_tensor(input), 0, 6)


@composite("hardsigmoid")
def hardsigmoid(input: Any) -> Tensor:
    """x / 6 + 1 / 2 limited to [0, 1]."""
    return div(_clipped(add(input, 3.0), 0.0, 6.0), 6.0)


@composite("hardswish")
def hardswish(input: Any) -> Tensor:
    """x * hardsigmoid(x)."""
    x = as_tensor(input)
    middle = div(mul(x, add(x, 3.0)), 6.0)
    return where(le(x, -3.0), 0.0, where(ge(x, 3.0), x, middle))


@composite("mish")
def mish(input: Any) -> Tensor:
    """x * tanh(log(1 + exp(x)))."""
    x = floating(input)
    return mul(x, tanh(log1p_exp(x)))


@composite("softsign")
def softsign(input: Any) -> Tensor:
    """x / (1 + |x|)."""
    x = as_tensor(input)
    return div(x, add(abs(x), 1.0))


@composite("tanhshrink")
def tanhshrink(input: Any) -> Tensor:
    """x - tanh(x)."""
    x = as_tensor(input)
    return sub(x, tanh(x))


@composite("softshrink")
def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by `lambd`, 0 where |x| <= lambd.

    Raises:
        ArgumentError: a negative `lambd`.
    """
    if lambd < 0:
        raise ArgumentError(
            f"lambda must be greater or equal to 0, but found to be {lambd}", loc=user_location()
        )
    x = as_tensor(input)
    inside = where(le(abs(x), lambd), 0.0, add(x, lambd))
    return where(gt(x, lambd), sub(x, lambd), inside)


@composite("hardshrink")
def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    x = as_tensor(input)
    return where(le(abs(x), lambd), 0.0, x)


@composite("threshold")
def threshold(input: Any, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else `value`."""
    x = as_tensor(input)
    return where(le(x, threshold), value, x)


@composite("prelu")
def prelu(input: Any, weight: Any) -> Tensor:
    """x where x > 0, else weight * x, with one weight, or one per channel (axis 1).

    Raises:
        ShapeError: the number of weights is not that of the channels.
    """
    x, w = as_tensor(input), as_tensor(weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if w.ndim > 1 or (w.type.size != 1 and w.type.size != channels):
        raise ShapeError(
            f"prelu: the weight must have 1 or {channels} elements",
            loc=user_location(),
            operands=[f"input  {x.type}", f"weight  {w.type}"],
        )
    if x.ndim > 1:
        w = ops.reshape(w, shape=(w.type.size, *(1,) * (x.ndim - 2)))
    elif w.ndim > x.ndim:
        w = ops.reshape(w, shape=())
    return where(gt(x, 0), x, mul(x, w))


@composite("glu")
def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half of `dim` times the sigmoid of the second.

    Raises:
        ShapeError: a 0-d input, or a `dim` of odd size.
    """
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis]) if x.ndim else 1
    if size % 2:
        raise ShapeError(
            f"Halving dimension must be even, but dimension {axis} is size {size}",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return mul(_range(x, axis, 0, size // 2), sigmoid(_range(x, axis, size // 2, size)))


def _range(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    low = tuple(start if i == axis else 0 for i in range(x.ndim))
    high = tuple(stop if i == axis else d for i, d in enumerate(x.shape))
    return ops.slice(x, start=low, stop=high, step=(1,) * x.ndim)  # type: ignore[no-any-return]
