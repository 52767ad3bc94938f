"""NumPy rules of the special functions: erf, erfinv, lgamma, digamma.

All compute in float64 and round once. Errors are within 3 ulp of float64 but for lgamma and
digamma near their roots on the negative axis, where the error is absolute.

    lgamma(0.5) = 0.5723649429247001      digamma(1.0) = -0.5772156649015329
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradc.tracer.storage import Array

Rule = Callable[[Array], Array]


def _in_float64(rule: Rule) -> Rule:
    """`rule` on a flat float64 copy of the operand; the result is rounded back."""

    def wrapped(x: Array) -> Array:
        flat = np.array(x, np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            return rule(flat).astype(x.dtype).reshape(x.shape)

    return wrapped


def _pointwise(function: Callable[[float], float]) -> Rule:
    apply = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(apply(x), np.float64)


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total *= x
        total += c
    return total


# -- erf ------------------------------------------------------------------------------------

_erf64 = _pointwise(math.erf)
_erfc64 = _pointwise(math.erfc)
_BLOCK = 8192
_ERF_DEGREE = 23


@cache
def _erf_ratio() -> tuple[float, ...]:
    """`erf(x) / x` as a polynomial of `t = x * x / 8 - 1`, for |x| <= 4, to 1e-11."""

    def ratio(t: Any) -> Any:
        x = np.sqrt((t + 1) * 8)
        return _erf64(x) / x

    series: Any = np.polynomial.chebyshev.chebinterpolate(ratio, _ERF_DEGREE)
    return tuple(map(float, np.polynomial.chebyshev.cheb2poly(series)))


def _erf32(x: Array) -> Array:
    """erf to 1e-11, block by block so that the passes of the polynomial stay in cache."""
    out = np.empty_like(x)
    for i in range(0, x.size, _BLOCK):
        # Beyond 4 the value is within a quarter of an ulp of float32 of 1.
        block = np.clip(x[i : i + _BLOCK], -4.0, 4.0)
        out[i : i + _BLOCK] = block * _polynomial(_erf_ratio(), block * block * 0.125 - 1)
    return out


def erf(x: Array) -> Array:
    """The error function."""
    return _erf_by_width[x.dtype.itemsize](x)


_erf_by_width = {4: _in_float64(_erf32), 8: _in_float64(_erf64)}


@_in_float64
def erfinv(y: Array) -> Array:
    """The inverse of erf: infinite at +-1, NaN beyond."""
    size = np.abs(y)
    # Winitzki's closed form is within 0.002; two Halley steps cube the error twice.
    a = 0.147
    log = np.log1p(-size * size)
    half = 2 / (math.pi * a) + log / 2
    x = np.sqrt(np.sqrt(half * half - log / a) - half)
    for _ in range(3):
        # Towards 1 the complement carries the digits; 1 - y is exact there.
        error = np.where(size < 0.5, size - _erf64(x), _erfc64(x) - (1 - size))
        step = error * (math.sqrt(math.pi) / 2) * np.exp(x * x)
        x = x + step / (1 - x * step)
    x = np.where(size < 1e-9, size * (math.sqrt(math.pi) / 2), x)
    x = np.where(size == 1, np.inf, np.where(size > 1, np.nan, x))
    return np.copysign(x, y)


# -- lgamma and digamma ---------------------------------------------------------------------

_EULER_GAMMA = 0.57721566490153286061
_SERIES_TERMS = 40


def _hurwitz_zeta(k: int, a: float) -> float:
    """The sum of `(a + j) ** -k` over j >= 0: 64 terms and the Euler-Maclaurin tail."""
    n = a + 64
    terms = [(a + j) ** -k for j in range(64)]
    terms += [n ** (1 - k) / (k - 1), n**-k / 2, k * n ** (-k - 1) / 12]
    third = k * (k + 1) * (k + 2)
    terms += [-third * n ** (-k - 3) / 720, third * (k + 3) * (k + 4) * n ** (-k - 5) / 30240]
    return math.fsum(terms)


# log(gamma(2 + s)) = (1 - euler) s + sum over k >= 2 of (-1)^k (zeta(k) - 1) / k s^k, |s| < 2,
# and zeta(k) - 1 is Hurwitz's zeta(k, 2).
_ZETAS = tuple((-1) ** k * _hurwitz_zeta(k, 2.0) for k in range(2, _SERIES_TERMS))
_LGAMMA_SERIES = (1 - _EULER_GAMMA, *(z / k for k, z in enumerate(_ZETAS, 2)))
_DIGAMMA_SERIES = (1 - _EULER_GAMMA, *_ZETAS)
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_STIRLING = tuple(b / (2 * n * (2 * n - 1)) for n, b in enumerate(_BERNOULLI, 1))
_DIGAMMA_TAIL = tuple(-b / (2 * n) for n, b in enumerate(_BERNOULLI, 1))
_LARGE = 10.0
# The positive root of digamma in two parts, and the Taylor series there.
_ROOT, _ROOT_REST = 1.4616321449683622, 9.549995429965698e-17
_ROOT_SERIES = tuple((-1) ** k * _hurwitz_zeta(k, _ROOT) for k in range(2, _SERIES_TERMS))


def _around_two(x: Array) -> tuple[Array, Array]:
    """`s` and `steps` with `x = 2 + s + steps`, |s| <= 0.75; `steps` is -1 for x below 1.25."""
    steps = np.where(x < 1.25, -1.0, np.clip(np.floor(x - 1.5), 0.0, _LARGE))
    return x - (2 + steps), steps


def _lgamma_small(x: Array) -> Array:
    # gamma(x) = (x - 1) (x - 2) ... gamma(2 + s); below 1.25 it is gamma(2 + s) / (1 + s).
    s, steps = _around_two(x)
    product = np.ones_like(x)
    for k in range(1, int(_LARGE)):
        product = np.where(steps >= k, product * (x - k), product)
    near: Array = s * _polynomial(_LGAMMA_SERIES, s)
    near += np.where(steps < 0, -np.log1p(s), np.log(product))
    return near


def _lgamma_large(x: Array) -> Array:
    inverse = 1 / x
    tail = inverse * _polynomial(_STIRLING, inverse * inverse)
    rest: Array = 0.5 * math.log(2 * math.pi) - 0.5 + tail
    rest += (x - 0.5) * (np.log(x) - 1)
    return rest


def _lgamma_positive(x: Array) -> Array:
    tiny = x < 0.5
    shifted = np.where(tiny, x + 1, x)
    small = _lgamma_small(np.clip(shifted, 0.5, _LARGE))
    small = np.where(tiny, small - np.log(x), small)
    large = _lgamma_large(np.maximum(shifted, _LARGE))
    return np.where(x == np.inf, np.inf, np.where(shifted < _LARGE, small, large))


def _from_nearest_integer(x: Array) -> Array:
    return np.asarray(x - np.round(x))


@_in_float64
def lgamma(x: Array) -> Array:
    """log |gamma(x)|; infinite at 0, at the negative integers and at both infinities."""
    # gamma(x) gamma(1 - x) = pi / sin(pi x).
    positive = _lgamma_positive(np.where(x > 0, x, 1 - x))
    sine = np.abs(np.sin(math.pi * _from_nearest_integer(x)))
    value = np.where(x > 0, positive, math.log(math.pi) - np.log(sine) - positive)
    pole = (x <= 0) & (np.floor(x) == x)
    return np.where(np.isnan(x), x, np.where(pole, np.inf, value))


def _digamma_small(x: Array) -> Array:
    s, steps = _around_two(x)
    total = np.zeros_like(x)
    for k in range(1, int(_LARGE)):
        total = np.where(steps >= k, total + 1 / (x - k), total)
    total = np.where(steps < 0, -1 / x, total) + _polynomial(_DIGAMMA_SERIES, s)
    distance = (x - _ROOT) - _ROOT_REST
    at_root = distance * _polynomial(_ROOT_SERIES, distance)
    return np.where(np.abs(distance) < 0.25, at_root, total)


def _digamma_large(x: Array) -> Array:
    inverse = 1 / x
    square = inverse * inverse
    return np.log(x) - 0.5 * inverse + square * _polynomial(_DIGAMMA_TAIL, square)


def _digamma_positive(x: Array) -> Array:
    tiny = x < 0.5
    shifted = np.where(tiny, x + 1, x)
    small = _digamma_small(np.clip(shifted, 0.5, _LARGE))
    small = np.where(tiny, small - 1 / x, small)
    return np.where(shifted < _LARGE, small, _digamma_large(np.maximum(shifted, _LARGE)))


@_in_float64
def digamma(x: Array) -> Array:
    """The derivative of lgamma; -inf at 0, inf at -0.0, NaN at the negative integers."""
    positive = _digamma_positive(np.where(x > 0, x, 1 - x))
    angle = math.pi * _from_nearest_integer(x)
    value = np.where(x > 0, positive, positive - math.pi / np.tan(angle))
    value = np.where((x < 0) & (np.floor(x) == x), np.nan, value)
    return np.where(x == 0, np.copysign(np.inf, -x), value)
