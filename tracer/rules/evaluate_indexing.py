"""NumPy rules of gather and scatter in their general form (see `ops/indexing.py`).

Indices are checked first: the error names the first bad element in row-major order, and among
several index arrays the first bad one there.

    gather(x, [3]; axes=(0,)) of f32[2]  ->  IndexOutOfRange: gather: index 3 ... axis 0, size 2
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradc.tracer.rules.failures import index_out_of_range
from gradc.tracer.storage import Array

Axes = tuple[int, ...]


def _places(
    prim: str, shape: Sequence[int], indices: Sequence[Array], axes: Axes, wrap: bool
) -> list[Array]:
    """The indices with negative ones resolved.

    Raises:
        IndexOutOfRange: an index lies outside its axis.
    """
    bad = np.zeros(indices[0].shape, bool)
    for index, axis in zip(indices, axes):
        size = shape[axis]
        bad |= (index < (-size if wrap else 0)) | (index >= size)
    if np.any(bad):
        raise _first_failure(prim, shape, indices, axes, wrap, int(np.argmax(bad)))
    if not wrap:
        return list(indices)
    return [np.where(i < 0, i + shape[a], i) for i, a in zip(indices, axes)]


def _first_failure(
    prim: str, shape: Sequence[int], indices: Sequence[Array], axes: Axes, wrap: bool, element: int
) -> Exception:
    for index, axis in zip(indices, axes):
        value, size = int(index.reshape(-1)[element]), shape[axis]
        if not (-size if wrap else 0) <= value < size:
            return index_out_of_range(prim, value, axis=axis, size=size)
    raise AssertionError("some index is bad at this element")


def _order(x: Array, axes: Axes, batch: int) -> list[int]:
    """The axes of `x` as batch, indexed, rest."""
    rest = [a for a in range(batch, x.ndim) if a not in axes]
    return [*range(batch), *axes, *rest]


def _rows(x: Array, places: Sequence[Array], axes: Axes, batch: int) -> Array:
    """For every element of the index arrays, its row of `x` seen as [batch * indexed, rest]."""
    row = np.zeros(places[0].shape, np.int64)
    for a in range(batch):
        along = [1] * row.ndim
        along[a] = x.shape[a]
        row = row * x.shape[a] + np.arange(x.shape[a]).reshape(along)
    for place, axis in zip(places, axes):
        row = row * x.shape[axis] + place
    return row


def gather(x: Array, *indices: Array, axes: Axes, batch: int, wrap: bool) -> Array:
    places = _places("gather", x.shape, indices, axes, wrap)
    if axes == (0,):
        return np.asarray(np.take(x, places[0], axis=0))
    ordered = x.transpose(_order(x, axes, batch))
    split = batch + len(axes)
    rest = ordered.shape[split:]
    flat = ordered.reshape(math.prod(ordered.shape[:split]), *rest)
    return np.asarray(np.take(flat, _rows(x, places, axes, batch), axis=0))


_UFUNCS = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def scatter(
    x: Array, updates: Array, *indices: Array, axes: Axes, batch: int, wrap: bool, combiner: str
) -> Array:
    places = _places("scatter", x.shape, indices, axes, wrap)
    order = _order(x, axes, batch)
    ordered = np.array(x.transpose(order), order="C")
    rest = math.prod(ordered.shape[batch + len(axes) :])
    # One dimension on both sides: equal places are then combined in row-major order for sure.
    rows = _rows(x, places, axes, batch).reshape(-1, 1)
    elements = (rows * rest + np.arange(rest)).reshape(-1)
    flat, values = ordered.reshape(-1), updates.reshape(-1)
    if combiner == "set":
        flat[elements] = values
    else:
        _UFUNCS[combiner].at(flat, elements, values)
    return np.ascontiguousarray(ordered.transpose(np.argsort(order)))
