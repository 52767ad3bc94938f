"""The math helpers: error bounds, special values, integers, conversions, random bits."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from ctools import FLAGS, NUMPY, Build, Loops
from hypothesis import given
from hypothesis import strategies as st

from gradc.codegen.c.snippets import FOLDER

ACCURACY = Path(__file__).with_name("accuracy.c")
# The greatest error in units in the last place, as the comments in codegen/c/math state them.
F32_BOUNDS = {
    "exp": 1.0, "expm1": 1.5, "log": 1.0, "log1p": 1.5, "sin": 2.0, "cos": 2.0, "tan": 1.5,
    "asin": 1.5, "acos": 1.5, "atan": 2.0, "sinh": 2.0, "cosh": 2.0, "tanh": 1.5, "asinh": 0.6,
    "acosh": 0.6, "atanh": 0.6, "erf": 1.5, "sigmoid": 2.5, "sqrt": 0.5, "rsqrt": 1.5,
    "round": 0.0, "floor": 0.0, "ceil": 0.0, "trunc": 0.0,
}  # fmt: skip
F64_BOUNDS = {
    "exp": 1.0, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "sin": 1.0, "cos": 1.0, "tan": 2.2,
    "asin": 1.5, "acos": 1.5, "atan": 2.0, "sinh": 2.0, "cosh": 2.0, "tanh": 1.5, "asinh": 2.0,
    "acosh": 2.2, "atanh": 2.0, "sqrt": 0.5, "rsqrt": 1.5, "floor": 0.0, "round": 0.0,
}  # fmt: skip
# Functions that are not swept: float32, float64. Below 0 the errors of lgamma and digamma are
# relative to 1 where the value is smaller (`test_special_functions_around_their_zeros`).
OTHER_BOUNDS = {
    "erf": (1.5, 1.5), "sigmoid": (2.5, 2.5), "erfinv": (1.5, 4.0), "lgamma": (1.5, 4.0),
    "digamma": (1.5, None), "pow": (0.6, 1.5), "atan2": (2.0, 2.0),
}  # fmt: skip
NUMPY_NAME = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh",
}  # fmt: skip
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, np.inf, -np.inf, np.nan, 1e38,
           -1e38, 1e-45, -1e-45, 4503599627370497.0, -9007199254740991.0, 1.5, -1.5, 1e-40,
           0.9999999, 1.0000001, 1e308, -5e-324]  # fmt: skip
UNARY = [*F64_BOUNDS, "exp_nonpositive", "ceil", "trunc", "erf", "erfinv", "lgamma", "digamma",
         "sigmoid", "sign", "abs"]  # fmt: skip
BINARY = ["pow", "atan2", "fmod", "remainder", "floor_divide", "maximum", "minimum"]


@pytest.fixture(scope="module")
def loops(build: Build) -> Loops:
    helpers: dict[str, tuple[str, ...]] = {}
    for t in ("f32", "f64"):
        helpers |= {f"gradc_{n}_{t}": (t, t) for n in UNARY}
        helpers |= {f"gradc_{n}_{t}": (t, t, t) for n in BINARY}
    return Loops(build, helpers)


# ---- float: swept against the C library in double ------------------------------------------------


def sweep(build: Build, name: str, step: int, *flags: str) -> tuple[float, int, float]:
    """(worst ulps, wrong special values, where) over every `step`-th float."""
    own = [f for f in FLAGS if f != "-O1"]
    library = build(ACCURACY.read_text("ascii"), *own, *flags, "-I", str(FOLDER), "-lm")
    ffi = cffi.FFI()
    ffi.cdef("typedef struct { double ulps; uint32_t at; int64_t wrong; } worst;"
             f"worst worst_{name}(uint32_t first, int64_t count, uint32_t step);")  # fmt: skip
    w = getattr(ffi.dlopen(str(library)), f"worst_{name}")(7, 2**32 // step, step)
    return w.ulps, w.wrong, float(np.uint32(w.at).view(np.float32))


@pytest.mark.parametrize("name", F32_BOUNDS)
def test_float_error(build: Build, name: str) -> None:
    ulps, wrong, at = sweep(build, name, 16411, "-O2", "-march=native")
    assert wrong == 0
    assert ulps <= F32_BOUNDS[name], at


@pytest.mark.slow
@pytest.mark.parametrize("name", F32_BOUNDS)
def test_float_error_everywhere(build: Build, name: str) -> None:
    """All 2^32 floats."""
    ulps, wrong, at = sweep(build, name, 1, "-O3", "-march=native")
    assert wrong == 0
    assert ulps <= F32_BOUNDS[name], at


@pytest.mark.slow
@pytest.mark.parametrize("name", F32_BOUNDS)
def test_float_error_without_fused_multiply_add(build: Build, name: str) -> None:
    ulps, wrong, at = sweep(build, name, 17, "-O3")
    assert wrong == 0
    assert ulps <= F32_BOUNDS[name], at


# ---- double: against NumPy's long double, where that is wider ------------------------------------

WIDE = np.finfo(np.longdouble).nmant >= 63


def ulps64(got: Any, want: Any) -> Any:
    exponent = np.maximum(np.frexp(want)[1].astype(np.int64) - 53, -1074)
    with np.errstate(all="ignore"):
        return np.abs(got - want) / np.ldexp(np.longdouble(1), exponent)


def double_samples(n: int) -> Any:
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        return np.concatenate(
            [
                rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64),
                rng.uniform(-1, 1, n),
                rng.normal(size=n) * 5,
                rng.uniform(-750, 750, n),
                np.exp(rng.uniform(-40, 40, n)),
                # Next to a multiple of pi/2 as doubles come.
                [6381956970095103.0 * 2.0**797, 11.0, 22.0, 355.0, 5e-324, 1.7e308],
            ]
        )


@pytest.mark.skipif(not WIDE, reason="long double is no wider than double here")
@pytest.mark.parametrize("name", F64_BOUNDS)
def test_double_error(loops: Loops, name: str) -> None:
    check_double(loops, name, 20_000)


@pytest.mark.slow
@pytest.mark.skipif(not WIDE, reason="long double is no wider than double here")
@pytest.mark.parametrize("name", F64_BOUNDS)
def test_double_error_in_many_places(loops: Loops, name: str) -> None:
    check_double(loops, name, 2_000_000)


def check_double(loops: Loops, name: str, n: int) -> None:
    x = double_samples(n)
    got = loops(f"gradc_{name}_f64", x)
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble)
        if name == "rsqrt":
            want = 1 / np.sqrt(wide)
        else:
            want = getattr(np, NUMPY_NAME.get(name, name))(wide)
        finite = np.isfinite(want.astype(np.float64)) & np.isfinite(got)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        error = np.where(finite & (want != 0), ulps64(got, want), 0)
    assert error.max() <= F64_BOUNDS[name], x[error.argmax()]


# ---- functions NumPy does not have ---------------------------------------------------------------


def mp_error(loops: Loops, name: str, reference: Any, x: Any, *, mixed: bool) -> float:
    """The worst error: in ulps, or relative to the greater of 1 and the magnitude."""
    mp = pytest.importorskip("mpmath")
    worst = 0.0
    with mp.workprec(140):
        for a, got in zip(x, loops(f"gradc_{name}_f64", x), strict=True):
            want = mp.re(reference(mp, mp.mpf(float(a))))
            scale = mp.ldexp(1, max(mp.frexp(want)[1] - 53, -1074)) if want else 1
            error = abs(mp.mpf(float(got)) - want) / (max(1, abs(want)) if mixed else scale)
            worst = max(worst, float(error))
    return worst


RNG = np.random.default_rng(1)
ONE = 1 - np.exp(RNG.uniform(-36, 0, 150))


@pytest.mark.parametrize(
    ("name", "reference", "x", "bound"),
    [
        ("erf", lambda mp, v: mp.erf(v), RNG.uniform(-6.5, 6.5, 400), 1.5),
        ("erf", lambda mp, v: mp.erf(v), np.exp(RNG.uniform(-700, 0, 100)), 1.5),
        ("erfinv", lambda mp, v: mp.erfinv(v), RNG.uniform(-1, 1, 100), 4.0),
        ("erfinv", lambda mp, v: mp.erfinv(v), ONE, 4.0),
        ("lgamma", lambda mp, v: mp.loggamma(v), RNG.uniform(0, 12, 300), 4.0),
        ("lgamma", lambda mp, v: mp.loggamma(v), RNG.uniform(0.95, 2.05, 200), 4.0),
        ("lgamma", lambda mp, v: mp.loggamma(v), np.exp(RNG.uniform(-700, 700, 100)), 4.0),
        ("sigmoid", lambda mp, v: 1 / (1 + mp.exp(-v)), RNG.uniform(-40, 40, 600), 2.5),
        ("sigmoid", lambda mp, v: 1 / (1 + mp.exp(-v)), RNG.uniform(-700, 0, 200), 2.5),
    ],
)
def test_special_functions(loops: Loops, name: str, reference: Any, x: Any, bound: float) -> None:
    assert mp_error(loops, name, reference, x, mixed=False) <= bound


@pytest.mark.parametrize(
    ("name", "reference", "x"),
    [
        ("lgamma", lambda mp, v: mp.loggamma(v), RNG.uniform(-30, 0, 200)),
        ("digamma", lambda mp, v: mp.digamma(v), RNG.uniform(-30, 30, 300)),
        ("digamma", lambda mp, v: mp.digamma(v), np.exp(RNG.uniform(-30, 300, 100))),
    ],
)
def test_special_functions_around_their_zeros(
    loops: Loops, name: str, reference: Any, x: Any
) -> None:
    assert mp_error(loops, name, reference, x, mixed=True) <= 4e-15


@pytest.mark.parametrize("name", ["erfinv", "lgamma", "digamma", "erf"])
def test_float_special_functions_follow_the_double_ones(loops: Loops, name: str) -> None:
    x = np.random.default_rng(2).uniform(-0.999, 0.999, 20_000).astype(np.float32)
    x = np.abs(x) * 20 if name in ("lgamma", "digamma") else x
    got, want = loops(f"gradc_{name}_f32", x), loops(f"gradc_{name}_f64", x.astype(np.float64))
    assert np.all(np.abs(got - want) <= 1.5 * np.spacing(np.abs(want).astype(np.float32)))


def test_special_values(loops: Loops) -> None:
    inf, nan = np.inf, np.nan
    cases = {
        "erf": ([inf, -inf, nan, -0.0], [1, -1, nan, -0.0]),
        "erfinv": ([1, -1, 1.5, nan, -0.0], [inf, -inf, nan, nan, -0.0]),
        "lgamma": ([0.0, -1, -2, inf, -inf, nan, 1, 2], [inf, inf, inf, inf, inf, nan, 0, 0]),
        "digamma": ([0.0, -0.0, -1, inf, nan], [-inf, inf, nan, inf, nan]),
        "sigmoid": ([inf, -inf, nan, 0.0], [1, 0, nan, 0.5]),
        "sign": ([inf, -inf, nan, -0.0, 5e-5], [1, -1, 0, 0, 1]),
        "exp": ([inf, -inf, nan, -0.0], [inf, 0, nan, 1]),
        "round": ([0.5, 1.5, 2.5, -0.5, -1.5, 1e30], [0, 2, 2, -0.0, -2, 1e30]),
    }
    for name, (x, want) in cases.items():
        for t in ("f32", "f64"):
            got = loops(f"gradc_{name}_{t}", np.array(x))
            expected = np.array(want, NUMPY[t])
            np.testing.assert_array_equal(got, expected, err_msg=f"{name}_{t}")
            zero = expected == 0
            np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


def test_exp_of_what_is_never_positive_is_exp(loops: Loops) -> None:
    """The same bits, denormal results, ties of the rounding to n and NaN included."""
    floats = np.arange(2**31, 2**32, 211, dtype=np.uint32).view(np.float32)
    halves = (np.arange(-151, 1) + 0.5) / np.log2(np.e)
    near = np.concatenate([np.nextafter(halves.astype(np.float32), d) for d in (-200, 0, 200)])
    rng = np.random.default_rng(0)
    doubles = [-np.abs(double_samples(200_000)), rng.uniform(-750, 0, 200_000),
               (np.arange(-1075, 1) + 0.5) / np.log2(np.e), SPECIAL]  # fmt: skip
    with np.errstate(over="ignore"):
        special = np.array(SPECIAL, np.float32)
    samples = {"f32": np.concatenate([floats, near, special]), "f64": np.concatenate(doubles)}
    for t, x in samples.items():
        x = x[~(x > 0)]
        got, want = loops(f"gradc_exp_nonpositive_{t}", x), loops(f"gradc_exp_{t}", x)
        np.testing.assert_array_equal(got, want)


# ---- two operands --------------------------------------------------------------------------------


@pytest.mark.parametrize("t", ["f32", "f64"])
@pytest.mark.parametrize("name", ["pow", "atan2", "fmod", "remainder", "floor_divide"])
def test_two_operands_on_special_values(loops: Loops, name: str, t: str) -> None:
    with np.errstate(all="ignore"):
        values = np.array(SPECIAL, NUMPY[t])
        x, y = (v.ravel() for v in np.meshgrid(values, values))
        want = getattr(np, {"pow": "power", "atan2": "arctan2"}.get(name, name))(x, y)
    got = loops(f"gradc_{name}_{t}", x, y)
    if name in ("pow", "atan2"):
        tiny = 2 * float(np.finfo(NUMPY[t]).smallest_subnormal)
        np.testing.assert_allclose(got, want, rtol=4 * np.finfo(NUMPY[t]).eps, atol=tiny)
    else:
        np.testing.assert_array_equal(got, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))


@pytest.mark.parametrize("t", ["f32", "f64"])
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_remainders_are_exact(loops: Loops, name: str, t: str) -> None:
    rng, bits = np.random.default_rng(3), int(t[1:])
    raw = rng.integers(0, 2**bits, (2, 20_000), dtype=np.uint64).astype(f"u{bits // 8}")
    near = rng.normal(size=(2, 20_000)).astype(NUMPY[t]) * np.array([[100], [1]], NUMPY[t])
    x, y = np.concatenate([raw.view(NUMPY[t]), near], axis=1)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    np.testing.assert_array_equal(loops(f"gradc_{name}_{t}", x, y), want)


@pytest.mark.skipif(not WIDE, reason="long double is no wider than double here")
def test_pow_error(loops: Loops) -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate([np.exp(rng.uniform(-50, 50, 40_000)), rng.uniform(0.9, 1.1, 40_000)])
    y = np.concatenate([rng.uniform(-14, 14, 40_000), rng.uniform(-5000, 5000, 40_000)])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    assert ulps64(loops("gradc_pow_f64", x, y), want).max() <= 1.5
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        want32 = np.power(x32.astype(np.float64), y32.astype(np.float64))
        near = want32.astype(np.float32)
    fits = np.isfinite(near)
    error = np.abs(loops("gradc_pow_f32", x32, y32) - want32)[fits] / np.spacing(near[fits])
    assert error.max() <= 0.6


@pytest.mark.skipif(not WIDE, reason="long double is no wider than double here")
def test_atan2_error(loops: Loops) -> None:
    rng = np.random.default_rng(5)
    far = np.exp(rng.uniform(-30, 30, (2, 40_000))) * rng.choice([-1.0, 1.0], (2, 40_000))
    y, x = np.concatenate([far, rng.normal(size=(2, 40_000))], axis=1)
    want = np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble))
    assert ulps64(loops("gradc_atan2_f64", y, x), want).max() <= OTHER_BOUNDS["atan2"][1]
    y32, x32 = y.astype(np.float32), x.astype(np.float32)
    want32 = np.arctan2(y32.astype(np.float64), x32.astype(np.float64))
    error = np.abs(loops("gradc_atan2_f32", y32, x32) - want32)
    assert (error / np.spacing(np.abs(want32).astype(np.float32))).max() <= OTHER_BOUNDS["atan2"][0]


def test_the_table_of_the_docs() -> None:
    """Every bound that is tested, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text("utf-8")
    section = text.split("## Accuracy")[1].split("\n## ")[0]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in section.splitlines()
            if line.startswith("|") and not line.startswith(("| function", "|-"))]  # fmt: skip
    found = {row[0]: (row[1], row[3]) for row in rows}
    exact = {"floor", "ceil", "trunc", "round"}
    bounds = {n: (F32_BOUNDS.get(n), F64_BOUNDS.get(n)) for n in {*F32_BOUNDS, *F64_BOUNDS} - exact}
    bounds |= OTHER_BOUNDS
    stated = {n: tuple("-" if b is None else f"{b:g}" for b in pair) for n, pair in bounds.items()}
    assert found == stated
    for name, bound, worst, _ in rows:
        assert worst == "-" or float(worst) <= float(bound), name


@pytest.mark.parametrize("t", ["f32", "f64"])
def test_extremes_propagate_nan(loops: Loops, t: str) -> None:
    x = np.array([1, np.nan, np.nan, 2, np.inf])
    y = np.array([np.nan, 1, np.nan, 3, -np.inf])
    with np.errstate(invalid="ignore"):
        for name in ("maximum", "minimum"):
            np.testing.assert_array_equal(
                loops(f"gradc_{name}_{t}", x, y), getattr(np, name)(x, y).astype(NUMPY[t])
            )


# ---- integers ------------------------------------------------------------------------------------

INTEGER_OPS = ["add", "sub", "mul", "floor_divide", "trunc_divide", "remainder", "fmod", "pow",
               "shift_left", "shift_right", "maximum", "minimum"]  # fmt: skip
INTEGER_TYPES = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]


@pytest.fixture(scope="module")
def integers(build: Build) -> Loops:
    helpers: dict[str, tuple[str, ...]] = {}
    for t in INTEGER_TYPES:
        helpers |= {f"gradc_{n}_{t}": (t, t, t) for n in INTEGER_OPS}
        helpers |= {f"gradc_{n}_{t}": (t, t) for n in ("neg", "abs", "sign")}
        helpers |= {f"gradc_{f}_to_{t}": (f, t) for f in ("f32", "f64")}
    undefined_traps = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return Loops(build, helpers, *FLAGS, *undefined_traps)


def wrapped(value: int, t: str) -> int:
    bits = int(t[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if t[0] == "i" and value >> (bits - 1) else value


def truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def integer_truth(op: str, a: int, b: int, t: str) -> int:
    """What the operation means, in Python's whole numbers."""
    bits = int(t[1:])
    if op in ("floor_divide", "trunc_divide", "remainder", "fmod") and b == 0:
        return 0
    if op == "pow":
        if b < 0:
            return {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
        return wrapped(pow(a, b, 1 << bits), t)
    if op in ("shift_left", "shift_right"):
        inside = 0 <= b < bits
        if op == "shift_left":
            return wrapped(a << b, t) if inside else 0
        return a >> (b if inside else bits)
    rules = {
        "add": operator.add, "sub": operator.sub, "mul": operator.mul,
        "floor_divide": operator.floordiv, "remainder": operator.mod, "maximum": max,
        "minimum": min, "trunc_divide": truncated, "fmod": lambda a, b: a - truncated(a, b) * b,
    }  # fmt: skip
    return wrapped(rules[op](a, b), t)


@pytest.mark.parametrize("t", INTEGER_TYPES)
@pytest.mark.parametrize("op", INTEGER_OPS)
def test_integers(integers: Loops, op: str, t: str) -> None:
    info = np.iinfo(NUMPY[t])
    edge = [info.min, info.min + 1, -3, -2, -1, 0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64, info.max - 1,
            info.max, info.max // 2, 100]  # fmt: skip
    values = [v for v in edge if info.min <= v <= info.max]
    x, y = (v.ravel() for v in np.meshgrid(np.array(values, NUMPY[t]), np.array(values, NUMPY[t])))
    got = integers(f"gradc_{op}_{t}", x, y)
    want = [integer_truth(op, int(a), int(b), t) for a, b in zip(x, y, strict=True)]
    assert got.tolist() == want


@given(st.sampled_from(INTEGER_TYPES), st.sampled_from(INTEGER_OPS), st.data())
def test_any_integers(integers: Loops, t: str, op: str, data: st.DataObject) -> None:
    info = np.iinfo(NUMPY[t])
    number = st.integers(int(info.min), int(info.max))
    a, b = data.draw(number), data.draw(st.one_of(number, st.integers(0, 9)))
    got = integers(f"gradc_{op}_{t}", np.array([a], NUMPY[t]), np.array([b], NUMPY[t]))
    assert got.tolist() == [integer_truth(op, a, b, t)]


@pytest.mark.parametrize("t", INTEGER_TYPES)
def test_one_integer(integers: Loops, t: str) -> None:
    info = np.iinfo(NUMPY[t])
    x = np.array([info.min, info.max, 0, 1, 5], NUMPY[t])
    for op, rule in (("neg", lambda v: -v), ("abs", abs), ("sign", lambda v: (v > 0) - (v < 0))):
        want = [wrapped(rule(int(v)), t) for v in x]
        assert integers(f"gradc_{op}_{t}", x).tolist() == want


@pytest.mark.parametrize("t", INTEGER_TYPES)
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_floats_to_integers_saturate(integers: Loops, source: str, t: str) -> None:
    info, wide = np.iinfo(NUMPY[t]), NUMPY[source]
    low, high = wide(float(info.min)), wide(float(info.max))
    around = [np.nextafter(v, wide(d)) for v in (low, high) for d in (-np.inf, np.inf)]
    x = np.array([0, -0.0, 0.9, -0.9, 1.5, -1.5, 100.7, np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40,
                  low, high, *around], wide)  # fmt: skip
    want = [0 if np.isnan(v) else int(min(max(float(v), -1e40), 1e40)) for v in x]
    want = [min(max(v, int(info.min)), int(info.max)) for v in want]
    assert integers(f"gradc_{source}_to_{t}", x).tolist() == want


# ---- random bits ---------------------------------------------------------------------------------


def test_threefry(build: Build) -> None:
    """The published answers for 20 rounds of Threefry-2x32."""
    text = """
    void block(const uint32_t *k, uint32_t *r)
    {
        const gradc_threefry_block b = gradc_threefry2x32(k[0], k[1], k[2], k[3]);
        r[0] = b.r0;
        r[1] = b.r1;
    }
    """
    source = f'#include "{FOLDER / "random.h"}"\n{text}'
    ffi = cffi.FFI()
    ffi.cdef("void block(const uint32_t *k, uint32_t *r);")
    library = ffi.dlopen(str(build(source, *FLAGS)))
    for key, want in (
        ([0, 0, 0, 0], [0x6B200159, 0x99BA4EFE]),
        ([0xFFFFFFFF] * 4, [0x1CB996FC, 0xBB002BE7]),
        ([0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3], [0xC4923A9C, 0x483DF7A0]),
    ):
        result = ffi.new("uint32_t[2]")
        library.block(ffi.new("uint32_t[4]", key), result)
        assert list(result) == want
