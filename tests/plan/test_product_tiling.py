"""How products run: a vector's by parts of the matrix's rows, large updates along rows."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan.planner import plan_graph
from gradc.codegen.plan.tiling import Tiling


def tilings(function, *arguments):
    graph = gradc.compile(function).trace(*arguments).graph
    plan = plan_graph(run_passes(graph, PASSES_C, verify=True))
    return [k.tiling for k in plan.kernels if isinstance(k.tiling, Tiling)]


@pytest.mark.parametrize(
    ("rows", "k", "n", "parts"),
    [
        (1, 784, 512, 8),
        (4, 512, 512, 8),
        (1, 600, 300, 8),
        (1, 7 * 101, 512, 7),
        (1, 1009, 512, 1),  # a prime number has no equal parts
        (1, 100, 100, 1),  # a small matrix is at hand
        (8, 784, 512, 1),  # many rows
    ],
)
def test_a_vector_meets_a_large_matrix_in_parts(rows, k, n, parts):
    (tiling,) = tilings(lambda x, w: x @ w, gradc.zeros(rows, k), gradc.zeros(k, n))
    assert tiling.k_parts == parts


@pytest.mark.parametrize(("rows", "k", "n"), [(1, 784, 512), (3, 600, 309), (1, 707, 1111)])
def test_parts_add_up(rows, k, n):
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(rows, k)), rng.normal(size=(k, n)), rng.normal(size=n)
    fn = gradc.compile(lambda x, w, b: gradc.relu(x @ w + b))
    for dtype, limit in ((np.float32, 1e-4), (np.float64, 1e-12)):
        given = [gradc.tensor(a.astype(dtype)) for a in (x, w, b)]
        found, source = fn(*given).numpy(), fn.c_source
        assert "_last(" in source
        np.testing.assert_allclose(found, np.maximum(x @ w + b, 0), rtol=0, atol=limit)


@pytest.mark.parametrize(("size", "sweeps"), [(2048, True), (256, False)])
def test_a_large_update_goes_along_rows(size, sweeps):
    w, m = gradc.zeros(size, size), gradc.zeros(size, size)

    def update(x, y):
        g = x.T @ y
        m.mul_(0.9).add_(g)
        w.sub_(0.1 * m)

    (tiling,) = tilings(update, gradc.zeros(64, size), gradc.zeros(64, size))
    assert tiling.sweeps == sweeps
    assert tiling.rows_of_task(64) % tiling.mr == 0


def test_a_product_without_an_update_goes_by_panels():
    (tiling,) = tilings(lambda x, y: x.T @ y, gradc.zeros(64, 2048), gradc.zeros(64, 2048))
    assert not tiling.sweeps
