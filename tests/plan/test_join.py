"""Concatenations written in place, and panels that several products share."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan.kernel import RootKind
from gradc.codegen.plan.planner import plan_graph


def planned(function, *arguments):
    graph = gradc.compile(function).trace(*arguments).graph
    plan = plan_graph(run_passes(graph, PASSES_C, verify=True))
    verify_module(build_module(plan))
    return plan


def joins(plan):
    return [k for k in plan.kernels if k.kind is RootKind.JOIN]


def close(function, *arguments, atol=1e-12):
    """Compiled as called."""
    want, found = function(*arguments), gradc.compile(function)(*arguments)
    as_tuple = (lambda x: x) if isinstance(want, tuple) else lambda x: (x,)
    for a, b in zip(as_tuple(want), as_tuple(found), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=atol)


def data(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [gradc.tensor(rng.normal(size=s)) for s in shapes]


def test_parts_lie_within_the_whole():
    def function(x, y, w):
        return gradc.cat([gradc.exp(x), gradc.tanh(y)]) @ w

    given = data((8, 16), (16, 16), (16, 32))
    plan = planned(function, *given)
    (join,) = joins(plan)
    whole = join.roots[0].slots[0]
    parts = [s for s in plan.slots if s.inside is not None]
    assert [(s.inside[0], s.inside[1]) for s in parts] == [(whole, 0), (whole, 8 * 16)]
    module = build_module(plan)
    assert all(s.offset == whole.offset + s.inside[1] * 8 for s in parts)
    assert len(module.calls) == len(plan.kernels) - 1  # nothing is left for the join to do
    close(function, *given)


def test_what_lies_elsewhere_is_copied():
    def function(x, y, w):
        a, b = gradc.exp(x), gradc.tanh(y)
        h = gradc.cat([a, x, b, gradc.zeros(8, 16, dtype=gradc.float64), a])
        return h @ w, b

    given = data((64, 16), (16, 16), (16, 32))
    assert not joins(planned(function, *given))  # most would be copied
    close(function, *given)


@pytest.mark.parametrize("rows", [8, 9, 64])
def test_most_of_it_in_place(rows):
    """An argument, a constant and a value that is given back are copied into the join."""

    def function(x, y, w):
        a, b = gradc.exp(x), gradc.tanh(y)
        given_back = gradc.sin(y)
        h = gradc.cat([a, y, b, gradc.ones(2, 16, dtype=gradc.float64), given_back])
        return h @ w, given_back

    given = data((8 * rows, 16), (rows, 16), (16, 32))
    assert len(joins(planned(function, *given))) == 1
    close(function, *given)


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_mostly_given_is_copied_once(axis):
    """A product reads a whole array, not one of several for each element."""

    def function(x, y, w):
        return gradc.cat([x, y, x * 2], axis) @ w

    width = 16 if axis == 0 else 48
    given = data((16, 16), (16, 16), (width, 32))
    plan = planned(function, *given)
    assert not joins(plan)
    (product,) = [k for k in plan.kernels if k.kind is RootKind.CONTRACTION]
    assert len(product.reads) == 2
    close(function, *given)


def test_in_another_shape():
    def function(x, w):
        rows = [gradc.exp(x[t]) * t for t in range(4)]
        return gradc.stack(rows).reshape(4 * 8, 16) @ w

    given = data((4, 8, 16), (16, 32))
    plan = planned(function, *given)
    assert len(joins(plan)) == 1
    assert sum(s.inside is not None for s in plan.slots) == 4
    close(function, *given)


def test_a_part_read_while_others_are_written():
    """Later parts are computed from earlier ones, and all are read long after."""

    def function(x, w):
        h, rows = x, []
        for _ in range(12):
            h = gradc.tanh(h @ w * 0.1)
            rows.append(h)
        return gradc.cat(rows[:-1]).T @ gradc.cat([*rows[1:-1], h * 2])

    close(function, *data((16, 64), (64, 64)))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_give_the_same_bits(threads):
    (x,) = data((24, 16, 64))
    w, u = (t.requires_grad_() for t in data((64, 64), (64, 64), seed=1))

    def function(x):
        h = gradc.zeros(16, 64, dtype=gradc.float64)
        for t in range(24):
            h = gradc.tanh(x[t] @ w * 0.1 + h @ u * 0.1)
        return gradc.autograd.grad(h.sum(), [w, u])

    before = gradc.get_num_threads()
    try:
        gradc.set_num_threads(1)
        want = gradc.compile(function)(x)
        gradc.set_num_threads(threads)
        compiled = gradc.compile(function)
        for _ in range(5):
            for a, b in zip(want, compiled(x), strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
    finally:
        gradc.set_num_threads(before)


# ---- panels --------------------------------------------------------------------------------------


def steps(x, w):
    for _ in range(4):
        x = gradc.tanh(x @ w) @ w.T * 0.1
    return x


@pytest.mark.parametrize(
    ("rows", "k", "n"), [(16, 64, 96), (5, 70, 90), (1, 64, 64), (63, 33, 130)]
)
def test_panels_of_both_orientations(rows, k, n):
    given = data((rows, k), (k, n))
    kinds = [kernel.kind for kernel in planned(steps, *given).kernels]
    assert kinds.count(RootKind.PANELS) == (0 if rows == 1 else 2)
    close(steps, *given)


def test_panels_of_a_batch_of_one():
    x, w = data((1, 1, 16, 64), (1, 1, 64, 96))

    def function(x, w):
        for _ in range(4):
            x = gradc.tanh(x @ w) @ w.transpose(-1, -2) * 0.1
        return x

    assert any(k.kind is RootKind.PANELS for k in planned(function, x, w).kernels)
    close(function, x, w)


@pytest.mark.parametrize(("rows", "size"), [(16, 16), (64, 64)])
def test_no_panels_for_little_matrices_or_many_rows(rows, size):
    plan = planned(steps, *data((rows, size), (size, size)))
    assert all(k.kind is not RootKind.PANELS for k in plan.kernels)


def test_panels_are_read_before_the_weight_is_replaced():
    (x,) = data((8, 64))
    (w,) = data((64, 64), seed=1)

    def function(x):
        for _ in range(4):
            x = gradc.tanh(x @ w)
        w.mul_(0.5)
        return x

    expected = steps_of(x.numpy(), w.numpy())
    compiled = gradc.compile(function)
    np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(compiled(x).numpy(), steps_of(x.numpy(), w.numpy() * 2), rtol=1e-10)


def steps_of(x, w):
    for _ in range(4):
        x = np.tanh(x @ w)
    return x
