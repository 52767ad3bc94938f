"""Rewrites around convolutions: what is cut away afterwards is not computed.

    slice(conv(pad(g), w))  ->  conv(slice(pad(g)), w)  ->  conv(pad(g; less), w)

The gradient of a padded convolution comes with that of its padding, which is then cut off.
"""

from __future__ import annotations

from gradc.codegen.passes.rewrite import Rewriter, RuleSet
from gradc.tracer import ops
from gradc.tracer.graph.dims import is_known, known_shape
from gradc.tracer.graph.ir import Atom, Eqn

rules = RuleSet("windows")


@rules.on(ops.slice)
def slice_of_conv(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(conv(x, w)) -> conv(slice(x), w) where whole windows are cut off. Exact: each window
    kept is the same sum. Only where nothing else reads the convolution."""
    inner = rw.producer(eqn.inputs[0], ops.conv)
    if inner is None or rw.uses(inner.output) != 1:
        return None
    x, w = inner.inputs
    p, taken = inner.params, eqn.params
    if not is_known(x.type.shape) or any(n != 1 for n in taken.step) or 0 in eqn.output.type.shape:
        return None
    start, stop = [0, 0], [*known_shape(x.type.shape[:2])]
    kept = [*known_shape(inner.output.type.shape[:2])]
    if [*taken.start[:2]] != [0, 0] or [*taken.stop[:2]] != kept:
        return None
    sizes = known_shape(w.type.shape[2:])
    places = zip(taken.start[2:], taken.stop[2:], p.stride, p.dilation, sizes)
    for first, end, stride, dilation, size in places:
        start.append(first * stride)
        stop.append((end - 1) * stride + (size - 1) * dilation + 1)
    part = rw.emit(
        ops.slice, x, start=tuple(start), stop=tuple(stop), step=(1,) * len(start)
    )
    return rw.emit(ops.conv, part, w, **p)


@rules.on(ops.slice)
def slice_of_fills(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(pad(x, v)) -> pad(slice(x), v; less) where some of x is taken, in steps of one. Of
    axes with interior padding only outer fills may be cut."""
    inner = rw.producer(eqn.inputs[0], ops.pad)
    if inner is None or not is_known(inner.inputs[0].type.shape):
        return None
    if any(n != 1 for n in eqn.params.step):
        return None
    x, value = inner.inputs
    axes = zip(
        known_shape(x.type.shape), inner.params.low, inner.params.interior, eqn.params.start,
        eqn.params.stop,
    )  # fmt: skip
    found = [_fewer_fills(*axis) for axis in axes]
    if any(f is None for f in found):
        return None
    start, stop, low, high = zip(*(f for f in found if f is not None))
    part = rw.emit(ops.slice, x, start=start, stop=stop, step=(1,) * len(start))
    return rw.emit(ops.pad, part, value, low=low, high=high, interior=inner.params.interior)


def _fewer_fills(
    size: int, low: int, interior: int, start: int, stop: int
) -> tuple[int, int, int, int] | None:
    """(start and stop in x, fills before and after) of a range of a padded axis."""
    end = low + max(size + (size - 1) * interior, 0)
    if interior and (start > low or stop < end):
        return None
    first, last = max(start - low, 0), size if interior else min(stop - low, size)
    if first >= last:
        return None
    return first, last, max(low - start, 0), max(stop - end, 0)
