"""What is cut off behind a convolution is not computed."""

from __future__ import annotations

import numpy as np
import pytest
from golden import check

import gradc
import gradc.nn.functional as F
from gradc.codegen.passes.simplify import simplify
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape

CONV = "stride=({s},), dilation=({d},), groups=1"
CUT = "slice({x}, start=(0,0,{a}), stop=(2,{f},{b}), step=(1,1,1))"


def test_windows_cut_off():
    conv = CONV.format(s=2, d=3)
    check(
        simplify,
        "x: f32[2,3,40], w: f32[4,3,5]",
        f"""forward
              c: f32[2,4,14] = conv(x, w, {conv})
              r: f32[2,4,6] = {CUT.format(x="c", f=4, a=3, b=9)}
            return r: f32[2,4,6]""",
        f"""forward
              a: f32[2,3,23] = {CUT.format(x="x", f=3, a=6, b=29)}
              r: f32[2,4,6] = conv(a, w, {conv})
            return r: f32[2,4,6]""",
    )


def test_windows_something_else_reads_stay():
    conv = CONV.format(s=1, d=1)
    text = f"""forward
          c: f32[2,4,36] = conv(x, w, {conv})
          r: f32[2,4,6] = {CUT.format(x="c", f=4, a=3, b=9)}
        return c: f32[2,4,36], r: f32[2,4,6]"""
    check(simplify, "x: f32[2,3,40], w: f32[4,3,5]", text, text)


PADS = [  # low, high, interior, start, stop; start and stop in x, low, high
    ((3, 4, 0, 1, 12), (0, 8, 2, 1)),
    ((3, 4, 0, 5, 9), None),  # x only: slice_of_pad's
    ((3, 4, 0, 5, 13), (2, 8, 0, 2)),
    ((3, 4, 0, 0, 2), None),  # fills only
    ((3, 4, 1, 2, 20), (0, 8, 1, 2)),
    ((3, 4, 1, 4, 20), None),  # between elements
]


@pytest.mark.parametrize(("case", "kept"), PADS)
def test_fills_cut_off(case, kept):
    low, high, gap, start, stop = case
    x = gradc.arange(1, 9, dtype=gradc.float32)

    def padded(x):
        y = ops.pad(x, gradc.tensor(0.5), low=(low,), high=(high,), interior=(gap,))
        return ops.slice(y, start=(start,), stop=(stop,), step=(1,))

    graph = run_passes(gradc.compile(padded).trace(x).graph, (simplify,), verify=True)
    pads = [e.params for e in graph.eqns if e.prim is ops.pad]
    if kept is not None:
        (p,) = pads
        assert (p.low, p.high) == ((kept[2],), (kept[3],))
        sizes = [known_shape(e.inputs[0].type.shape) for e in graph.eqns if e.prim is ops.pad]
        assert sizes == [(kept[1] - kept[0],)]
    np.testing.assert_array_equal(gradc.compile(padded)(x).numpy(), padded(x).numpy())


def test_the_gradient_of_padding_is_not_computed():
    def f(x, w):
        return gradc.autograd.grad((F.conv2d(x, w, padding=2) ** 2).sum(), x)[0]

    arguments = [gradc.randn(*s, requires_grad=True) for s in ((2, 3, 8, 8), (4, 3, 5, 5))]
    graph = run_passes(gradc.compile(f).trace(*arguments).graph, PASSES_C, verify=True)
    shapes = [known_shape(e.output.type.shape) for e in graph.eqns if e.prim is ops.conv]
    assert shapes == [(2, 4, 8, 8), (2, 3, 8, 8)]
