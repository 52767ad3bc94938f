"""Reductions and scans along axes. Reduced axes are removed; `axes` is sorted and non-negative."""

from __future__ import annotations

from gradc.tracer.errors import ArgumentError, ShapeError
from gradc.tracer.graph.types import TensorType, bool_, int64
from gradc.tracer.ops.primitive import InferRule, Primitive, primitive, require_kind


def _check_axes(name: str, x: TensorType, axes: tuple[int, ...]) -> None:
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.ndim for a in axes):
        raise ArgumentError(f"{name}: axes {axes} do not fit {x}")


def _reduce(name: str, kinds: str, needs_element: bool) -> Primitive:
    def infer(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
        require_kind(name, x, kinds)
        _check_axes(name, x, axes)
        if needs_element and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(
                f"{name}: cannot reduce over an axis of size 0: there is no identity",
                operands=[str(x)],
            )
        return (x.with_shape(tuple(d for i, d in enumerate(x.shape) if i not in axes)),)

    return primitive(name, infer, "reduction")


def _arg(name: str) -> Primitive:
    def infer(x: TensorType, *, axis: int) -> tuple[TensorType, ...]:
        _check_axes(name, x, (axis,))
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} has size 0", operands=[str(x)])
        return (TensorType(x.shape[:axis] + x.shape[axis + 1 :], int64),)

    return primitive(name, infer, "reduction")


reduce_sum = _reduce("reduce_sum", "iuf", needs_element=False)
reduce_prod = _reduce("reduce_prod", "iuf", needs_element=False)
reduce_max = _reduce("reduce_max", "biuf", needs_element=True)  # NaN if any is
reduce_min = _reduce("reduce_min", "biuf", needs_element=True)
reduce_any = _reduce("reduce_any", "b", needs_element=False)
reduce_all = _reduce("reduce_all", "b", needs_element=False)
argmax = _arg("argmax")  # the first NaN, else the first greatest
argmin = _arg("argmin")


def _scan(name: str) -> InferRule:
    def infer(x: TensorType, *, axis: int, reverse: bool) -> tuple[TensorType, ...]:
        require_kind(name, x, "iuf")
        _check_axes(name, x, (axis,))
        return (x,)

    return infer


# cumsum(x; axis, reverse): out[i] = x[0] + ... + x[i]; from the end when reversed.
cumsum = primitive("cumsum", _scan("cumsum"), "scan")


def _infer_sort(
    *operands: TensorType, axis: int, descending: bool
) -> tuple[TensorType, ...]:
    first = operands[0]
    _check_axes("sort", first, (axis,))
    if any(t.shape != first.shape for t in operands):
        raise ShapeError("sort: shapes differ", operands=map(str, operands))
    return operands


# sort(key, *others; axis, descending): sorted by key, stable, NaN last (first when descending);
# the others are permuted alike.
sort = primitive("sort", _infer_sort, "sorting")

BOOL_REDUCTIONS = (reduce_any, reduce_all)
__all__ = [
    "argmax", "argmin", "bool_", "cumsum", "reduce_all", "reduce_any", "reduce_max", "reduce_min",
    "reduce_prod", "reduce_sum", "sort",
]  # fmt: skip
