"""What users call: functions of tensors, with torch's names. Composites over the primitives.

    math      elementwise            shape    movement
    reduce    reductions, order      index    indexing, gather, scatter
    linear    products
"""

from gradc.tracer.functional.index import (
    assign_index, embedding, gather, index, index_add, index_put, index_select, masked_select,
    nonzero, one_hot, scatter, scatter_add, take_along_dim,
)  # fmt: skip
from gradc.tracer.functional.linear import (
    addmm, bmm, dot, einsum, linear, matmul, mm, mv, outer, tensordot,
)  # fmt: skip
from gradc.tracer.functional.math import (
    abs, absolute, acos, acosh, add, addcdiv, addcmul, arccos, arccosh, arcsin, arcsinh, arctan,
    arctan2, arctanh, asin, asinh, atan, atan2, atanh, bitwise_and, bitwise_left_shift,
    bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, ceil, clamp, clip, clone, cos,
    cosh, digamma, div, divide, elu, eq, equal_to, erf, erfinv, exp, exp2, expm1, fix, floor,
    floor_divide, fmod, ge, gelu, greater, greater_equal, gt, hypot, isclose, isfinite, isinf,
    isnan, le, leaky_relu, lerp, less, less_equal, lgamma, log, log1p, log2, log10, logaddexp,
    logical_and, logical_not, logical_or, logical_xor, logsigmoid, lt, masked_fill, maximum,
    minimum, mul, multiply, ne, neg, negative, not_equal, pow, reciprocal, relu, remainder,
    round, rsqrt, sigmoid, sign, silu, sin, sinh, softplus, sqrt, square, sub, subtract, tan,
    tanh, true_divide, trunc, where,
)  # fmt: skip
from gradc.tracer.functional.reduce import (
    all, amax, amin, any, argmax, argmin, argsort, count_nonzero, cumsum, log_softmax, logsumexp,
    max, mean, median, min, norm, prod, softmax, sort, std, sum, topk, var,
)  # fmt: skip
from gradc.tracer.functional.shape import (
    broadcast_tensors, broadcast_to, cat, chunk, concat, concatenate, diag, diagonal, expand,
    expand_as, flatten, flip, meshgrid, movedim, narrow, pad, permute, ravel, repeat,
    repeat_interleave, reshape, roll, split, squeeze, stack, swapaxes, swapdims, t, tensor_split,
    tile, transpose, transpose_all, tril, triu, unbind, unflatten, unsqueeze, view,
)  # fmt: skip

__all__ = [name for name in dir() if not name.startswith("_")]
