"""Which loops to run: axes of a domain, refined where expressions need it, merged where they can.

Two neighbouring axes are one loop when every offset moves along the outer one exactly as it does
along the whole inner one:

    x[i*512 + j], y[i*512 + j]        ->  one loop of 64*512
    x[i*512 + j], bias[j]             ->  two loops
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index


def refine(shapes: Iterable[tuple[int, ...]], total: int) -> list[int]:
    """Axis sizes whose cuts include those of every shape of `total` elements, as far as the cuts
    divide one another; the first shapes given win."""
    cuts = {1, total}
    for shape in shapes:
        if prod(shape) != total or not total:
            continue
        for axis in range(len(shape), 0, -1):
            cut = prod(shape[axis:])
            if all(cut % c == 0 or c % cut == 0 for c in cuts):
                cuts.add(cut)
    ordered = sorted(cuts, reverse=True)
    return [a // b for a, b in pairwise(ordered)]


def collapse(
    variables: Sequence[Index], sizes: Sequence[int], offsets: Iterable[Index]
) -> list[int]:
    """The sizes of the merged axes; `variables[a]` runs over `sizes[a]`. Axes of size 1 vanish."""
    offsets = list(offsets)
    if 0 in sizes:
        return [0]
    merged: list[int] = []
    previous: Index | None = None
    for v, n in zip(variables, sizes, strict=True):
        if n == 1:
            continue
        if previous is not None and all(_merges(previous, v, n, e) for e in offsets):
            merged[-1] *= n
        else:
            merged.append(n)
        previous = v
    return merged


def _merges(outer: Index, inner: Index, size: int, offset: Index) -> bool:
    far = ix.stride(offset, outer.terms[0][0])
    near = ix.stride(offset, inner.terms[0][0])
    return far is not None and near is not None and far == near * size


def split(merged: Sequence[Index], sizes: Sequence[int], axes: Sequence[int]) -> list[Index]:
    """The indices along `axes` in terms of the merged loops."""
    return list(ix.unravel(ix.ravel(merged, sizes), tuple(axes)))
