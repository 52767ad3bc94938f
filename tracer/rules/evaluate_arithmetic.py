"""Elementwise NumPy rules that are longer than one ufunc: integers, conversions, random bits.

Arrays in, arrays out; integer results wrap, nothing warns under `np.errstate(all="ignore")`.

    trunc_divide(int8[-7], int8[2])  ->  int8[-3]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.tracer.graph.types import DType
from gradc.tracer.rules.failures import division_by_zero
from gradc.tracer.storage import Array


def sign(x: Array) -> Array:
    """-1, 0 or 1; NaN and -0.0 give 0, as in torch."""
    return np.asarray(np.subtract(x > 0, x < 0, dtype=x.dtype))


def _require_divisor(prim: str, x: Array, y: Array) -> None:
    if x.dtype.kind != "f" and x.size and not np.all(y):
        raise division_by_zero(prim)


def floor_divide(x: Array, y: Array) -> Array:
    """The quotient rounded towards -inf; the least integer over -1 is itself."""
    _require_divisor("floor_divide", x, y)
    return np.asarray(np.floor_divide(x, y))


def trunc_divide(x: Array, y: Array) -> Array:
    """The integer quotient rounded towards 0; the least integer over -1 is itself."""
    _require_divisor("trunc_divide", x, y)
    return np.asarray(np.floor_divide(np.subtract(x, np.fmod(x, y)), y))


def remainder(x: Array, y: Array) -> Array:
    """`x - floor(x / y) * y`, with the sign of the divisor (a zero too)."""
    _require_divisor("remainder", x, y)
    return np.asarray(np.remainder(x, y))


def fmod(x: Array, y: Array) -> Array:
    """The remainder with the sign of the dividend, as C's."""
    _require_divisor("fmod", x, y)
    return np.asarray(np.fmod(x, y))


def pow(x: Array, y: Array) -> Array:
    """`x ** y`. A negative integer exponent gives the reciprocal rounded towards 0, and 0 for 0."""
    if x.dtype.kind != "i":
        return np.asarray(np.power(x, y))
    negative = np.less(y, 0)
    if not np.any(negative):
        return np.asarray(np.power(x, y))
    zero, one = x.dtype.type(0), x.dtype.type(1)
    odd = np.bitwise_and(y, one)
    signed = np.where(odd, x, one)
    reciprocal = np.where(np.equal(x, one) | np.equal(x, -one), signed, zero)
    return np.where(negative, reciprocal, np.power(x, np.maximum(y, zero)))


def select(p: Array, a: Array, b: Array) -> Array:
    """`a` where `p`, else `b`."""
    return np.where(p, a, b)


def cast(x: Array, *, dtype: DType) -> Array:
    """`x` as `dtype`: to integers truncating and saturating, NaN to 0; to bool, `x != 0`."""
    if x.dtype.kind == "f" and dtype.is_integer:
        return _float_to_integer(x, dtype)
    return np.asarray(x.astype(dtype.numpy, copy=False))


def _float_to_integer(x: Array, dtype: DType) -> Array:
    # Both bounds are powers of two or 0, hence exact in every floating type.
    low, high = x.dtype.type(dtype.min), x.dtype.type(dtype.max + 1)
    inside = (x >= low) & (x < high)
    if np.all(inside):
        return np.asarray(x.astype(dtype.numpy))
    out = np.where(inside, x, x.dtype.type(0)).astype(dtype.numpy)
    out[x >= high] = dtype.max
    out[x < low] = dtype.min
    return out


def bitcast(x: Array, *, dtype: DType) -> Array:
    """The same bits as another type of the same width."""
    return x.view(dtype.numpy)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(k0: Array, k1: Array, c0: Array, c1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011): key words, counter words -> two words."""
    shape, dtype = c0.shape, np.uint32
    keys = (k0, k1, k0 ^ k1 ^ dtype(0x1BD11BDA))
    x0 = np.array(c0 + k0, dtype).reshape(-1)
    x1 = np.array(c1 + k1, dtype).reshape(-1)
    high = np.empty_like(x1)
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 += x1
            np.right_shift(x1, dtype(32 - rotation), out=high)
            x1 <<= dtype(rotation)
            x1 |= high
            x1 ^= x0
        x0 += _flat(keys[(group + 1) % 3])
        x1 += _flat(keys[(group + 2) % 3])
        x1 += dtype(group + 1)
    return x0.reshape(shape), x1.reshape(shape)


def _flat(key: Any) -> Array:
    return np.asarray(key).reshape(-1)
