"""The elementwise operations."""

from __future__ import annotations

import numpy as np

import gradc
import gradc.nn.functional as F
from gradc.tracer import functional as f
from gradc.tracer import ops
from gradc.tracer.graph.types import bool_, float32, float64, int32, int64, uint8, uint32
from gradc.tracer.interpreter import elementwise

from .spec import (
    ALL,
    BITS,
    FLOATS,
    INTS,
    NUMBERS,
    OpSpec,
    binary_samples,
    draw,
    unary_samples,
)


def un(name, *, dtypes=FLOATS, **options):
    prim = ops.PRIMITIVES[name]
    return OpSpec(name, lambda x: elementwise(prim, x), unary_samples, (name,), dtypes, **options)


def bi(name, *, dtypes=FLOATS, **options):
    prim = ops.PRIMITIVES[name]
    fn = lambda x, y: elementwise(prim, x, y)  # noqa: E731
    return OpSpec(name, fn, binary_samples, (name,), dtypes, **options)


def no_zero(rng, dtype, spec):
    for x, y in binary_samples(rng, dtype, spec):
        zero = (y == 0) & (y.dtype.kind != "f")
        yield [x, np.where(zero, np.ones_like(y), y)]


def shifts(rng, dtype, spec):
    for x, _ in binary_samples(rng, dtype, spec):
        yield [x, rng.integers(0, 70, x.shape).astype(x.dtype)]


def select_samples(rng, dtype, spec):
    for x, y in binary_samples(rng, dtype, spec):
        shape = np.broadcast_shapes(x.shape, y.shape)
        yield [rng.integers(0, 2, shape).astype(bool), x, y]


def words(rng, dtype, spec):
    for shape in ((), (0,), (1,), (7,), (2, 3)):
        yield [rng.integers(0, 2**32, shape, dtype=np.uint32) for _ in range(4)]
    yield [np.full((3, 4), k, np.uint32) for k in range(4)]


def spec_of(name, fn, **options):
    return OpSpec(name, fn, unary_samples, **options)


# Where a derivative jumps, samples at the jump would compare conventions, which `kinks` does.
SPECS = [
    *(un(n) for n in ("exp", "expm1", "sin", "cos", "atan", "sinh", "cosh", "tanh", "asinh", "erf")),
    *(un(n, low=0.1, high=4.0) for n in ("sqrt", "rsqrt", "log", "log1p")),
    # JAX is exact to a rounding of 1, not of the value, near the zeros of both.
    un("digamma", low=0.1, high=4.0, slack=4.0, jax_floor=1.0, jax_skip="XLA gives NaN at 0"),
    un("lgamma", low=0.1, high=4.0, slack=4.0, jax_floor=1.0),
    *(un(n, low=-0.9, high=0.9) for n in ("asin", "acos", "erfinv")),
    un("atanh", low=-0.9, high=0.9, slack=16.0, jax_skip="XLA gives NaN for denormals and beyond 1"),
    un("tan", low=-1.0, high=1.0),
    un("sigmoid", low=-8, high=8),
    un("acosh", low=1.1, high=4.0),
    *(un(n, exact=True, dtypes=NUMBERS) for n in ("abs", "sign")),
    un("neg", exact=True, dtypes=NUMBERS),
    *(un(n, exact=True, second=False) for n in ("floor", "ceil", "trunc", "round")),
    un("bitwise_not", exact=True, dtypes=BITS, grad=False),
    un("isnan", exact=True, grad=False), un("isinf", exact=True, grad=False),
    *(bi(n, exact=True, dtypes=NUMBERS) for n in ("add", "sub", "mul")),
    bi("div", exact=True, low=0.2),
    *(bi(n, exact=True, dtypes=(bool_, *NUMBERS), second=False) for n in ("maximum", "minimum")),
    bi("pow", low=0.2, high=3.0, slack=4.0),  # x**y amplifies the error of y log x
    bi("atan2", low=0.2),
    *(bi(n, exact=True, dtypes=ALL, grad=False) for n in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(bi(n, exact=True, dtypes=BITS, grad=False) for n in ("bitwise_and", "bitwise_or", "bitwise_xor")),
    *(
        OpSpec(n, lambda x, y, n=n: elementwise(ops.PRIMITIVES[n], x, y), no_zero, (n,),
               NUMBERS if n != "trunc_divide" else INTS, grad=n != "trunc_divide", low=0.3, exact=True)
        for n in ("floor_divide", "remainder", "fmod", "trunc_divide")
    ),
    *(
        OpSpec(n, lambda x, y, n=n: elementwise(ops.PRIMITIVES[n], x, y), shifts, (n,), INTS,
               grad=False, exact=True)
        for n in ("shift_left", "shift_right")
    ),
    OpSpec("pow of integers", f.pow, no_zero, ("pow",), INTS, grad=False, exact=True),
    OpSpec("where", f.where, select_samples, ("select",), ALL, exact=True),
    OpSpec("threefry2x32", ops.threefry2x32, words, ("threefry2x32",), (uint32,), grad=False, exact=True),
    *(
        OpSpec(f"cast to {d.name}", lambda x, d=d: ops.cast(x, dtype=d), unary_samples, ("cast",), ALL,
               exact=True, grad=d.is_float, second=False, numeric=d is not float32)
        for d in (bool_, float32, float64, int32, int64, uint8)
    ),
    OpSpec("bitcast", lambda x: ops.bitcast(x, dtype=int32), unary_samples, ("bitcast",),
           (float32, uint32), grad=False, exact=True),
    # What users call, made of several primitives.
    spec_of("logsigmoid", f.logsigmoid),
    spec_of("gelu", F.gelu, slack=8.0),  # 1 + erf cancels for negative x
    spec_of("gelu of tanh", lambda x: F.gelu(x, approximate="tanh")),
    spec_of("silu", F.silu), spec_of("softplus", F.softplus, special=False),
    spec_of("leaky_relu", F.leaky_relu), spec_of("square", f.square, exact=True),
    spec_of("relu", F.relu, exact=True), spec_of("log2", f.log2, low=0.1),
    spec_of("reciprocal", f.reciprocal, low=0.2, exact=True), spec_of("elu", F.elu, special=False),
    spec_of("clamp", lambda x: f.clamp(x, -0.7, 0.6), exact=True),
    OpSpec("logaddexp", f.logaddexp, binary_samples, special=False),
    OpSpec("lerp", lambda a, b: f.lerp(a, b, 0.3), binary_samples, special=False),
    OpSpec("hypot", f.hypot, binary_samples, low=0.2, special=False),
    OpSpec("isclose", f.isclose, binary_samples, grad=False, exact=True),
    OpSpec("arithmetic with numbers", lambda x: (2 - x * 3 + 1.5) / 4, unary_samples, exact=True),
    OpSpec("mixed dtypes", lambda x: (x.double() + gradc.ones(1)) * x, unary_samples, grad=False, exact=True),
]  # fmt: skip

__all__ = ["SPECS", "draw"]
