"""Random programs over every primitive: planned, built, verified, and run statement by statement
by the strict interpreter, against the NumPy rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from interpreter import run_module
from random_programs import Array, Drawer, arguments
from reference import run_reference
from small_programs import (
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
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.ops.primitive import PRIMITIVES


def check(graph: Graph, arrays: list[Array], tolerance: float = 1e-4) -> None:
    plan = plan_graph(graph)
    module = build_module(plan)
    verify_module(module)
    try:
        expected = run_reference(graph, arrays)
    except GradcError as error:
        outputs, failure = run_module(module, graph, arrays)
        assert failure is not None, f"no failure; the reference says: {error.what}"
        return
    outputs, failure = run_module(module, graph, arrays)
    assert failure is None, f"{failure}\n{plan}"
    for n, (want, got) in enumerate(zip(expected, outputs, strict=True)):
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(
            got, want, rtol=tolerance, atol=tolerance, err_msg=f"output {n} of\n{plan}"
        )


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed: int) -> None:
    graph = Drawer(seed).draw()
    check(graph, arguments(graph, seed))


@pytest.mark.parametrize("seed", range(60))
def test_programs_that_may_fail(seed: int) -> None:
    graph = Drawer(seed, failing=True).draw()
    check(graph, arguments(graph, seed))


@pytest.mark.parametrize("seed", range(12))
def test_larger_random_programs(seed: int) -> None:
    graph = Drawer(5000 + seed, size=45).draw()
    check(graph, arguments(graph, seed, exact=True), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3000))
def test_many_random_programs(seed: int) -> None:
    graph = Drawer(10_000 + seed, size=20, failing=seed % 3 == 0).draw()
    check(graph, arguments(graph, seed), 1e-3)


def test_the_drawer_reaches_every_primitive_of_more_than_one_kind() -> None:
    seen = {e.prim.name for seed in range(300) for e in Drawer(seed).draw().eqns}
    plain = {p.name for p in PRIMITIVES.values() if p.family == "elementwise"}
    missing = set(PRIMITIVES) - plain - seen
    assert missing <= {"check"}, missing


@pytest.mark.parametrize("size", [(3, 5), (2, 33), (17, 16), (1, 4), (4, 1)])
@pytest.mark.parametrize(
    "make", [softmax, softmax_backward, log_softmax, layer_norm], ids=lambda f: f.__name__
)
def test_rows(make: Callable[[int, int], Graph], size: tuple[int, int]) -> None:
    graph = make(*size)
    check(graph, arguments(graph, 1, exact=True))


@pytest.mark.parametrize("size", [(3, 5), (2, 33), (17, 6)])
def test_cross_entropy(size: tuple[int, int]) -> None:
    graph = cross_entropy(*size)
    check(graph, arguments(graph, 1, exact=True))


@pytest.mark.parametrize("size", [(4, 6, 5, 3), (9, 17, 40, 3), (1, 4, 5, 6), (3, 20, 1, 2)])
def test_training_steps(size: tuple[int, int, int, int]) -> None:
    graph = mlp_step(*size)
    check(graph, arguments(graph, 2, exact=True))


def test_updates_and_attention() -> None:
    for graph in (adam(), attention()):
        arrays = [np.abs(a) for a in arguments(graph, 3, exact=True)]
        check(graph, arrays)
