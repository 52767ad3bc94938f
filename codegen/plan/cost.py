"""What things cost: the one place that weighs recomputing against storing.

Units are rough cycles per element on one lane of a vector machine; memory is in bytes. Nothing
here affects results, only which values are kept in buffers.

    op_cost(exp)      -> 12        a polynomial
    op_cost(add)      -> 1
"""

from __future__ import annotations

from math import prod

from gradc.codegen.plan.access import contracted_sizes
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn
from gradc.tracer.graph.types import TensorType
from gradc.tracer.ops.primitive import Primitive

# Bytes that a row's working set may take and still be in the fast caches when read again.
ROW_CACHE_BYTES = 256 * 1024
# Bytes a function may keep on the stack for one row.
SCRATCH_BYTES = 32 * 1024
# A value used by several computations is worth keeping from this many cycles on ...
KEEP_CYCLES = 5
# ... or when computing it again reads at least this many arrays of its own size.
KEEP_READS = 3
# Within one row, where keeping costs a cached store and load only.
SCRATCH_CYCLES = 8
# Expressions are cut here, so that no function grows without bound.
MAX_EXPRESSION_OPS = 160
MAX_EXPRESSION_DEPTH = 60
# A matrix is read once for each of so few vectors rather than copied for a product of matrices.
FEW_VECTORS = 4
# Elements of an array that stays in the fastest cache, however it is read.
SMALL = 4096
# Members of one kernel, and what they may cost together at one element: keeping a value is nothing
# to so much arithmetic, and compilers take more than twice the time for twice as long a loop.
MAX_ROOTS = 48
MAX_KERNEL_CYCLES = 500

_EXPENSIVE: dict[Primitive, int] = {
    **dict.fromkeys((ops.exp, ops.log, ops.sin, ops.cos, ops.atan), 12),
    ops.sigmoid: 16,
    **dict.fromkeys((ops.expm1, ops.log1p, ops.tanh, ops.sinh, ops.cosh, ops.tan, ops.erf), 20),
    **dict.fromkeys((ops.asin, ops.acos, ops.asinh, ops.acosh, ops.atanh, ops.erfinv), 25),
    **dict.fromkeys((ops.pow, ops.atan2, ops.lgamma, ops.digamma), 40),
    **dict.fromkeys((ops.sqrt, ops.rsqrt, ops.div), 4),
    **dict.fromkeys((ops.floor_divide, ops.trunc_divide, ops.remainder, ops.fmod), 15),
    ops.threefry2x32: 70,
    ops.gather: 3,
    ops.scatter: 2,
}
_MOVEMENT_CYCLES = 0


def op_cost(prim: Primitive) -> int:
    """Cycles of one application at one element."""
    if prim.family in ("movement", "creation"):
        return _MOVEMENT_CYCLES
    return _EXPENSIVE.get(prim, 1)


def nbytes(type: TensorType) -> int:
    """Bytes of an array of this type."""
    n = type.dtype.itemsize
    for d in known_shape(type.shape):
        n *= d
    return n


def flops(eqn: Eqn) -> int:
    """Arithmetic of one eqn; a multiply-add counts two."""
    n = 1
    for d in known_shape(eqn.outputs[0].type.shape if eqn.outputs else ()):
        n *= d
    if eqn.prim.family == "contraction":
        return 2 * n * prod(contracted_sizes(eqn))
    if eqn.prim.family in ("movement", "creation"):
        return 0
    if eqn.prim.family == "reduction":
        return nbytes(eqn.inputs[0].type) // eqn.inputs[0].type.dtype.itemsize
    return n
