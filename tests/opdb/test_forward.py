"""Every spec on every executor, against R0 and, where exact, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.tracer.graph.types import float32, float64, int32, int64
from gradc.tracer.ops.primitive import PRIMITIVES

from .driver import EXECUTORS, FAMILIES, batch, mismatch, reference
from .spec import ALL, uint32

DTYPES = (*ALL, int64, uint32)
PAIRS = [
    pytest.param(family, spec, dtype, id=f"{spec.name}-{dtype.name}")
    for family, specs in FAMILIES.items()
    for spec in specs
    for dtype in DTYPES
    if dtype in spec.dtypes
]


def wrong_ones(found, executor):
    cases = [c for c in found if executor in c.results]
    assert cases
    wrong = [(c.spec.name, mismatch(c, executor)) for c in cases]
    wrong = [w for w in wrong if w[1]]
    return "\n".join(f"{name}: {text}" for name, text in wrong[:3])


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("family", "spec", "dtype"), PAIRS)
def test_executors_agree(family, spec, dtype, executor):
    assert not wrong_ones([c for c in batch(family, dtype) if c.spec is spec], executor)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [float64, int32], ids=lambda d: d.name)
def test_whole_numbers_agree_to_the_bit(family, dtype):
    """Small whole numbers: sums, products and every index are exact, in whatever order."""
    for case in batch(family, dtype, exact=True):
        expected = case.results["numpy"]
        for executor, found in case.results.items():
            for x, n in zip(found, expected):
                same = np.array_equal(x, n, equal_nan=x.dtype.kind == "f")
                assert same, (case.spec.name, executor, case.arrays, x, n)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_the_flags_users_get(family, dtype):
    """Minutes of the C compiler: `pytest -m slow tests/opdb`."""
    assert not wrong_ones(batch(family, dtype, flags=()), "c")


def test_every_primitive_has_a_spec():
    covered = {p for specs in FAMILIES.values() for s in specs for p in s.prims}
    assert set(PRIMITIVES) <= covered, set(PRIMITIVES) - covered


def test_the_shapes_that_must_be_there_are():
    for family in FAMILIES:
        arrays = [a for c in reference(family, float32) for a in c.arrays]
        assert any(a.ndim == 0 for a in arrays)
        assert any(a.size == 0 for a in arrays)
        assert any(a.size == 1 and a.ndim for a in arrays)
        assert any(not a.flags.c_contiguous for a in arrays)
        assert any(s < 0 for a in arrays for s in a.strides)


@pytest.mark.parametrize("spec", [s for s in FAMILIES["elementwise"] if float32 in s.dtypes], ids=str)
def test_every_elementwise_spec_shows_every_shape(spec):
    if spec.name in ("threefry2x32", "mixed dtypes"):
        pytest.skip("its operands are vectors of words, or one vector")
    samples = [c.arrays for c in reference("elementwise", float32) if c.spec is spec]
    arrays = [a for sample in samples for a in sample]
    assert {0, 1, 2} <= {a.ndim for a in arrays}
    assert any(a.size == 0 for a in arrays) and any(a.size == 1 and a.ndim for a in arrays)
    assert any(a.size > 16 for a in arrays), "no vector with a tail"
    assert any(s < 0 for a in arrays for s in a.strides)
    assert any(0 in a.strides and a.size > 1 for a in arrays), "nothing repeated"
    if len(samples[0]) == 2:
        assert any(x.shape != y.shape for x, y in samples), "nothing broadcasts"
