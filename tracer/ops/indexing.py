"""Gather and scatter, in one general form each.

Of an operand x whose first `batch` axes are shared with the indices, k further axes are indexed
by k integer arrays of one shape `B + S` (B the batch sizes):

    gather(x, i1..ik; axes, batch)[b, s, r]  =  x[b, ..., at axes: i1[b,s]..ik[b,s], rest: r]

The result has shape B + S + R, R being the sizes of x's axes that are neither batch nor indexed,
in order. `scatter(x, u, i1..ik; ...)` is x with u (of the gather's result shape) combined in at
the same places; with combiner "set" and equal places the last in row-major order wins.

    embedding          axes=(0,), batch=0           x[N,D], i[B,T]       -> [B,T,D]
    x[rows, cols]      axes=(0,1), batch=0          x[N,M], i[K], j[K]   -> [K]
    take_along_dim     axes=(1,), batch=1           x[N,M], i[N,K]       -> [N,K]

Indices are int64. With `wrap`, an index in [-n, 0) counts from the end. An index outside its
axis is an error at run time on every executor.
"""

from __future__ import annotations

from gradc.tracer.errors import ArgumentError, ShapeError
from gradc.tracer.graph.dims import Shape
from gradc.tracer.graph.types import TensorType, int64
from gradc.tracer.ops.primitive import primitive, require_dtype

COMBINERS = ("set", "add", "mul", "min", "max")


def _gather_shape(
    name: str,
    x: TensorType,
    indices: tuple[TensorType, ...],
    axes: tuple[int, ...],
    batch: int,
) -> Shape:
    if not axes or len(axes) != len(indices):
        raise ArgumentError(f"{name}: {len(indices)} index arrays for axes {axes}")
    if list(axes) != sorted(set(axes)) or axes[0] < batch or axes[-1] >= x.ndim:
        raise ArgumentError(f"{name}: axes {axes} with batch={batch} do not fit {x}")
    for i in indices:
        require_dtype(name, i, int64)
        if i.shape != indices[0].shape or i.shape[:batch] != x.shape[:batch]:
            raise ShapeError(f"{name}: index shapes do not fit", operands=map(str, (x, *indices)))
    rest = tuple(d for a, d in enumerate(x.shape) if a >= batch and a not in axes)
    return indices[0].shape + rest


def _infer_gather(
    x: TensorType, *indices: TensorType, axes: tuple[int, ...], batch: int, wrap: bool
) -> tuple[TensorType, ...]:
    return (x.with_shape(_gather_shape("gather", x, indices, axes, batch)),)


gather = primitive("gather", _infer_gather, "indexing", fails_on="*")


def _infer_scatter(
    x: TensorType,
    updates: TensorType,
    *indices: TensorType,
    axes: tuple[int, ...],
    batch: int,
    wrap: bool,
    combiner: str,
) -> tuple[TensorType, ...]:
    if combiner not in COMBINERS:
        raise ArgumentError(f"scatter: combiner {combiner!r} is none of {COMBINERS}")
    expected = x.with_shape(_gather_shape("scatter", x, indices, axes, batch))
    if updates != expected:
        raise ShapeError(f"scatter: updates are {updates} and must be {expected}")
    return (x,)


scatter = primitive("scatter", _infer_scatter, "indexing", fails_on="*")
