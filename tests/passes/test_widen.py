"""widen: what float64 means for each place that mentions a type."""

from __future__ import annotations

import numpy as np
from golden import check

from gradc.codegen.passes.widen import widen
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.rules.interpret import run_graph


def test_types_literals_and_constants() -> None:
    check(
        widen,
        "x: f32[2], i: i64[2]; state w: f64[2], h: f32[2]",
        """
        forward
        a: f32[2] = broadcast(0.1, shape=(2,), axes=())
        b: f32[2] = mul(x, a)
        c: f32[2] = cast(i, dtype=f32)
        d: f32[2] = cast(w, dtype=f32)
        e: i32[2] = cast(d, dtype=i32)
        g: f32[2] = iota(shape=(2,), axis=0, dtype=f32)
        k: f32[2] = constant(value=[0.5, 0.25])
        update
        m: f32[2] = add(b, c)
        return h' = m: f32[2], e: i32[2], g: f32[2], k: f32[2], 0.5: f32[]""",
        """
        forward
        a: f64[2] = broadcast(0.10000000149011612, shape=(2,), axes=())
        b: f64[2] = mul(x, a)
        c: f64[2] = cast(i, dtype=f64)
        d: f64[2] = cast(w, dtype=f64)
        e: i32[2] = cast(d, dtype=i32)
        g: f64[2] = iota(shape=(2,), axis=0, dtype=f64)
        k: f64[2] = constant(value=[0.5, 0.25])
        update
        m: f64[2] = add(b, c)
        return h' = m: f64[2], e: i32[2], g: f64[2], k: f64[2], 0.5: f64[]""",
    )


def test_bits_pass_through_float32() -> None:
    before = """
        forward
        u: u32[2] = bitcast(x, dtype=u32)
        v: f32[2] = bitcast(u, dtype=f32)
        w: i32[2] = bitcast(u, dtype=i32)
        return u: u32[2], v: f32[2], w: i32[2]"""
    after = """
        forward
        a: f32[2] = cast(x, dtype=f32)
        u: u32[2] = bitcast(a, dtype=u32)
        b: f32[2] = bitcast(u, dtype=f32)
        v: f64[2] = cast(b, dtype=f64)
        w: i32[2] = bitcast(u, dtype=i32)
        return u: u32[2], v: f64[2], w: i32[2]"""
    graph = check(widen, "x: f32[2]", before, after)
    x = np.array([1.5, -0.0])
    bits, back, _ = run_graph(graph, [x])
    assert bits.tolist() == [0x3FC00000, 0x80000000]
    assert back.tolist() == [1.5, -0.0]


def test_ids_stay() -> None:
    graph = parse_graph(
        "graph f(x: f32[2])\nforward\na: u32[2] = bitcast(x, dtype=u32)\n"
        "b: f32[2] = exp(x)\nreturn a: u32[2], b: f32[2]"
    )
    assert {e.prim.name: e.id for e in widen(graph).eqns if e.id < 2} == {"bitcast": 0, "exp": 1}
