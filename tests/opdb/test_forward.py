"""Every spec on every executor, against R0 and, where exact, bit for bit."""

from __future__ import annotations

import pytest

from gradc.tracer.graph.types import float32, float64, int32, int64

from .driver import EXECUTORS, FAMILIES, batch, equal, judged, mismatch, reference, run_eager
from .spec import ALL, layouts, uint32

DTYPES = (*ALL, int64, uint32)
PAIRS = [
    pytest.param(family, spec, dtype, id=f"{spec.name}-{dtype.name}")
    for family, specs in FAMILIES.items()
    for dtype in DTYPES
    for spec in specs
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


@pytest.mark.parametrize(("family", "spec", "dtype"), PAIRS)
def test_where_the_elements_lie_does_not_matter(family, spec, dtype):
    """Compiled programs get row-major copies, so this is about eager mode."""
    for case in (c for c in reference(family, dtype) if c.spec is spec):
        for arrays in layouts(case.arrays):
            assert judged(case, run_eager(case, arrays), "eager") is None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [float64, int32], ids=lambda d: d.name)
def test_whole_numbers_agree_to_the_bit(family, dtype):
    """Small whole numbers: sums, products and every index are exact, in whatever order."""
    cases = [c for c in batch(family, dtype, exact=True) if c.spec.exact or c.spec.whole]
    assert {e for c in cases for e in c.results} == set(EXECUTORS)
    for case in cases:
        expected = case.results["numpy"]
        for executor, found in case.results.items():
            for x, n in zip(found, expected, strict=True):
                # Of 0 the sign may depend on the order: in sums and among equals.
                same = equal(x + 0, n + 0) if x.dtype.kind == "f" else equal(x, n)
                assert same.all(), (case.spec.name, executor, case.arrays, x, n)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_the_flags_users_get(family, dtype):
    """Minutes of the C compiler: `pytest -m slow tests/opdb`."""
    assert not wrong_ones(batch(family, dtype, flags=()), "c")
