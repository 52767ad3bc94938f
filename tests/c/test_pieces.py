"""Programs of many calls are made of several functions, and fail and run as one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ctools import FLAGS, STRICT, Build

from gradc.codegen.c.part import PIECE
from gradc.codegen.pipeline import lower_c
from gradc.runtime.binding import load_library
from gradc.runtime.executable import CBound
from gradc.tracer.errors import IndexOutOfRange
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import int64
from gradc.tracer.storage import Storage

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
from small_programs import Maker

COUNT = 3 * PIECE


def program() -> Graph:
    """Products one after the other, rows picked from each, and state that is written last."""
    m = Maker("picked")
    rows, w = m.input((4,), "rows", int64), m.input((8, 8), "w")
    state = m.input((4, 8), "state")
    h = m.input((6, 8), "h")
    total = state
    for _ in range(COUNT // 2):
        h = m.tanh(m.dot(h, w, 1, 0))
        picked = m.gather(h, rows, axes=(0,), batch=0, wrap=False)
        total = m.add(total, m.cumsum(picked, axis=0, reverse=False))
    graph = m.b.finish([h, total])
    return graph.replace(n_args=2, inputs=(rows, w, graph.inputs[3], state), aliases=((1, 3),))


def arrays(last: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    h, w, state = (rng.normal(size=s).astype(np.float32) for s in ((6, 8), (8, 8), (4, 8)))
    return [np.array([0, 3, 5, last]), w, h, state]


def bound(build: Build, *flags: str) -> tuple[CBound, list[np.ndarray]]:  # type: ignore[type-arg]
    module = lower_c(program(), name="picked", passes=())
    library = load_library(build(module.source, *FLAGS, *flags), module.name)
    given = arrays(1)
    return CBound(module, library, [Storage(a) for a in given[2:]]), given


def test_every_function_is_short() -> None:
    source = lower_c(program(), name="picked", passes=()).source
    bodies = [f.split("\n}\n")[0] for f in source.split("void picked_part_")[1:]]
    assert len(bodies) >= 3
    assert all(body.count("    k") <= PIECE for body in bodies)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_it_builds_without_warnings(build: Build, cc: str, cxx: str, language: str) -> None:
    source = lower_c(program(), name="picked", passes=()).source
    standard = "-std=gnu11" if language == "c" else "-std=gnu++17"
    warnings = STRICT if language == "c" else ("-Wall", "-Wextra", "-Werror")
    flags = ("-x", language, standard, *FLAGS[1:], *warnings, "-fopenmp")
    build(source, *flags, tool=cc if language == "c" else cxx)


def test_a_failure_leaves_state_as_it_was(build: Build) -> None:
    run, given = bound(build)
    before = given[3].copy()
    bad = arrays(6)
    with pytest.raises(IndexOutOfRange, match="index 6"):
        run(bad[:2])
    np.testing.assert_array_equal(given[3], before)
    run(given[:2])
    assert not np.array_equal(given[3], before)
