"""Every NumPy rule against a reference of its own: plain Python, one element at a time."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from gradc.tracer import ops
from gradc.tracer.errors import AssertionFailed, DivisionByZero, IndexOutOfRange
from gradc.tracer.graph.types import (
    BY_NAME,
    DTYPES,
    FLOATS,
    INTEGERS,
    DType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)  # fmt: skip
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.rules.evaluate import evaluate

INF, NAN = math.inf, math.nan
SPECIALS = [0.0, -0.0, 0.25, -0.5, 0.75, 1.0, -1.0, 1.5, -2.5, 3.0, 20.0, -30.0, INF, -INF, NAN]


def run(prim: Primitive, *arrays: Any, **params: Any) -> Any:
    with np.errstate(all="ignore"):
        return evaluate[prim](*arrays, **params)


def total(function: Callable[..., float]) -> Callable[..., float]:
    """`function` with NaN where Python raises a domain error and inf where it overflows."""

    def wrapped(*args: float) -> float:
        try:
            return function(*args)
        except ValueError:
            return NAN
        except OverflowError:
            return INF

    return wrapped


def ulps(found: np.ndarray, expected: list[float], dtype: DType) -> float:
    want = np.asarray(expected, np.float64)
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype.numpy)
        same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
        distance = np.abs(found.astype(np.float64) - want) / np.spacing(np.abs(rounded))
    return float(np.max(np.where(same, 0.0, distance), initial=0.0))


def test_no_primitive_is_missing() -> None:
    assert evaluate.missing() == []


# -- elementwise floats ----------------------------------------------------------------------


def _sinh(x: float) -> float:
    return x if math.isinf(x) else math.sinh(x)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(max(x, -800.0))


UNARY: dict[str, tuple[Callable[[float], float], float]] = {
    "neg": (operator.neg, 0), "abs": (abs, 0), "sqrt": (math.sqrt, 0),
    "sign": (lambda x: float((x > 0) - (x < 0)), 0),
    "floor": (lambda x: float(np.floor(x)), 0), "ceil": (lambda x: float(np.ceil(x)), 0),
    "trunc": (lambda x: float(np.trunc(x)), 0),
    "round": (lambda x: math.copysign(float(round(x)), x) if math.isfinite(x) else x, 0),
    "rsqrt": (lambda x: math.copysign(INF, x) if x == 0 else 1 / math.sqrt(x), 1),
    "exp": (math.exp, 4), "expm1": (math.expm1, 4),
    "log": (lambda x: -INF if x == 0 else math.log(x), 4),
    "log1p": (lambda x: -INF if x == -1 else math.log1p(x), 4),
    "sin": (math.sin, 4), "cos": (math.cos, 4), "tan": (math.tan, 4),
    "asin": (math.asin, 4), "acos": (math.acos, 4), "atan": (math.atan, 4),
    "sinh": (_sinh, 4), "cosh": (math.cosh, 4), "tanh": (math.tanh, 4), "sigmoid": (_logistic, 4),
    "asinh": (math.asinh, 4), "acosh": (math.acosh, 4),
    "atanh": (lambda x: math.copysign(INF, x) if abs(x) == 1 else math.atanh(x), 4),
    "erf": (math.erf, 1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: DType) -> None:
    reference, bound = UNARY[name]
    x = np.array([*SPECIALS, *np.random.default_rng(0).normal(size=50)], dtype.numpy)
    found = run(ops.PRIMITIVES[name], x)
    assert found.dtype == x.dtype
    expected = [total(reference)(float(v)) for v in x]
    assert ulps(found, expected, dtype) <= bound
    assert run(ops.PRIMITIVES[name], x[0:1].reshape(())).shape == ()
    assert run(ops.PRIMITIVES[name], x[:0]).shape == (0,)


def test_zeros_keep_their_sign() -> None:
    for prim in (ops.floor, ops.round, ops.sqrt, ops.sin, ops.erf, ops.tanh, ops.asinh, ops.erfinv):
        assert np.signbit(run(prim, np.array([-0.0]))[0])
    assert not np.signbit(run(ops.sign, np.array([-0.0]))[0])


def test_round_goes_half_to_even() -> None:
    assert run(ops.round, np.array([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]


def test_digamma() -> None:
    # psi(1) = -euler, psi(1/2) = -euler - 2 log 2, psi(x + 1) = psi(x) + 1 / x, and its root.
    euler = 0.5772156649015329
    x = np.array([1.0, 0.5, 2.0, -0.5, 0.0, -0.0, -3.0, INF, NAN, 1.4616321449683622])
    expected = [
        -euler, -euler - 2 * math.log(2), 1 - euler, 2 - euler - 2 * math.log(2), -INF, INF, NAN,
        INF, NAN, -9.241265520577914e-17,
    ]  # fmt: skip
    np.testing.assert_allclose(run(ops.digamma, x), expected, rtol=1e-9, atol=1e-24)
    points = np.linspace(-8.3, 40, 300)
    step = run(ops.digamma, points + 1) - run(ops.digamma, points)
    np.testing.assert_allclose(step, 1 / points, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_lgamma(dtype: DType) -> None:
    x = np.array([*SPECIALS, 1e-300, 1e5, *np.linspace(-8.3, 40, 300)], dtype.numpy)
    rtol = 4 * float(np.finfo(dtype.numpy).eps)
    expected = scipy.special.gammaln(x.astype(np.float64)).astype(dtype.numpy)
    expected[x == -INF] = INF  # as C and torch have it
    np.testing.assert_allclose(run(ops.lgamma, x), expected, rtol=rtol, atol=1e-14)
    assert run(ops.lgamma, np.array([1.0, 2.0], dtype.numpy)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_erfinv_inverts_erf(dtype: DType) -> None:
    y = np.concatenate([np.linspace(-0.999, 0.999, 201), [1 - 2.0**-20, 1e-12, -1e-30]])
    y = y.astype(dtype.numpy)
    x = run(ops.erfinv, y).astype(np.float64)
    back = np.array([math.erf(v) for v in x])
    # An ulp of x moves erf by as much as its slope there says.
    slope = 2 / math.sqrt(math.pi) * np.exp(-x * x)
    bound = 1.5 * np.spacing(np.abs(x).astype(dtype.numpy)) * slope + np.spacing(np.abs(back))
    assert np.all(np.abs(back - y) <= bound)
    ends = run(ops.erfinv, np.array([1, -1, 1.5, -2, NAN], dtype.numpy))
    np.testing.assert_array_equal(ends, [INF, -INF, NAN, NAN, NAN])


def _remainder(x: float, y: float) -> float:
    if y == 0 or math.isinf(x) or math.isnan(x) or math.isnan(y):
        return NAN
    r = math.fmod(x, y)
    return r + y if r and (r < 0) != (y < 0) else math.copysign(r, y) if r == 0 else r


BINARY: dict[str, tuple[Callable[[float, float], float], float]] = {
    "add": (operator.add, 0), "sub": (operator.sub, 0), "mul": (operator.mul, 0),
    "fmod": (math.fmod, 0), "remainder": (_remainder, 0), "atan2": (math.atan2, 4),
    "maximum": (lambda x, y: NAN if math.isnan(x) or math.isnan(y) else max(x, y), 0),
    "minimum": (lambda x, y: NAN if math.isnan(x) or math.isnan(y) else min(x, y), 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: DType) -> None:
    reference, bound = BINARY[name]
    x, y = (a.ravel().astype(dtype.numpy) for a in np.meshgrid(SPECIALS, SPECIALS))
    found = run(ops.PRIMITIVES[name], x, y)
    expected = [total(reference)(float(a), float(b)) for a, b in zip(x, y)]
    assert found.dtype == x.dtype
    assert ulps(found, expected, dtype) <= bound


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_division_of_floats(dtype: DType) -> None:
    x = np.array([7, -7, 7, -7, 1, -1, 0, INF, 5, -5], dtype.numpy)
    y = np.array([2, 2, -2, -2, 0, 0, 0, 2, INF, INF], dtype.numpy)
    quotient = [3.5, -3.5, -3.5, 3.5, INF, -INF, NAN, INF, 0, -0.0]
    np.testing.assert_array_equal(run(ops.div, x, y), np.array(quotient, dtype.numpy))
    floor = [3, -4, -4, 3, INF, -INF, NAN, NAN, 0, -1]
    np.testing.assert_array_equal(run(ops.floor_divide, x, y), np.array(floor, dtype.numpy))


def test_pow_of_floats() -> None:
    x = np.array([2, -2, 0, -0.0, 0, NAN, 1, -8, INF, 0.5])
    y = np.array([10, 3, 0, -1, -2, 0, NAN, 1 / 3, -1, -2])
    expected = [1024, -8, 1, -INF, INF, 1, 1, NAN, 0, 4]
    np.testing.assert_array_equal(run(ops.pow, x, y), expected)


def test_select_takes_each_place_from_its_side() -> None:
    p, a, b = np.array([True, False]), np.array([1.0, NAN]), np.array([NAN, 2.0])
    assert run(ops.select, p, a, b).tolist() == [1, 2]


# -- integers ---------------------------------------------------------------------------------


def wrap(value: int, dtype: DType) -> int:
    return (value - dtype.min) % (1 << dtype.bits) + dtype.min


def some_integers(dtype: DType) -> list[int]:
    values = {0, 1, 2, 3, 7, 100, dtype.max // 2, dtype.max - 1, dtype.max}
    values |= {dtype.min, dtype.min + 1}
    return sorted(values | ({-1, -2, -3, -7} if dtype.kind == "i" else set()))


def pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    values = some_integers(dtype)
    x = np.array([a for a in values for _ in values], dtype.numpy)
    y = np.array([b for _ in values for b in values], dtype.numpy)
    return x, y


def _pow(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y, 1 << 64) if x >= 0 else (-1) ** (y % 2) * pow(-x, y, 1 << 64)
    return {1: 1, -1: -1 if y % 2 else 1}.get(x, 0)


def _shift_right(x: int, y: int, bits: int) -> int:
    return (-1 if x < 0 else 0) if not 0 <= y < bits else x >> y


INTEGER_BINARY: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, _: x + y, "sub": lambda x, y, _: x - y, "mul": lambda x, y, _: x * y,
    "maximum": lambda x, y, _: max(x, y), "minimum": lambda x, y, _: min(x, y),
    "bitwise_and": lambda x, y, _: x & y, "bitwise_or": lambda x, y, _: x | y,
    "bitwise_xor": lambda x, y, _: x ^ y, "pow": lambda x, y, _: _pow(x, y),
    "shift_left": lambda x, y, bits: x << y if 0 <= y < bits else 0,
    "shift_right": _shift_right,
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", INTEGER_BINARY)
def test_integer_binary(name: str, dtype: DType) -> None:
    x, y = pairs(dtype)
    reference = INTEGER_BINARY[name]
    expected = [wrap(reference(int(a), int(b), dtype.bits), dtype) for a, b in zip(x, y)]
    found = run(ops.PRIMITIVES[name], x, y)
    assert found.dtype == x.dtype
    assert found.tolist() == expected


def _truncated(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


INTEGER_DIVISIONS: dict[str, Callable[[int, int], int]] = {
    "floor_divide": operator.floordiv, "remainder": operator.mod, "trunc_divide": _truncated,
    "fmod": lambda x, y: x - _truncated(x, y) * y,
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", INTEGER_DIVISIONS)
def test_integer_division(name: str, dtype: DType) -> None:
    prim, reference = ops.PRIMITIVES[name], INTEGER_DIVISIONS[name]
    x, y = pairs(dtype)
    x, y = x[y != 0], y[y != 0]
    expected = [wrap(reference(int(a), int(b)), dtype) for a, b in zip(x, y)]
    assert run(prim, x, y).tolist() == expected
    with pytest.raises(DivisionByZero, match=f"^{name}: integer division by zero"):
        run(prim, x, np.zeros_like(x))
    assert run(prim, x[:0], x[:0]).shape == (0,)


INTEGER_UNARY: dict[str, Callable[[int], int]] = {
    "neg": operator.neg, "abs": abs, "sign": lambda x: (x > 0) - (x < 0),
    "bitwise_not": operator.invert,
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", INTEGER_UNARY)
def test_integer_unary(name: str, dtype: DType) -> None:
    x = np.array(some_integers(dtype), dtype.numpy)
    expected = [wrap(INTEGER_UNARY[name](int(v)), dtype) for v in x]
    found = run(ops.PRIMITIVES[name], x)
    assert found.dtype == x.dtype
    assert found.tolist() == expected


def test_zero_d_integers_wrap_as_well() -> None:
    x = np.array(127, np.int8)
    assert run(ops.add, x, x) == -2
    assert run(ops.trunc_divide, np.array(-128, np.int8), np.array(-1, np.int8)) == -128
    assert run(ops.pow, x, np.array(-1, np.int8)).shape == ()


def test_logic_on_bools() -> None:
    p, q = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert run(ops.bitwise_and, p, q).tolist() == [False, False, False, True]
    assert run(ops.bitwise_or, p, q).tolist() == [False, True, True, True]
    assert run(ops.bitwise_xor, p, q).tolist() == [False, True, True, False]
    assert run(ops.bitwise_not, p).tolist() == [True, True, False, False]
    assert run(ops.maximum, p, q).tolist() == [False, True, True, True]
    assert run(ops.minimum, p, q).tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(name: str) -> None:
    prim, reference = ops.PRIMITIVES[name], getattr(operator, name)
    x, y = (a.ravel() for a in np.meshgrid(SPECIALS, SPECIALS))
    assert run(prim, x, y).tolist() == [reference(a, b) for a, b in zip(x.tolist(), y.tolist())]
    x, y = pairs(uint64)
    assert run(prim, x, y).tolist() == [reference(a, b) for a, b in zip(x.tolist(), y.tolist())]


def test_tests_for_nan_and_inf() -> None:
    x = np.array([0.0, NAN, INF, -INF], np.float32)
    assert run(ops.isnan, x).tolist() == [False, True, False, False]
    assert run(ops.isinf, x).tolist() == [False, False, True, True]


# -- conversions ------------------------------------------------------------------------------


def _cast(value: Any, dtype: DType) -> Any:
    if dtype.is_bool:
        return value != 0
    if not dtype.is_integer:
        return dtype.numpy.type(value)
    if isinstance(value, float):
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return dtype.max if value > 0 else dtype.min
        return min(max(math.trunc(value), dtype.min), dtype.max)
    return wrap(int(value), dtype)


@pytest.mark.parametrize("to", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("source", DTYPES, ids=lambda d: d.name)
def test_cast(source: DType, to: DType) -> None:
    if source.is_float:
        edges = [0.9, -0.9, 127.5, -128.9, 128, 255.9, -1, 2.0**31, 2.0**63, -(2.0**63), 2.0**64]
        x = np.array([*SPECIALS, *edges, 1e30], source.numpy)
    else:
        x = np.array([0, 1] if source.is_bool else some_integers(source), source.numpy)
    with np.errstate(all="ignore"):
        expected = np.array([_cast(v, to) for v in x.tolist()], to.numpy)
    found = run(ops.cast, x, dtype=to)
    assert found.dtype == to.numpy
    np.testing.assert_array_equal(found, expected)
    assert run(ops.cast, x[0:1].reshape(()), dtype=to).shape == ()


def test_bitcast() -> None:
    x = np.array([1.0, -0.0, NAN], np.float32)
    assert run(ops.bitcast, x, dtype=uint32).tolist()[:2] == [0x3F800000, 0x80000000]
    back = run(ops.bitcast, run(ops.bitcast, x, dtype=int32), dtype=float32)
    assert back.tobytes() == x.tobytes()


def test_threefry_known_answers() -> None:
    # The published test vectors of Threefry-2x32 with 20 rounds.
    def block(k0: int, k1: int, c0: int, c1: int) -> list[int]:
        words = [np.array([v], np.uint32) for v in (k0, k1, c0, c1)]
        return [int(r[0]) for r in run(ops.threefry2x32, *words)]

    ones = 0xFFFFFFFF
    assert block(0, 0, 0, 0) == [0x6B200159, 0x99BA4EFE]
    assert block(ones, ones, ones, ones) == [0x1CB996FC, 0xBB002BE7]
    assert block(0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3) == [0xC4923A9C, 0x483DF7A0]


# -- movement ---------------------------------------------------------------------------------

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_views() -> None:
    x = X
    views = [
        run(ops.reshape, x, shape=(6, 4)),
        run(ops.permute, x, axes=(2, 0, 1)),
        run(ops.broadcast, x, shape=(2, 5, 3, 4), axes=(0, 2, 3)),
        run(ops.slice, x, start=(0, 1, 0), stop=(2, 3, 4), step=(1, 1, 3)),
        run(ops.flip, x, axes=(0, 2)),
    ]
    assert all(np.shares_memory(v, x) for v in views)
    assert [v.shape for v in views] == [(6, 4), (4, 2, 3), (2, 5, 3, 4), (2, 2, 2), (2, 3, 4)]
    assert views[1][3, 1, 2] == x[1, 2, 3]
    assert views[2][1, 4, 2, 3] == x[1, 2, 3]
    np.testing.assert_array_equal(views[3], x[:, 1:, ::3])
    np.testing.assert_array_equal(views[4], x[::-1, :, ::-1])


def test_movement_of_zero_d() -> None:
    x = np.array(3.0)
    assert run(ops.reshape, x, shape=(1, 1)).shape == (1, 1)
    assert run(ops.permute, x, axes=()).shape == ()
    assert run(ops.broadcast, x, shape=(2,), axes=()).tolist() == [3, 3]
    assert run(ops.slice, x, start=(), stop=(), step=()).shape == ()
    assert run(ops.flip, x, axes=()).shape == ()
    assert run(ops.pad, x, np.array(1.0), low=(), high=(), interior=()).shape == ()


def test_broadcast_repeats_size_one() -> None:
    x = np.array([[1], [2]], np.int64)
    assert run(ops.broadcast, x, shape=(2, 3), axes=(0, 1)).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_pad() -> None:
    x, value = np.array([1, 2, 3], np.int8), np.array(9, np.int8)
    assert run(ops.pad, x, value, low=(1,), high=(2,), interior=(1,)).tolist() == [
        9, 1, 9, 2, 9, 3, 9, 9,
    ]  # fmt: skip
    assert run(ops.pad, x[:0], value, low=(1,), high=(0,), interior=(5,)).tolist() == [9]


def test_concat_and_iota() -> None:
    a, b = np.ones((2, 1)), np.zeros((2, 2))
    assert run(ops.concat, a, b, a, axis=1).tolist() == [[1, 0, 0, 1]] * 2
    assert run(ops.iota, shape=(2, 3), axis=1, dtype=int32).tolist() == [[0, 1, 2]] * 2
    assert run(ops.iota, shape=(2, 3), axis=0, dtype=float32).dtype == np.float32
    assert run(ops.iota, shape=(300,), axis=0, dtype=uint8)[299] == 43


def test_constant_is_read_only() -> None:
    found = run(ops.constant, value=ops.Constant(X))
    np.testing.assert_array_equal(found, X)
    assert not found.flags.writeable


# -- reductions, scans, sorting ----------------------------------------------------------------

REDUCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "reduce_sum": sum, "reduce_prod": math.prod,
    "reduce_max": max, "reduce_min": min, "reduce_any": any, "reduce_all": all,
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 2), (0, 1, 2)])
def test_reductions(name: str, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).integers(-3, 4, (2, 3, 4))
    x = x > 0 if name in ("reduce_any", "reduce_all") else x.astype(np.float32)
    found = run(ops.PRIMITIVES[name], x, axes=axes)
    kept = [a for a in range(3) if a not in axes]
    lines = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), -1)
    assert found.dtype == x.dtype
    assert found.shape == lines.shape[:-1]
    for place in np.ndindex(found.shape):
        assert found[place] == REDUCTIONS[name](lines[place].tolist())
    assert not np.shares_memory(found, x)


def test_reductions_of_nothing_and_of_nan() -> None:
    empty = np.zeros((0, 2), np.float32)
    assert run(ops.reduce_sum, empty, axes=(0,)).tolist() == [0, 0]
    assert run(ops.reduce_prod, empty, axes=(0,)).tolist() == [1, 1]
    x = np.array([1.0, NAN, 3.0])
    for prim in (ops.reduce_sum, ops.reduce_prod, ops.reduce_max, ops.reduce_min):
        assert math.isnan(run(prim, x, axes=(0,)))
    assert run(ops.argmax, x, axis=0) == 1
    assert run(ops.argmin, x, axis=0) == 1


def test_integer_sums_wrap() -> None:
    x = np.full(3, 100, np.int8)
    assert run(ops.reduce_sum, x, axes=(0,)) == wrap(300, int8)
    assert run(ops.reduce_prod, x, axes=(0,)) == wrap(10**6, int8)
    assert run(ops.cumsum, x, axis=0, reverse=False).tolist() == [100, -56, 44]


def test_argmax_takes_the_first() -> None:
    x = np.array([[1, 3, 3], [2, 2, 0]])
    assert run(ops.argmax, x, axis=1).tolist() == [1, 0]
    assert run(ops.argmin, x, axis=0).tolist() == [0, 1, 1]
    assert run(ops.argmax, x, axis=1).dtype == np.int64


def test_cumsum() -> None:
    x = np.array([[1.0, 2, 3], [4, 5, 6]], np.float32)
    assert run(ops.cumsum, x, axis=1, reverse=False).tolist() == [[1, 3, 6], [4, 9, 15]]
    backwards = run(ops.cumsum, x, axis=0, reverse=True)
    assert backwards.tolist() == [[5, 7, 9], [4, 5, 6]]
    assert backwards.flags.c_contiguous


def test_sort_is_stable_with_nan_last() -> None:
    key = np.array([2.0, NAN, 1.0, 2.0, -0.0, 0.0, NAN])
    order = np.arange(7)
    values, places = run(ops.sort, key, order, axis=0, descending=False)
    np.testing.assert_array_equal(values, [-0.0, 0.0, 1, 2, 2, NAN, NAN])
    assert places.tolist() == [4, 5, 2, 0, 3, 1, 6]
    values, places = run(ops.sort, key, order, axis=0, descending=True)
    np.testing.assert_array_equal(values, [NAN, NAN, 2, 2, 1, 0, 0])
    assert places.tolist() == [1, 6, 0, 3, 2, 4, 5]
    rows, _ = run(ops.sort, X, X, axis=1, descending=True)
    np.testing.assert_array_equal(rows, X[:, ::-1])


# -- contraction -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int8", "uint32"])
def test_dot_general(name: str) -> None:
    rng = np.random.default_rng(2)
    dtype = BY_NAME[name].numpy
    a = rng.integers(0, 5, (3, 2, 4, 5)).astype(dtype)
    b = rng.integers(0, 5, (5, 6, 2, 3)).astype(dtype)
    found = run(ops.dot_general, a, b, contract=((3, 0), (0, 3)), batch=((1,), (2,)))
    with np.errstate(all="ignore"):
        expected = np.einsum("abmk,knba->bmn", a, b).astype(dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_dot_general_of_vectors_and_of_nothing() -> None:
    x = np.array([1.0, 2, 3])
    assert run(ops.dot_general, x, x, contract=((0,), (0,)), batch=((), ())).tolist() == 14
    outer = run(ops.dot_general, x, x, contract=((), ()), batch=((), ()))
    assert outer.tolist() == np.outer(x, x).tolist()
    a = np.zeros((2, 0), np.float32)
    found = run(ops.dot_general, a, a, contract=((1,), (1,)), batch=((), ()))
    assert found.tolist() == [[0, 0], [0, 0]]


# -- indexing ----------------------------------------------------------------------------------


def places_of(x: np.ndarray, indices: list[np.ndarray], axes: tuple[int, ...], batch: int) -> Any:
    """All `(place in the result, place in x)`, from the definition."""
    rest = [a for a in range(batch, x.ndim) if a not in axes]
    for at in np.ndindex(indices[0].shape):
        for r in np.ndindex(*(x.shape[a] for a in rest)):
            place: list[int] = [0] * x.ndim
            place[:batch] = at[:batch]
            for a, index in zip(axes, indices):
                place[a] = int(index[at]) % x.shape[a]
            for a, v in zip(rest, r):
                place[a] = v
            yield (*at, *r), tuple(place)


CASES = [((0,), 0, (2, 2)), ((1,), 0, (3,)), ((0, 2), 0, (5,)), ((1,), 1, (2, 3)),
         ((2,), 1, (2, 1)), ((2,), 2, (2, 3, 2)), ((1, 2), 1, (2, 2)), ((1,), 0, ()),
         ((0, 1, 2), 0, (3, 2))]  # fmt: skip


def index_arrays(x: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [np.asarray(rng.integers(-x.shape[a], x.shape[a], shape), np.int64) for a in axes]


@pytest.mark.parametrize(("axes", "batch", "shape"), CASES)
def test_gather(axes: tuple[int, ...], batch: int, shape: tuple[int, ...]) -> None:
    indices = index_arrays(X, axes, shape)
    found = run(ops.gather, X, *indices, axes=axes, batch=batch, wrap=True)
    seen = 0
    for at, place in places_of(X, indices, axes, batch):
        assert found[at] == X[place]
        seen += 1
    assert seen == found.size
    assert not np.shares_memory(found, X)


COMBINE: dict[str, Callable[[float, float], float]] = {
    "set": lambda old, new: new, "add": operator.add, "mul": operator.mul, "min": min, "max": max,
}  # fmt: skip


@pytest.mark.parametrize("combiner", COMBINE)
@pytest.mark.parametrize(("axes", "batch", "shape"), CASES)
def test_scatter(
    axes: tuple[int, ...], batch: int, shape: tuple[int, ...], combiner: str
) -> None:
    indices = index_arrays(X, axes, shape)
    expected = X.copy()
    result = run(ops.gather, X, *indices, axes=axes, batch=batch, wrap=True)
    updates = np.random.default_rng(4).integers(-9, 9, result.shape).astype(np.float32)
    for at, place in places_of(X, indices, axes, batch):
        expected[place] = COMBINE[combiner](expected[place], updates[at])
    found = run(
        ops.scatter, X, updates, *indices, axes=axes, batch=batch, wrap=True, combiner=combiner
    )
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, X)


def test_index_errors_name_the_first_bad_element() -> None:
    x = np.zeros((2, 5))
    good, bad = np.array([0, 1, 0]), np.array([0, 5, -7])
    with pytest.raises(IndexOutOfRange, match="gather: index 5 is out of range for axis 1"):
        run(ops.gather, x, good, bad, axes=(0, 1), batch=0, wrap=True)
    with pytest.raises(IndexOutOfRange, match="index -1 is out of range for axis 0 with size 2"):
        run(ops.gather, x, np.array([-1]), axes=(0,), batch=0, wrap=False)
    extreme = np.array([np.iinfo(np.int64).min])
    with pytest.raises(IndexOutOfRange, match="scatter: index -9223372036854775808"):
        updates = np.zeros((1, 5))
        run(ops.scatter, x, updates, extreme, axes=(0,), batch=0, wrap=True, combiner="add")
    none = np.zeros(0, np.int64)
    assert run(ops.gather, np.zeros((0, 3)), none, axes=(0,), batch=0, wrap=True).shape == (0, 3)


def test_check() -> None:
    assert run(ops.check, np.array([True]), message="must hold") == ()
    with pytest.raises(AssertionFailed, match="must hold"):
        run(ops.check, np.array([True, False]), message="must hold")


def test_nothing_warns_under_errstate() -> None:
    big = np.array([1e38], np.float32)
    assert run(ops.mul, big, big)[0] == INF
    assert run(ops.cast, np.array([1e300]), dtype=float32)[0] == INF
    assert bool_.numpy == run(ops.isinf, big).dtype
    assert int64.numpy == run(ops.cast, np.array([1e300]), dtype=int64).dtype
    assert run(ops.exp, np.array([1e3], float64.numpy))[0] == INF
