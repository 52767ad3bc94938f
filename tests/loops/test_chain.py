"""Chains: cells of a batch taken through several kernels, and what is kept for one of them only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from divided import divide_everything
from interpreter import run_module
from reference import run_reference

import gradc
from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.ir import Place
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.passes import recompute as recompute_pass
from gradc.codegen.passes import stack
from gradc.codegen.passes.recompute import recompute
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan import chain, tiling
from gradc.codegen.plan.kernel import Plan
from gradc.codegen.plan.planner import plan_graph
from gradc.nn import functional as F
from gradc.tracer import ops
from gradc.tracer.graph.ir import Graph, Phase

ROUNDING = {"rtol": 1e-9, "atol": 1e-10}


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s) for s in shapes]


def attention_step(causal: bool, transposed: bool):
    """Gradients of attention between projections, as a transformer has it."""

    def step(x, w, g):
        b, t, heads = x.shape[0], x.shape[1], 2
        w = w.detach().requires_grad_()
        parts = (x @ w).reshape(b, t, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts if transposed else parts.tanh()
        o = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        loss = (o.transpose(1, 2).reshape(b, t, -1) * g).sum()
        loss.backward()
        return loss.detach(), w.grad

    return step


def traced(function, given) -> Graph:
    graph = gradc.compile(function).trace(*map(gradc.tensor, given)).graph
    return run_passes(graph, PASSES_C, verify=True)


def chained(plan: Plan) -> list[tuple[int, int, int]]:
    """(kernels, cells, windows) of every chain."""
    found = dict.fromkeys(k.chain for k in plan.kernels if k.chain is not None)
    return [(len(c.kernels), c.cells, len(c.windows)) for c in found]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [(2, 6, 4), (3, 8, 6), (1, 5, 4)])
def test_attention_as_loops(monkeypatch, causal, transposed, size) -> None:
    """Every index in range, nothing read that its own task has not written, in any order."""
    divide_everything(monkeypatch)
    monkeypatch.setattr(tiling, "K_BLOCK", 64)
    b, t, d = size
    given = arrays((b, t, d), (d, 3 * d), (b, t, d))
    graph = traced(attention_step(causal, transposed), given)
    plan = plan_graph(graph)
    assert chained(plan)
    module = build_module(plan)
    verify_module(module)
    assert any(c.chained for c in module.calls)
    for seed in range(3):
        found, _ = run_module(module, graph, given, seed)
        for want, got in zip(run_reference(graph, given), found, strict=True):
            np.testing.assert_allclose(got, want, **ROUNDING)


def test_scores_are_no_array() -> None:
    """Of a training step with recompute, no array of the work area has the scores of all heads."""
    b, t, d = 4, 128, 64
    given = arrays((b, t, d), (d, 3 * d), (b, t, d))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recompute_pass, "LARGE_BYTES", 1 << 10)
        graph = traced(attention_step(True, True), given)
    plan = plan_graph(graph)
    scores = b * 2 * t * t
    sizes = {s.name: np.prod(s.shape, dtype=int) for s in build_module(plan).slots}
    work = [n for n in plan.slots if n.place is Place.WORK]
    assert max(sizes.get(s.name, 0) for s in work) < scores
    assert [c[1] for c in chained(plan)] == [8, 8]


def test_rows_in_blocks_where_heads_are_large(monkeypatch) -> None:
    """Forward attention alone: softmax and products keep to rows, of which few are at hand."""
    given = arrays((2, 4, 256, 8), (2, 4, 256, 8), (2, 4, 256, 8))
    monkeypatch.setattr(chain, "NEAR_BYTES", 1 << 18)
    graph = traced(F.scaled_dot_product_attention, given)
    ((kernels, cells, _),) = chained(plan_graph(graph))
    assert (kernels, cells) == (3, 8 * 4)
    found = gradc.compile(F.scaled_dot_product_attention)(*map(gradc.tensor, given))
    want = run_reference(graph, given)[0]
    np.testing.assert_allclose(found.numpy(), want, **ROUNDING)


def test_not_what_something_else_reads() -> None:
    """Values that are given back are arrays, and a chain that would keep nothing is none."""

    def function(q, k, v):
        s = q @ k.transpose(-1, -2)
        return s, s @ v

    plan = plan_graph(traced(function, arrays((16, 64, 32), (16, 64, 32), (16, 64, 32))))
    assert not chained(plan)


def test_not_across_cells() -> None:
    """A softmax over the batch reads of all cells."""

    def function(q, k, v):
        return gradc.softmax(q @ k.transpose(-1, -2), 0) @ v

    given = arrays((16, 64, 32), (16, 64, 32), (16, 64, 32))
    assert not chained(plan_graph(traced(function, given)))
    found = gradc.compile(function)(*map(gradc.tensor, given))
    want = function(*map(gradc.tensor, given))
    np.testing.assert_allclose(found.numpy(), want.numpy(), **ROUNDING)


def test_a_product_that_follows_in_a_chain_reads_the_state_before_it_is_replaced() -> None:
    """What is moved together with a chain still comes before the update of what it reads."""
    (start,) = arrays((16, 64, 64))
    (x,) = map(gradc.tensor, arrays((16, 64, 64), seed=1))
    eager, w = (gradc.tensor(start.copy()) for _ in range(2))

    def step(x, w):
        p = gradc.softmax(x @ w, -1) @ w
        w.mul_(0.5)
        return p, gradc.softmax(p @ w, -1) @ x

    compiled = gradc.compile(lambda x: step(x, w))
    for _ in range(2):
        for a, b in zip(step(x, eager), compiled(x), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), **ROUNDING)
        np.testing.assert_array_equal(eager.numpy(), w.numpy())


@pytest.mark.parametrize("again", [1 << 10, 1 << 60])
def test_bits_do_not_depend_on_threads(monkeypatch, tmp_path: Path, again: int) -> None:
    monkeypatch.setattr(recompute_pass, "LARGE_BYTES", again)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    given = [gradc.tensor(a) for a in arrays((4, 80, 32), (32, 96), (4, 80, 32))]
    before = gradc.get_num_threads()
    step = gradc.compile(attention_step(True, True))
    want = attention_step(True, True)(*given)
    expected = None
    try:
        for threads in (1, 2, 3, 8):
            gradc.set_num_threads(threads)
            for _ in range(10):
                found = [t.numpy() for t in step(*given)]
                expected = found if expected is None else expected
                for a, b in zip(expected, found, strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        gradc.set_num_threads(before)
    for a, b in zip(want, found, strict=True):
        np.testing.assert_allclose(b, a.numpy(), **ROUNDING)


# ---- recompute -----------------------------------------------------------------------------------


def test_backward_computes_scores_again(monkeypatch) -> None:
    """The same bits, and of the scores nothing is kept but maxima and sums."""
    given = arrays((2, 16, 8), (8, 24), (2, 16, 8))
    monkeypatch.setattr(recompute_pass, "LARGE_BYTES", 1 << 60)
    graph = traced(attention_step(True, True), given)
    monkeypatch.setattr(recompute_pass, "LARGE_BYTES", 1)
    again = recompute(graph)
    assert recompute(graph.replace(eqns=tuple(e for e in graph.eqns))) is not graph
    for a, b in zip(run_reference(graph, given), run_reference(again, given), strict=True):
        np.testing.assert_array_equal(a, b)
    made = {v: e for e in again.eqns for v in e.outputs}
    crossing = {
        a for e in again.eqns if e.phase is not Phase.FORWARD for a in e.inputs
        if a in made and made[a].phase is Phase.FORWARD and a.type.dtype.is_float
        and made[a].prim.family != "movement"
    }  # fmt: skip
    scores = 2 * 2 * 16 * 16
    assert max(np.prod(v.type.shape, dtype=int) for v in crossing) < scores


def test_what_is_given_back_is_not_computed_again(monkeypatch) -> None:
    monkeypatch.setattr(recompute_pass, "LARGE_BYTES", 1)

    def step(q, k):
        q = q.detach().requires_grad_()
        s = q @ k.transpose(-1, -2)
        (s * s).sum().backward()
        return s.detach(), q.grad

    graph = traced(step, arrays((2, 16, 4), (2, 16, 4)))
    assert sum(e.prim is ops.dot_general for e in graph.eqns) == 2


# ---- stacks, joins and panels as loops -----------------------------------------------------------


@pytest.mark.parametrize(("steps", "rows"), [(3, 8), (7, 8), (4, 4)])
def test_a_recurrent_network_as_loops(monkeypatch, steps: int, rows: int) -> None:
    """Parts written in place (and copied, where they would begin within a cache line), panels that
    are shared, sums that are one product."""
    divide_everything(monkeypatch)
    monkeypatch.setattr(tiling, "K_BLOCK", 64)
    monkeypatch.setattr(stack, "ENOUGH", 20)

    def step(x, w, u):
        w, u = w.detach().requires_grad_(), u.detach().requires_grad_()
        h = gradc.zeros(rows, 17, dtype=gradc.float64)
        for t in range(steps):
            h = gradc.tanh(x[t] @ w + h @ u)
        (h * h).sum().backward()
        return w.grad, u.grad

    given = arrays((steps, rows, 17), (17, 17), (17, 17))
    graph = traced(step, given)
    plan = plan_graph(graph)
    assert any(s.inside is not None for s in plan.slots)
    assert any(k.panels is not None for k in plan.kernels)
    module = build_module(plan)
    verify_module(module)
    for seed in range(3):
        found, _ = run_module(module, graph, given, seed)
        for want, got in zip(run_reference(graph, given), found, strict=True):
            np.testing.assert_allclose(got, want, **ROUNDING)
