"""What every primitive computes, in NumPy: `evaluate[prim](*arrays, **params)`.

Arrays in (of the strict types the primitive takes); an array, or a tuple of them for several
outputs, out. Movement gives views where NumPy can, and ufuncs are entered as they are: they
return a NumPy scalar for 0-d operands and follow their operands' memory order, and they warn
unless called under `np.errstate(all="ignore")`. Who calls a rule sees to these three.

    evaluate[ops.add](np.ones(3), np.ones(3))            array([2., 2., 2.])
    evaluate[ops.gather](x, i, axes=(0,), batch=0, wrap=False)

Rules that can fail raise the user's error (`IndexOutOfRange`, `DivisionByZero`,
`AssertionFailed`) without a place; the caller knows the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.rules import evaluate_arithmetic as arithmetic
from gradc.tracer.rules import evaluate_indexing as indexing
from gradc.tracer.rules import evaluate_movement as movement
from gradc.tracer.rules import evaluate_special as special
from gradc.tracer.rules import evaluate_window as windows
from gradc.tracer.rules.failures import check_failed
from gradc.tracer.rules.table import RuleTable
from gradc.tracer.storage import Array

evaluate: RuleTable[Callable[..., Any]] = RuleTable("evaluate")


def _rsqrt(x: Array) -> Array:
    return np.asarray(np.reciprocal(np.sqrt(x)))


def _sigmoid(x: Array) -> Array:
    """exp(-x) alone would overflow for very negative x."""
    tail = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, tail, tail.dtype.type(1)) / (tail + tail.dtype.type(1)))


def _check(p: Array, *, message: str) -> tuple[()]:
    if not np.all(p):
        raise check_failed(message)
    return ()


evaluate[ops.neg] = np.negative
evaluate[ops.abs] = np.absolute
evaluate[ops.sign] = arithmetic.sign
evaluate[ops.floor] = np.floor
evaluate[ops.ceil] = np.ceil
evaluate[ops.trunc] = np.trunc
evaluate[ops.round] = np.rint
evaluate[ops.sqrt] = np.sqrt
evaluate[ops.rsqrt] = _rsqrt
evaluate[ops.exp] = np.exp
evaluate[ops.expm1] = np.expm1
evaluate[ops.log] = np.log
evaluate[ops.log1p] = np.log1p
evaluate[ops.sin] = np.sin
evaluate[ops.cos] = np.cos
evaluate[ops.tan] = np.tan
evaluate[ops.asin] = np.arcsin
evaluate[ops.acos] = np.arccos
evaluate[ops.atan] = np.arctan
evaluate[ops.sinh] = np.sinh
evaluate[ops.cosh] = np.cosh
evaluate[ops.tanh] = np.tanh
evaluate[ops.sigmoid] = _sigmoid
evaluate[ops.asinh] = np.arcsinh
evaluate[ops.acosh] = np.arccosh
evaluate[ops.atanh] = np.arctanh
evaluate[ops.erf] = special.erf
evaluate[ops.erfinv] = special.erfinv
evaluate[ops.lgamma] = special.lgamma
evaluate[ops.digamma] = special.digamma
evaluate[ops.bitwise_not] = np.invert

evaluate[ops.add] = np.add
evaluate[ops.sub] = np.subtract
evaluate[ops.mul] = np.multiply
evaluate[ops.div] = np.divide
evaluate[ops.floor_divide] = arithmetic.floor_divide
evaluate[ops.trunc_divide] = arithmetic.trunc_divide
evaluate[ops.remainder] = arithmetic.remainder
evaluate[ops.fmod] = arithmetic.fmod
evaluate[ops.pow] = arithmetic.pow
evaluate[ops.atan2] = np.arctan2
evaluate[ops.maximum] = np.maximum
evaluate[ops.minimum] = np.minimum
evaluate[ops.bitwise_and] = np.bitwise_and
evaluate[ops.bitwise_or] = np.bitwise_or
evaluate[ops.bitwise_xor] = np.bitwise_xor
evaluate[ops.shift_left] = np.left_shift  # 0 for a count past the width or negative
evaluate[ops.shift_right] = np.right_shift  # likewise the sign fill

evaluate[ops.eq] = np.equal
evaluate[ops.ne] = np.not_equal
evaluate[ops.lt] = np.less
evaluate[ops.le] = np.less_equal
evaluate[ops.gt] = np.greater
evaluate[ops.ge] = np.greater_equal
evaluate[ops.isnan] = np.isnan
evaluate[ops.isinf] = np.isinf
evaluate[ops.select] = arithmetic.select
evaluate[ops.cast] = arithmetic.cast
evaluate[ops.bitcast] = arithmetic.bitcast
evaluate[ops.threefry2x32] = arithmetic.threefry2x32

evaluate[ops.reshape] = movement.reshape
evaluate[ops.permute] = movement.permute
evaluate[ops.broadcast] = movement.broadcast
evaluate[ops.slice] = movement.strided_slice
evaluate[ops.flip] = movement.flip
evaluate[ops.pad] = movement.pad
evaluate[ops.concat] = movement.concat
evaluate[ops.iota] = movement.iota
evaluate[ops.constant] = movement.constant

evaluate[ops.reduce_sum] = movement.reduce_sum
evaluate[ops.reduce_prod] = movement.reduce_by(np.multiply)
evaluate[ops.reduce_max] = movement.reduce_by(np.maximum)
evaluate[ops.reduce_min] = movement.reduce_by(np.minimum)
evaluate[ops.reduce_any] = movement.reduce_by(np.logical_or)
evaluate[ops.reduce_all] = movement.reduce_by(np.logical_and)
evaluate[ops.argmax] = movement.argmax
evaluate[ops.argmin] = movement.argmin
evaluate[ops.cumsum] = movement.cumsum
evaluate[ops.sort] = movement.sort

evaluate[ops.gather] = indexing.gather
evaluate[ops.scatter] = indexing.scatter
evaluate[ops.dot_general] = movement.dot_general
evaluate[ops.window] = windows.window
evaluate[ops.window_max] = windows.window_max
evaluate[ops.conv] = windows.conv
evaluate[ops.check] = _check
