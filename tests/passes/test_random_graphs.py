"""Every pass keeps the bits of random programs, and the graph valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from random_graphs import random_program

from gradc.codegen.passes.cse import cse
from gradc.codegen.passes.dce import dce
from gradc.codegen.passes.fold import fold
from gradc.codegen.passes.simplify import simplify
from gradc.codegen.pipeline import PASSES_C, PASSES_JAX, PASSES_NUMPY, run_passes
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.verify import verify
from gradc.tracer.rules.interpret import run_graph


def for_c(graph: Graph) -> Graph:
    return run_passes(graph, PASSES_C, verify=True)


def for_jax(graph: Graph) -> Graph:
    return run_passes(graph, PASSES_JAX, verify=True)


def for_numpy(graph: Graph) -> Graph:
    return run_passes(graph, PASSES_NUMPY, verify=True)


@pytest.mark.parametrize("one", [simplify, fold, cse, dce, for_c, for_jax, for_numpy])
@pytest.mark.parametrize("block", range(4))
def test_bits_stay(one: Callable[[Graph], Graph], block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        assert_same_bits(one, seed)


def assert_same_bits(one: Callable[[Graph], Graph], seed: int) -> None:
    graph, inputs = random_program(seed)
    verify(graph)
    after = one(graph)
    verify(after, after=one.__name__)
    for i, (want, found) in enumerate(zip(run_graph(graph, inputs), run_graph(after, inputs))):
        same = bits(want) == bits(found)
        assert same, f"seed {seed}, output {i}\n{want}\n{found}\n{graph}\n{after}"


def bits(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes, with one NaN for all."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return array.tobytes()
