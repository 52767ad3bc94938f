"""Elementwise primitives: one scalar function applied at every index.

All operands have the same type, unless said. The groups say which dtype kinds are taken
(`b` bool, `i` signed, `u` unsigned, `f` floating) and what comes out.
"""

from __future__ import annotations

from gradc.tracer.errors import DTypeError, ShapeError
from gradc.tracer.graph.types import DType, TensorType, bool_, uint32
from gradc.tracer.ops.primitive import (
    InferRule,
    Primitive,
    primitive,
    require_dtype,
    require_kind,
    same_type,
)


def _same(name: str, kinds: str) -> InferRule:
    def infer(*types: TensorType) -> tuple[TensorType, ...]:
        require_kind(name, types[0], kinds)
        return (same_type(name, *types),)

    return infer


def _to_bool(name: str, kinds: str) -> InferRule:
    def infer(*types: TensorType) -> tuple[TensorType, ...]:
        require_kind(name, types[0], kinds)
        return (same_type(name, *types).with_dtype(bool_),)

    return infer


def _define(name: str, kinds: str, fails_on: str = "") -> Primitive:
    return primitive(name, _same(name, kinds), "elementwise", fails_on)


def _test(name: str, kinds: str) -> Primitive:
    return primitive(name, _to_bool(name, kinds), "elementwise")


# One operand, same type out.
neg = _define("neg", "iuf")
abs = _define("abs", "iuf")
sign = _define("sign", "iuf")  # of -0.0 and of NaN: 0, as in torch
floor = _define("floor", "f")
ceil = _define("ceil", "f")
trunc = _define("trunc", "f")
round = _define("round", "f")  # half to even
sqrt = _define("sqrt", "f")
rsqrt = _define("rsqrt", "f")
exp = _define("exp", "f")
expm1 = _define("expm1", "f")
log = _define("log", "f")
log1p = _define("log1p", "f")
sin = _define("sin", "f")
cos = _define("cos", "f")
tan = _define("tan", "f")
asin = _define("asin", "f")
acos = _define("acos", "f")
atan = _define("atan", "f")
sinh = _define("sinh", "f")
cosh = _define("cosh", "f")
tanh = _define("tanh", "f")
sigmoid = _define("sigmoid", "f")
asinh = _define("asinh", "f")
acosh = _define("acosh", "f")
atanh = _define("atanh", "f")
erf = _define("erf", "f")
erfinv = _define("erfinv", "f")
lgamma = _define("lgamma", "f")
digamma = _define("digamma", "f")
bitwise_not = _define("bitwise_not", "biu")  # logical not on bool

# Two operands of one type, same type out.
add = _define("add", "iuf")
sub = _define("sub", "iuf")
mul = _define("mul", "iuf")
div = _define("div", "f")
floor_divide = _define("floor_divide", "iuf", fails_on="iu")  # rounds towards -inf
trunc_divide = _define("trunc_divide", "iu", fails_on="iu")  # rounds towards 0
remainder = _define("remainder", "iuf", fails_on="iu")  # sign of the divisor
fmod = _define("fmod", "iuf", fails_on="iu")  # sign of the dividend
pow = _define("pow", "iuf")  # integers: wraps; negative exponents give 0 but for bases 1 and -1
atan2 = _define("atan2", "f")
maximum = _define("maximum", "biuf")  # NaN if either is
minimum = _define("minimum", "biuf")
bitwise_and = _define("bitwise_and", "biu")
bitwise_or = _define("bitwise_or", "biu")
bitwise_xor = _define("bitwise_xor", "biu")
shift_left = _define("shift_left", "iu")  # 0 when the count is negative or past the width
shift_right = _define("shift_right", "iu")  # arithmetic on signed; past the width: sign fill

# Comparisons and tests, bool out.
eq = _test("eq", "biuf")
ne = _test("ne", "biuf")
lt = _test("lt", "biuf")
le = _test("le", "biuf")
gt = _test("gt", "biuf")
ge = _test("ge", "biuf")
isnan = _test("isnan", "f")
isinf = _test("isinf", "f")


def _infer_select(p: TensorType, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    require_dtype("select", p, bool_)
    out = same_type("select", a, b)
    if p.shape != out.shape:
        raise ShapeError("select: shapes differ", operands=map(str, (p, a, b)))
    return (out,)


# select(p, a, b): a where p, else b.
select = primitive("select", _infer_select, "elementwise")


def _infer_cast(x: TensorType, *, dtype: DType) -> tuple[TensorType, ...]:
    return (x.with_dtype(dtype),)


# cast(x; dtype): float to integer truncates and saturates, NaN gives 0; to bool is `x != 0`;
# integer to narrower integer wraps.
cast = primitive("cast", _infer_cast, "elementwise")


def _infer_bitcast(x: TensorType, *, dtype: DType) -> tuple[TensorType, ...]:
    if dtype.bits != x.dtype.bits or dtype.is_bool or x.dtype.is_bool:
        raise DTypeError(f"bitcast: {x.dtype.name} and {dtype.name} differ in width")
    return (x.with_dtype(dtype),)


# bitcast(x; dtype): the same bits read as another type of the same width.
bitcast = primitive("bitcast", _infer_bitcast, "elementwise")


def _infer_threefry(*types: TensorType) -> tuple[TensorType, ...]:
    out = same_type("threefry2x32", *types)
    require_dtype("threefry2x32", out, uint32)
    return (out, out)


# threefry2x32(k0, k1, c0, c1) -> (r0, r1): the 20-round Threefry-2x32 block function.
threefry2x32 = primitive("threefry2x32", _infer_threefry, "elementwise")
