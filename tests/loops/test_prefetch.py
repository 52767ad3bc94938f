"""Prefetches: where rows stay for several stages, within their arrays, and without effect."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from interpreter import run_module
from random_programs import Drawer, arguments
from reference import run_reference
from small_programs import cross_entropy, layer_norm, softmax

from gradc.codegen.loops import prefetch
from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.ir import For, Module, Prefetch, Stmt
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer.graph.ir import Graph


def prefetches(module: Module) -> list[Prefetch]:
    def within(body: Iterable[Stmt]) -> Iterable[Prefetch]:
        for s in body:
            if isinstance(s, Prefetch):
                yield s
            elif isinstance(s, For):
                yield from within(s.body)

    return [p for f in module.funcs for p in within(f.body)]


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "LARGE_BYTES", 0)
    monkeypatch.setattr(prefetch, "ROW_BYTES", (1, 1 << 20))


def test_a_softmax_asks_for_the_next_row_and_for_its_output() -> None:
    found = prefetches(build_module(plan_graph(softmax(512, 512))))
    assert {(p.buffer.written, p.write) for p in found} == {(False, False), (True, True)}


@pytest.mark.parametrize("shape", [(64, 512), (8192, 32), (32, 65536)])
def test_not_for_small_arrays_nor_short_or_long_rows(shape: tuple[int, int]) -> None:
    assert not prefetches(build_module(plan_graph(softmax(*shape))))


@pytest.mark.parametrize(
    "graph", [softmax(6, 80), layer_norm(5, 48), cross_entropy(7, 100)], ids=lambda g: g.name
)
def test_results_are_the_same(graph: Graph, small_counts: None) -> None:
    module = build_module(plan_graph(graph))
    verify_module(module)
    assert prefetches(module)
    arrays = arguments(graph, 0)
    outputs, _ = run_module(module, graph, arrays, 0)
    for want, found in zip(run_reference(graph, arrays), outputs, strict=True):
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed: int, small_counts: None) -> None:
    graph = Drawer(seed, size=25).draw()
    arrays = arguments(graph, seed, exact=True)
    module = build_module(plan_graph(graph))
    verify_module(module)
    outputs, _ = run_module(module, graph, arrays, seed)
    for want, found in zip(run_reference(graph, arrays), outputs, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-3)
