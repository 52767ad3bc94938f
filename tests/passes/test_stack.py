"""stack: products of an unrolled loop become one."""

from __future__ import annotations

import numpy as np
import pytest
from golden import check

import gradc
from gradc.codegen.passes.stack import ENOUGH, stack
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.tracer import ops

SUM = """
        backward
        p: f32[8,8] = dot_general(x, g, contract=((0,),(0,)), batch=((),()))
        q: f32[8,8] = dot_general(y, h, contract=((0,),(0,)), batch=((),()))
        r: f32[8,8] = add(p, q)
        return r: f32[8,8]"""


def test_a_sum_of_products() -> None:
    check(
        stack,
        "x: f32[2,8], y: f32[3,8], g: f32[2,8], h: f32[3,8]",
        SUM,
        """
        backward
        a: f32[5,8] = concat(x, y, axis=0)
        b: f32[5,8] = concat(g, h, axis=0)
        r: f32[8,8] = dot_general(a, b, contract=((0,),(0,)), batch=((),()))
        return r: f32[8,8]""",
    )


def test_not_where_stacking_takes_more_than_adding() -> None:
    check(stack, "x: f32[4,8], y: f32[5,8], g: f32[4,8], h: f32[5,8]", SUM, SUM)


def test_not_what_something_else_reads() -> None:
    text = SUM.replace("return r: f32[8,8]", "return r: f32[8,8], p: f32[8,8]")
    check(stack, "x: f32[2,8], y: f32[3,8], g: f32[2,8], h: f32[3,8]", text, text)


def test_other_terms_keep_their_places() -> None:
    check(
        stack,
        "x: f32[2,8], y: f32[2,8], c: f32[8,8], d: f32[8,8]",
        """
        forward
        p: f32[8,8] = dot_general(x, y, contract=((0,),(0,)), batch=((),()))
        s: f32[8,8] = add(c, p)
        e: f32[8,8] = exp(d)
        t: f32[8,8] = add(s, e)
        q: f32[8,8] = dot_general(y, x, contract=((0,),(0,)), batch=((),()))
        r: f32[8,8] = add(t, q)
        return r: f32[8,8]""",
        """
        forward
        a: f32[4,8] = concat(x, y, axis=0)
        b: f32[4,8] = concat(y, x, axis=0)
        e: f32[8,8] = exp(d)
        f: f32[8,8] = dot_general(a, b, contract=((0,),(0,)), batch=((),()))
        g: f32[8,8] = add(c, f)
        r: f32[8,8] = add(g, e)
        return r: f32[8,8]""",
    )


def test_rows_of_one_array() -> None:
    check(
        stack,
        "x: f32[4,2,3], w: f32[3,5]",
        """
        forward
        b: f32[1,2,3] = slice(x, start=(2,0,0), stop=(3,2,3), step=(1,1,1))
        c: f32[2,3] = reshape(b, shape=(2,3))
        p: f32[2,5] = dot_general(c, w, contract=((1,),(0,)), batch=((),()))
        d: f32[1,2,3] = slice(x, start=(1,0,0), stop=(2,2,3), step=(1,1,1))
        e: f32[2,3] = reshape(d, shape=(2,3))
        q: f32[2,5] = dot_general(e, w, contract=((1,),(0,)), batch=((),()))
        return p: f32[2,5], q: f32[2,5]""",
        """
        forward
        b: f32[1,2,3] = slice(x, start=(2,0,0), stop=(3,2,3), step=(1,1,1))
        c: f32[2,3] = reshape(b, shape=(2,3))
        a: f32[2,2,3] = slice(x, start=(1,0,0), stop=(3,2,3), step=(1,1,1))
        d: f32[4,3] = reshape(a, shape=(4,3))
        e: f32[4,5] = dot_general(d, w, contract=((1,),(0,)), batch=((),()))
        p: f32[2,5] = slice(e, start=(2,0), stop=(4,5), step=(1,1))
        d_2: f32[1,2,3] = slice(x, start=(1,0,0), stop=(2,2,3), step=(1,1,1))
        e_2: f32[2,3] = reshape(d_2, shape=(2,3))
        q: f32[2,5] = slice(e, start=(0,0), stop=(2,5), step=(1,1))
        return p: f32[2,5], q: f32[2,5]""",
    )


def recurrent_gradient(steps: int, batch: int, width: int):
    """The gradients of a recurrent network, and the graph they are computed by."""
    rng = np.random.default_rng(0)
    x = gradc.tensor(rng.normal(size=(steps, batch, width)))
    w, u = (gradc.tensor(rng.normal(size=(width, width)) * 0.2, requires_grad=True) for _ in "wu")

    def gradient(x):
        h = gradc.zeros(batch, width, dtype=gradc.float64)
        for t in range(steps):
            h = gradc.tanh(x[t] @ w + h @ u)
        return gradc.autograd.grad((h * h).sum(), [w, u])

    compiled = gradc.compile(gradient)
    graph = run_passes(compiled.trace(x).graph, PASSES_C, verify=True)
    return gradient(x), compiled(x), graph


@pytest.mark.parametrize(("steps", "batch"), [(5, 3), (9, 16), (40, 16)])
def test_a_recurrent_network(steps: int, batch: int) -> None:
    eager, found, graph = recurrent_gradient(steps, batch, 64)
    for a, b in zip(eager, found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)
    products = [e for e in graph.eqns if e.prim is ops.dot_general]
    # One forwards and one backwards a step; and in all, so many as have enough to sum.
    stacks = -(-steps * batch // ENOUGH)
    assert len(products) == 2 * steps - 1 + 3 * stacks
