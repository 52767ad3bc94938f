"""Kernels divided into tasks: the same results, whatever thread runs what, and in which order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from divided import divide_everything
from interpreter import run_module
from random_programs import Array, Drawer, arguments
from reference import run_reference
from small_programs import Maker, adam, cross_entropy, layer_norm, mlp_step, softmax

from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.division import divide
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.pipeline import lower_c
from gradc.codegen.plan.planner import plan_graph
from gradc.runtime.binding import THREADS, get_num_threads, load_module, set_num_threads
from gradc.runtime.executable import CBound
from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import int64
from gradc.tracer.storage import Storage


@pytest.fixture(autouse=True)
def divided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    divide_everything(monkeypatch)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    before = get_num_threads()
    yield
    THREADS.set(before)


def test_blocks_cover_every_iteration_once() -> None:
    for sizes in ((64,), (3, 50), (2, 3, 17), (1000, 2)):
        for wanted in (2, 7, 64):
            for grain in (1, 8):
                found = divide(sizes, wanted, grain)
                if found is None:
                    continue
                n = found.sizes[found.axis]
                assert found.block % grain == 0 or found.block == n
                assert (found.blocks - 1) * found.block < n <= found.blocks * found.block
                assert found.tasks >= 2


@pytest.mark.parametrize("wanted", [0, 1])
def test_fewer_than_two_tasks_are_no_division(wanted: int) -> None:
    """Sums over few rows want no part of their own: (size // share) of them, which is none."""
    assert divide((3, 50), wanted) is None


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    graph = Drawer(seed, size=25).draw()
    arrays = arguments(graph, seed, exact=True)
    module = build_module(plan_graph(graph))
    verify_module(module)
    outputs, _ = run_module(module, graph, arrays, seed)
    for want, found in zip(run_reference(graph, arrays), outputs, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-3)


def test_they_are_divided() -> None:
    """Else the test above would hold for nothing."""
    modules = [build_module(plan_graph(Drawer(seed, size=25).draw())) for seed in range(20)]
    assert sum(bool(f.tasks) for m in modules for f in m.funcs) > 50
    assert max(c.segment for m in modules for c in m.calls) > 2
    assert any(f.name.endswith("_last") for m in modules for f in m.funcs)


def programs() -> dict[str, Graph]:
    m = Maker("embedding")
    table, at, g = m.input((50, 16), "table"), m.input((40,), "at", int64), m.input((40, 16), "g")
    table_g = m.scatter(table, g, at, axes=(0,), batch=0, combiner="add", wrap=True)
    embedding = m.b.finish([table_g, m.gather(table, at, axes=(0,), batch=0, wrap=True)])
    m = Maker("sums")
    x = m.input((37, 50), "x")
    sums = m.b.finish([
        m.reduce_sum(x, axes=(0, 1)), m.reduce_sum(x, axes=(0,)), m.reduce_max(x, axes=(1,)),
        m.cumsum(x, axis=1, reverse=False), m.argmax(x, axis=1),
        m.sort(x, axis=1, descending=False),
    ])  # fmt: skip
    return {
        "softmax": softmax(24, 30), "layer norm": layer_norm(24, 30), "adam": adam(),
        "cross-entropy": cross_entropy(24, 30), "mlp step": mlp_step(16, 20, 30, 8),
        "embedding": embedding, "sums": sums,
    }  # fmt: skip


def run_c(bound: CBound, graph: Graph, state: list[Array], initial: list[Array]) -> list[Array]:
    for array, value in zip(state, initial, strict=True):
        array[...] = value
    fresh = iter(bound([]))
    aliases = dict(graph.aliases)
    return [
        state[aliases[o]].copy() if o in aliases else next(fresh) for o in range(len(graph.outputs))
    ]


@pytest.mark.parametrize("name", programs())
def test_bits_do_not_depend_on_threads(name: str) -> None:
    graph = all_state(programs()[name])
    arrays = arguments(graph, 3, exact=False)
    module = lower_c(graph)
    assert module.threads > 1, "a program for several threads"
    state = [np.array(a) for a in arrays]
    bound = CBound(module, load_module(module), [Storage(a) for a in state])
    expected = None
    for n in (1, 2, 3, 8):
        set_num_threads(n)
        for _ in range(20):
            found = run_c(bound, graph, state, arrays)
            expected = found if expected is None else expected
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_array_equal(a, b)
    assert expected is not None
    for want, found in zip(run_reference(graph, arrays), expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-5)


def all_state(graph: Graph) -> Graph:
    """The same program, every input of it state."""
    return graph.replace(n_args=0)


@pytest.mark.parametrize("seed", range(16))
def test_the_error_does_not_depend_on_threads(seed: int) -> None:
    """The smallest failing (eqn, element), and state as it was."""
    graph = Drawer(seed, failing=True, size=25).draw()
    arrays = arguments(graph, seed, exact=True)
    with contextlib.suppress(GradcError):
        run_reference(graph, arrays)
        pytest.skip("this one does not fail")
    module = lower_c(graph, passes=())
    state = [np.array(a) for a in arrays]
    bound = CBound(module, load_module(module), [Storage(a) for a in state])
    said: set[tuple[type, str]] = set()
    for n in (1, 2, 8):
        set_num_threads(n)
        for _ in range(10):
            with pytest.raises(GradcError) as caught:
                bound([])
            said.add((caught.type, caught.value.what))
            for before, after in zip(arrays, state, strict=True):
                np.testing.assert_array_equal(after, before)
    assert len(said) == 1
