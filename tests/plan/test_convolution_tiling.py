"""Tiles of convolutions: lines in whole vectors, which axis gives the lanes, what is stored."""

from __future__ import annotations

import pytest

import gradc
import gradc.nn.functional as F
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan.convolution import ConvolutionTiling, pieces
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
    tilings = [k.tiling for k in plan.kernels if isinstance(k.tiling, ConvolutionTiling)]
    forward, *backward = tilings
    assert not forward.along
    assert (forward.lanes, forward.features, forward.windows) == (16, 6, (16, 16))
    by_kind = {t.along: t for t in backward}
    assert by_kind[False].windows == (20, 20)  # of the input
    assert by_kind[True].windows == (5, 5)  # of the kernel: summed over lines
    assert by_kind[True].lanes == 16


def test_a_relus_mask_is_read_off_its_stored_result():
    plan = planned(step, (4, 3, 20, 20), (6, 3, 5, 5))
    assert not [s for s in plan.slots if s.dtype.is_bool]
    titles = [k.title for k in plan.kernels]
    assert titles[0] == "conv + le + select"
    assert titles[1] == "window_max"
