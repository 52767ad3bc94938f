"""How many kernels programs become: the golden numbers of fusion."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small_programs import (
    Maker,
    adam,
    attention,
    cross_entropy,
    layer_norm,
    log_softmax,
    mlp_step,
    softmax,
    softmax_backward,
)

from gradc.codegen.loops.build import build_module
from gradc.codegen.plan import cost
from gradc.codegen.plan.kernel import Plan, RootKind
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer import ops
from gradc.tracer.graph.ir import Graph


def kernels(plan: Plan) -> list[str]:
    return [k.title for k in plan.kernels]


@pytest.mark.parametrize("size", [(4, 10), (64, 1000), (1, 7)])
@pytest.mark.parametrize(
    "make",
    [
        softmax,
        softmax_backward,
        log_softmax,
        lambda b, n: cross_entropy(b, n, backward=False),
        lambda b, n: layer_norm(b, n, backward=False),
        lambda b, n: layer_norm(b, n, forward=False),
        layer_norm,
    ],
    ids=["softmax", "softmax'", "log_softmax", "cross_entropy", "norm", "norm'", "norm and norm'"],
)
def test_rows_are_one_kernel(make: Callable[[int, int], Graph], size: tuple[int, int]) -> None:
    plan = plan_graph(make(*size))
    limit = 2 if size[0] == 1 else 1
    assert len(plan.kernels) <= limit, str(plan)


@pytest.mark.parametrize("size", [(4, 10), (64, 1000)])
def test_cross_entropy_and_its_gradient_are_one_kernel(size: tuple[int, int]) -> None:
    plan = plan_graph(cross_entropy(*size))
    assert len(plan.kernels) == 1, str(plan)
    assert build_module(plan).work_bytes == 64, "nothing is stored between forward and backward"


def test_an_update_is_one_stage_of_many_stores() -> None:
    plan = plan_graph(adam())
    (kernel,) = plan.kernels
    (stage,) = kernel.stages
    assert sum(len(r.slots) for r in stage.roots) == 3
    assert plan.in_place == ((0, 0), (1, 2), (2, 3))


def test_an_elementwise_chain_with_several_results_is_one_kernel() -> None:
    m = Maker("chain")
    x, y = m.input((3, 4), "x"), m.input((3, 4), "y")
    a = m.exp(m.add(x, y))
    plan = plan_graph(m.b.finish([a, m.mul(a, x), m.reduce_sum(a, axes=(0,)), m.tanh(m.neg(a))]))
    assert len(plan.kernels) == 1, str(plan)


def test_a_training_step() -> None:
    """Biases, activations and updates are epilogues; the mask is kept as bools."""
    plan = plan_graph(mlp_step(16, 20, 30, 8))
    assert kernels(plan) == [
        "dot_general + add + maximum + gt",
        "dot_general + add + sub + mul",
        "reduce_sum",
        "dot_general + select",
        "reduce_sum + mul + sub",
        "dot_general + mul + sub",
        "reduce_sum + mul + sub",
        "dot_general + mul + sub",
    ], str(plan)
    stored = {s.name: s.dtype.name for k in plan.kernels for r in k.roots for s in r.slots}
    assert "bool" in stored.values()
    assert len(plan.in_place) == 4


def test_attention_is_three_kernels() -> None:
    plan = plan_graph(attention())
    assert [k.kind for k in plan.kernels] == [
        RootKind.CONTRACTION, RootKind.MAP, RootKind.CONTRACTION,
    ], str(plan)  # fmt: skip


def test_movement_costs_no_kernel() -> None:
    m = Maker("movement")
    x = m.input((4, 6), "x")
    y = m.permute(m.reshape(m.flip(x, axes=(1,)), shape=(2, 2, 6)), axes=(2, 0, 1))
    z = m.concat(m.slice(y, start=(1, 0, 0), stop=(6, 2, 2), step=(2, 1, 1)), y, axis=0)
    plan = plan_graph(m.b.finish([m.exp(z)]))
    assert len(plan.kernels) == 1, str(plan)


def test_a_product_does_not_read_what_must_be_recomputed() -> None:
    """What a contraction reads many times is stored, and transposing it is not."""
    m = Maker("operand")
    for columns in (9, 3):  # a contraction, and a few reductions
        x, w = m.input((8, 6), "x"), m.input((columns, 6), "w")
        y = m.dot(m.exp(x), m.permute(w, axes=(1, 0)), 1, 0)
        plan = plan_graph(m.b.finish([y]))
        assert kernels(plan) == ["exp", "dot_general"]


def test_outer_products_and_matrix_vector_products_are_loops() -> None:
    m = Maker("vectors")
    a, b, x = m.input((5, 1), "a"), m.input((1, 7), "b"), m.input((7,), "x")
    outer = m.dot(a, b, 1, 0)
    plan = plan_graph(m.b.finish([m.exp(m.dot(m.input((5, 7), "w"), x, 1, 0)), m.neg(outer)]))
    assert all(k.kind is RootKind.MAP for k in plan.kernels)
    assert len(plan.kernels) == 2


def test_a_long_residual_stream_is_not_recomputed() -> None:
    """Every layer reads the sum so far; it is kept, so that work stays linear."""
    m = Maker("residual")
    h = m.input((4, 6), "x")
    for n in range(12):
        h = m.add(h, m.tanh(m.dot(h, m.input((6, 6), f"w{n}"), 1, 0)))
    plan = plan_graph(m.b.finish([h]))
    assert len(plan.kernels) == 12
    assert all(len(k.members) <= 3 for k in plan.kernels), str(plan)


def test_a_plan_prints_with_its_lines() -> None:
    text = str(plan_graph(softmax()))
    assert "kernel 0  forward  4 rows: reduce_max + sub + exp + reduce_sum + div" in text
    assert "    a: f32[4] = reduce_max(x, axes=(1,))" in text


def test_only_the_part_that_is_read_counts() -> None:
    """A step of a recurrent net reads its slice of the inputs and not all of them."""
    m = Maker("step")
    x, w = m.input((16, 64, 32), "x"), m.input((32, 8), "w")
    now = m.slice(x, start=(0, 5, 0), stop=(16, 6, 32), step=(1, 1, 1))
    graph = m.b.finish([m.tanh(m.dot(m.reshape(now, shape=(16, 32)), w, 1, 0))])
    (kernel,) = plan_graph(graph).kernels
    assert kernel.bytes == 4 * (16 * 32 + 32 * 8)


def test_the_plan_says_why_kernels_stay_apart() -> None:
    m = Maker("apart")
    x, w = m.input((16, 32), "x"), m.input((32, 8), "w")
    h = m.exp(m.dot(x, w, 1, 0))
    total = m.b.op(ops.reduce_sum, h, axes=(0, 1))
    down = m.b.op(ops.reduce_sum, h, axes=(0,))
    graph = m.b.finish([total, m.cumsum(down, axis=0, reverse=False)])
    reasons = "\n".join(plan_graph(graph).reasons)
    assert "read by reduce_sum in another kernel: a sum over a product's tiles" in reasons
    assert "read by cumsum, which has loops of its own" in reasons


def test_long_chains_are_cut_into_loops_that_compile() -> None:
    """Every loop stays below the limit, and loops that are alike are one function."""
    m = Maker("chain")
    x = m.input((1000,), "x")
    for _ in range(600):
        x = m.mul(m.add(m.sin(x), m.full(0.25, (1000,))), x)
    plan = plan_graph(m.b.finish([x]))
    assert all(k.cycles <= cost.MAX_KERNEL_CYCLES for k in plan.kernels)
    assert len(plan.kernels) > 600 * 14 // cost.MAX_KERNEL_CYCLES
    assert any("would take long to compile" in r for r in plan.reasons)
    assert len({f.name for f in build_module(plan).funcs}) <= 4
