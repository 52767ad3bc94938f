"""Random programs in exact arithmetic: C and JAX give NumPy's very numbers.

Many programs are compiled as one, which is what makes a test of compilers quick. The sign of a
zero is left open by sums and extremes, and is not compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradc.runtime.crosscheck import run_executor
from gradc.tracer.graph.ir import Graph
from gradc.tracer.rules.interpret import run_graph

sys.path.insert(0, str(Path(__file__).parents[1] / "passes"))
from random_graphs import random_program

Array = np.ndarray[Any, Any]


def together(first: int, count: int) -> tuple[Graph, list[Array]]:
    """The programs of `count` seeds as one."""
    programs = [random_program(seed) for seed in range(first, first + count)]
    eqns = [e for graph, _ in programs for e in graph.eqns]
    graph = Graph(
        "programs",
        tuple(v for graph, _ in programs for v in graph.inputs),
        tuple(e.replace(id=i) for i, e in enumerate(eqns)),
        tuple(a for graph, _ in programs for a in graph.outputs),
        sum(len(graph.inputs) for graph, _ in programs),
    )
    return graph, [array for _, inputs in programs for array in inputs]


def assert_same(graph: Graph, inputs: list[Array], backend: str) -> None:
    wanted = run_graph(graph, inputs)
    found = run_executor(graph, inputs, backend)
    for i, (want, have) in enumerate(zip(wanted, found, strict=True)):
        assert want.dtype == have.dtype
        np.testing.assert_array_equal(have, want, err_msg=f"output {i} of\n{graph}")


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_c(first: int) -> None:
    assert_same(*together(first, 15), backend="c")


def test_jax() -> None:
    pytest.importorskip("jax")
    assert_same(*together(0, 8), backend="jax")


@pytest.mark.parametrize("seed", range(100, 106))
def test_c_with_state(seed: int) -> None:
    graph, inputs = random_program(seed)
    assert_same(graph, inputs, "c")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_c_long(seed: int) -> None:
    graph, inputs = random_program(seed, steps=30)
    assert_same(graph, inputs, "c")
