"""fold, cse and dce by example."""

from __future__ import annotations

import numpy as np
from golden import check

from gradc.codegen.passes.cse import cse
from gradc.codegen.passes.dce import dce
from gradc.codegen.passes.fold import MAX_ELEMENTS, fold
from gradc.tracer import ops
from gradc.tracer.graph.builder import GraphBuilder

# -- fold -----------------------------------------------------------------------------------------


def test_literals() -> None:
    check(
        fold,
        "x: f32[3]",
        """
        forward
        a: f32[] = mul(2.0, 3.0)
        b: f32[3] = broadcast(a, shape=(3,), axes=())
        c: f32[3] = broadcast(0.5, shape=(3,), axes=())
        d: f32[3] = div(b, c)
        r: f32[3] = add(x, d)
        return r: f32[3]""",
        """
        forward
        d: f32[3] = broadcast(12.0, shape=(3,), axes=())
        r: f32[3] = add(x, d)
        return r: f32[3]""",
    )


def test_values_are_rounded_to_their_dtype() -> None:
    check(
        fold,
        "x: f32[]",
        """
        forward
        a: f32[] = div(1.0, 3.0)
        b: i8[] = cast(300.0, dtype=i8)
        return a: f32[], b: i8[]""",
        "return 0.3333333432674408: f32[], 127: i8[]",
    )


def test_small_constants() -> None:
    check(
        fold,
        "x: f32[2]",
        """
        forward
        a: i64[3] = constant(value=[1, 2, 3])
        b: i64[3] = broadcast(10, shape=(3,), axes=())
        c: i64[3] = mul(a, b)
        d: i64[] = reduce_sum(c, axes=(0,))
        return c: i64[3], d: i64[]""",
        """
        forward
        c: i64[3] = constant(value=[10, 20, 30])
        return c: i64[3], 60: i64[]""",
    )


def test_a_constant_of_one_value_is_a_literal() -> None:
    check(
        fold,
        "x: f32[2]",
        """
        forward
        a: f32[3] = constant(value=[nan, nan, nan])
        b: f32[2] = constant(value=[0.0, -0.0])
        return a: f32[3], b: f32[2]""",
        """
        forward
        a: f32[3] = broadcast(nan, shape=(3,), axes=())
        b: f32[2] = constant(value=[0.0, -0.0])
        return a: f32[3], b: f32[2]""",
    )


def test_what_would_fail_is_left_to_fail() -> None:
    text = """
        forward
        a: i32[] = floor_divide(1, 0)
        return x: f32[2]"""
    check(fold, "x: f32[2]", text, text)


def test_large_constants_stay() -> None:
    b = GraphBuilder("f")
    big = b.op(ops.constant, value=ops.Constant(np.arange(MAX_ELEMENTS + 1)))
    graph = b.finish([b.op(ops.neg, big)])
    assert fold(graph) is graph


# -- cse ------------------------------------------------------------------------------------------


def test_equal_eqns() -> None:
    check(
        cse,
        "x: f32[3], y: f32[3]",
        """
        forward
        a: f32[3] = mul(x, y)
        b: f32[3] = exp(a)
        backward
        c: f32[3] = mul(y, x)
        d: f32[3] = exp(c)
        e: f32[3] = sub(x, y)
        g: f32[3] = sub(y, x)
        return b: f32[3], d: f32[3], e: f32[3], g: f32[3]""",
        """
        forward
        a: f32[3] = mul(x, y)
        b: f32[3] = exp(a)
        backward
        e: f32[3] = sub(x, y)
        g: f32[3] = sub(y, x)
        return b: f32[3], b: f32[3], e: f32[3], g: f32[3]""",
    )


def test_literals_are_compared_as_bits() -> None:
    check(
        cse,
        "x: f32[], i: i32[]",
        """
        forward
        a: f32[] = mul(x, 0.0)
        b: f32[] = mul(x, -0.0)
        c: f32[] = add(x, nan)
        d: f32[] = add(nan, x)
        return a: f32[], b: f32[], c: f32[], d: f32[]""",
        """
        forward
        a: f32[] = mul(x, 0.0)
        b: f32[] = mul(x, -0.0)
        c: f32[] = add(x, nan)
        return a: f32[], b: f32[], c: f32[], c: f32[]""",
    )


def test_params_and_several_outputs() -> None:
    check(
        cse,
        "k: u32[2], x: f32[2]",
        """
        forward
        a: u32[2], b: u32[2] = threefry2x32(k, k, k, k)
        c: u32[2], d: u32[2] = threefry2x32(k, k, k, k)
        e: f64[2] = cast(x, dtype=f64)
        g: i32[2] = cast(x, dtype=i32)
        return b: u32[2], d: u32[2], e: f64[2], g: i32[2]""",
        """
        forward
        a: u32[2], b: u32[2] = threefry2x32(k, k, k, k)
        e: f64[2] = cast(x, dtype=f64)
        g: i32[2] = cast(x, dtype=i32)
        return b: u32[2], b: u32[2], e: f64[2], g: i32[2]""",
    )


def test_equal_effects_merge() -> None:
    check(
        cse,
        "x: f32[4], i: i64[2]",
        """
        forward
        a: f32[2] = gather(x, i, axes=(0,), batch=0, wrap=True)
        b: f32[2] = gather(x, i, axes=(0,), batch=0, wrap=True)
        return x: f32[4]""",
        """
        forward
        a: f32[2] = gather(x, i, axes=(0,), batch=0, wrap=True)
        return x: f32[4]""",
    )


# -- dce ------------------------------------------------------------------------------------------


def test_dead_eqns_go_and_effects_stay() -> None:
    check(
        dce,
        "x: f32[4], i: i64[2], n: i32[2]",
        """
        forward
        a: f32[4] = exp(x)
        b: f32[4] = sin(a)
        c: f32[4] = cos(x)
        d: f32[2] = gather(c, i, axes=(0,), batch=0, wrap=True)
        e: i32[2] = remainder(n, n)
        g: bool[2] = eq(e, n)
        check(g, message='must hold')
        return a: f32[4]""",
        """
        forward
        a: f32[4] = exp(x)
        c: f32[4] = cos(x)
        d: f32[2] = gather(c, i, axes=(0,), batch=0, wrap=True)
        e: i32[2] = remainder(n, n)
        g: bool[2] = eq(e, n)
        check(g, message='must hold')
        return a: f32[4]""",
    )


def test_division_of_floats_is_no_effect() -> None:
    check(dce, "x: f32[4]", "forward\na: f32[4] = remainder(x, x)\nreturn x: f32[4]",
          "return x: f32[4]")  # fmt: skip


def test_a_choice_between_literals() -> None:
    check(
        fold,
        "p: bool[3]",
        """
        forward
        a: f32[3] = broadcast(1.0, shape=(3,), axes=())
        b: f32[3] = broadcast(0.0, shape=(3,), axes=())
        c: f32[3] = select(p, a, b)
        r: bool[3] = gt(c, b)
        return r: bool[3]""",
        """
        forward
        a: bool[3] = broadcast(True, shape=(3,), axes=())
        b: bool[3] = broadcast(False, shape=(3,), axes=())
        r: bool[3] = select(p, a, b)
        return r: bool[3]""",
    )
