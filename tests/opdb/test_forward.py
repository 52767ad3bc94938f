"""Every spec on every executor, against R0 and, where exact, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.tracer.graph.types import float32, float64, int32, int64
from gradc.tracer.ops.primitive import PRIMITIVES

from .driver import EXECUTORS, FAMILIES, batch, mismatch
from .spec import ALL, uint32

# Minutes, most of them XLA's: `pytest -m slow tests/opdb`.
pytestmark = pytest.mark.slow

DTYPES = (*ALL, int64, uint32)
PAIRS = [
    pytest.param(family, spec, dtype, id=f"{spec.name}-{dtype.name}")
    for family, specs in FAMILIES.items()
    for spec in specs
    for dtype in DTYPES
    if dtype in spec.dtypes
]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("family", "spec", "dtype"), PAIRS)
def test_executors_agree(family, spec, dtype, executor):
    found = batch(family, dtype)
    cases = [c for c in found.cases if c.spec is spec]
    assert cases
    wrong = [mismatch(c, found.results[executor][c.outputs], found, executor) for c in cases]
    wrong = [w for w in wrong if w]
    assert not wrong, f"{len(wrong)} of {len(cases)} samples; the first:\n{wrong[0]}"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [float64, int32], ids=lambda d: d.name)
def test_whole_numbers_agree_to_the_bit(family, dtype):
    """Small whole numbers: sums, products and every index are exact, in whatever order."""
    found = batch(family, dtype, True)
    for case in found.cases:
        if case.spec.name in INEXACT:
            continue
        expected = found.results["numpy"][case.outputs]
        for executor in EXECUTORS:
            for x, n in zip(found.results[executor][case.outputs], expected):
                assert np.array_equal(x, n, equal_nan=x.dtype.kind == "f"), (
                    case.spec.name, executor, case.arrays,
                )  # fmt: skip


# What is not made of sums, products, comparisons and movement alone.
INEXACT = {
    "exp", "expm1", "sin", "cos", "atan", "sinh", "cosh", "tanh", "asinh", "erf", "asin", "acos",
    "atanh", "erfinv", "tan", "sigmoid", "logsigmoid", "gelu", "gelu of tanh", "silu", "softplus", "elu",
    "leaky_relu", "logaddexp", "lerp", "mean", "logsumexp", "softmax", "log_softmax", "layer_norm",
    "cross_entropy", "attention", "losses", "var and std", "norm", "arange and linspace",
    "arithmetic with numbers", "clamp", "floor_divide", "remainder", "sum of nothing", "fmod",
    "pow of integers",
}  # fmt: skip


def test_every_primitive_has_a_spec():
    covered = {p for specs in FAMILIES.values() for s in specs for p in s.prims}
    assert set(PRIMITIVES) <= covered, set(PRIMITIVES) - covered


def test_the_shapes_that_must_be_there_are():
    for family in FAMILIES:
        arrays = [a for c in batch(family, float32).cases for a in c.arrays]
        assert any(a.ndim == 0 for a in arrays) or family == "structured"
        assert any(a.size == 0 for a in arrays)
        assert any(a.size == 1 for a in arrays)
        assert any(not a.flags.c_contiguous for a in arrays)
        assert any(s < 0 for a in arrays for s in a.strides)
