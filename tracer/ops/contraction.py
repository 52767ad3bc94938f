"""dot_general: products summed over contracted axes, with shared batch axes."""

from __future__ import annotations

from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.graph.types import TensorType
from gradc.tracer.ops.primitive import primitive, require_kind

AxisPairs = tuple[tuple[int, ...], tuple[int, ...]]


def _infer_dot_general(
    a: TensorType, b: TensorType, *, contract: AxisPairs, batch: AxisPairs
) -> tuple[TensorType, ...]:
    require_kind("dot_general", a, "iuf")
    if a.dtype is not b.dtype:
        raise DTypeError("dot_general: dtypes differ", operands=map(str, (a, b)))
    for x, axes in ((a, batch[0] + contract[0]), (b, batch[1] + contract[1])):
        if len(set(axes)) != len(axes) or any(not 0 <= i < x.ndim for i in axes):
            raise ArgumentError(f"dot_general: axes {axes} do not fit {x}")
    for pair in (contract, batch):
        if [a.shape[i] for i in pair[0]] != [b.shape[i] for i in pair[1]]:
            raise ShapeError("dot_general: paired sizes differ", operands=map(str, (a, b)))
    return (
        a.with_shape(
            tuple(a.shape[i] for i in batch[0])
            + tuple(d for i, d in enumerate(a.shape) if i not in batch[0] + contract[0])
            + tuple(d for i, d in enumerate(b.shape) if i not in batch[1] + contract[1])
        ),
    )


# dot_general(a, b; contract, batch): both are (axes of a, axes of b), paired in order. The result
# has the batch axes, then a's free axes, then b's.
dot_general = primitive("dot_general", _infer_dot_general, "contraction")
