"""The primitives of the IR, by family. `from gradc.tracer import ops; ops.add`."""

from gradc.tracer.ops.contraction import dot_general
from gradc.tracer.ops.effects import check
from gradc.tracer.ops.elementwise import (
    abs, acos, acosh, add, asin, asinh, atan, atan2, atanh, bitcast, bitwise_and, bitwise_not,
    bitwise_or, bitwise_xor, cast, ceil, cos, cosh, digamma, div, eq, erf, erfinv, exp, expm1,
    floor, floor_divide, fmod, ge, gt, isinf, isnan, le, lgamma, log, log1p, lt, maximum, minimum,
    mul, ne, neg, pow, remainder, round, rsqrt, select, shift_left, shift_right, sign, sin, sinh,
    sqrt, sub, tan, tanh, threefry2x32, trunc, trunc_divide,
)  # fmt: skip
from gradc.tracer.ops.indexing import gather, scatter
from gradc.tracer.ops.movement import (
    Constant, broadcast, concat, constant, flip, iota, pad, permute, reshape, slice,
)  # fmt: skip
from gradc.tracer.ops.primitive import PRIMITIVES, Primitive
from gradc.tracer.ops.reduction import (
    argmax, argmin, cumsum, reduce_all, reduce_any, reduce_max, reduce_min, reduce_prod,
    reduce_sum, sort,
)  # fmt: skip

__all__ = [
    "PRIMITIVES", "Constant", "Primitive", "abs", "acos", "acosh", "add", "argmax", "argmin", "asin",
    "asinh", "atan", "atan2", "atanh", "bitcast", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "broadcast", "cast", "ceil", "check", "concat", "constant", "cos", "cosh",
    "cumsum", "digamma", "div", "dot_general", "eq", "erf", "erfinv", "exp", "expm1", "flip",
    "floor", "floor_divide", "fmod", "gather", "ge", "gt", "iota", "isinf", "isnan", "le",
    "lgamma", "log", "log1p", "lt", "maximum", "minimum", "mul", "ne", "neg", "pad", "permute",
    "pow", "reduce_all", "reduce_any", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum",
    "remainder", "reshape", "round", "rsqrt", "scatter", "select", "shift_left", "shift_right",
    "sign", "sin", "sinh", "slice", "sort", "sqrt", "sub", "tan", "tanh", "threefry2x32", "trunc",
    "trunc_divide",
]  # fmt: skip
