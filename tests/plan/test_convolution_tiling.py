"""Tiles of convolutions: lines in whole vectors, which axis gives the lanes, what is stored."""

from __future__ import annotations

import pytest

import gradc
import gradc.nn.functional as F
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan.convolution import ConvolutionTiling, pieces
from gradc.codegen.plan.kernel_gradient import KernelGradient
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer.graph.types import float32, float64


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("count", range(1, 66))
def test_pieces_cover_a_line_once(count, overlap, dtype):
    line = pieces(count, dtype, overlap)
    fresh = [p.start + lane for p in line for lane in range(p.fresh, p.lanes)]
    assert fresh == list(range(count))
    assert all(p.start >= 0 and p.start + p.lanes <= count for p in line)
    assert all(p.lanes & (p.lanes - 1) == 0 and p.lanes * dtype.itemsize <= 64 for p in line)
    assert [p.place for p in line] == [sum(q.lanes for q in line[:n]) for n in range(len(line))]
    if not overlap:
        assert not any(p.fresh for p in line)


def test_a_line_of_thirteen_is_two_pieces_of_eight():
    assert [(p.start, p.lanes, p.fresh) for p in pieces(13, float32, True)] == [
        (0, 8, 0), (5, 8, 3),
    ]  # fmt: skip


def planned(function, *shapes):
    arguments = [gradc.randn(*s, requires_grad=True) for s in shapes]
    graph = gradc.compile(function).trace(*arguments).graph
    return plan_graph(run_passes(graph, PASSES_C, verify=True))


def step(x, w):
    y = F.max_pool2d(F.relu(F.conv2d(x, w)), 2)
    return gradc.autograd.grad(y.sum(), (x, w))


def test_lanes_along_lines_and_for_kernels_along_sums():
    plan = planned(step, (4, 3, 20, 20), (6, 3, 5, 5))
    forward, *backward = (k.tiling for k in plan.kernels if k.tiling is not None)
    of_input, of_kernel = sorted(backward, key=lambda t: isinstance(t, KernelGradient))
    assert not forward.along
    assert (forward.lanes, forward.features, forward.windows) == (16, 6, (16, 16))
    assert not of_input.along and of_input.windows == (20, 20)
    assert isinstance(of_kernel, KernelGradient) and of_kernel.windows == (5, 5)
    assert (of_kernel.lanes, of_kernel.rows, of_kernel.columns) == (8, 5, 5)
    assert (of_kernel.channels, of_kernel.within, of_kernel.parts) == (4, (16, 16), 4)


@pytest.mark.parametrize(
    ("features", "shape"),
    [(2, (4, 3, 20, 20)), (6, (1, 3, 12, 12)), (6, (2, 3, 900, 900))],
    ids=["few features", "few places", "large images"],
)
def test_kernels_whose_gradient_is_summed_along_lines(features, shape):
    plan = planned(step, shape, (features, 3, 5, 5))
    (along,) = (k.tiling for k in plan.kernels if getattr(k.tiling, "along", False))
    assert isinstance(along, ConvolutionTiling) and along.windows == (5, 5) and along.lanes >= 8


@pytest.mark.parametrize("size", [1, 3, 7, 11])
@pytest.mark.parametrize("features", [4, 9, 16, 17, 40])
def test_a_kernels_gradient_has_enough_sums_under_way_and_not_too_many(size, features):
    plan = planned(step, (8, 2, 24, 24), (features, 2, size, size))
    for t in (k.tiling for k in plan.kernels if isinstance(k.tiling, KernelGradient)):
        assert 6 <= t.rows * t.columns <= 25
        assert t.vectors * t.lanes >= features > (t.vectors - 1) * t.lanes


def test_a_relus_mask_is_read_off_its_stored_result():
    plan = planned(step, (4, 3, 20, 20), (6, 3, 5, 5))
    assert not [s for s in plan.slots if s.dtype.is_bool]
    titles = [k.title for k in plan.kernels]
    assert titles[0] == "conv + le + select"
    assert titles[1] == "window_max"
