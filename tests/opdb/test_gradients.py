"""Gradients: backward against JAX's own autodiff and finite differences, to the second order."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.tracer.graph.types import float64

from .driver import FAMILIES, directional, gradient, jax_gradients, second_directional

SPECS = [
    pytest.param(family, spec, id=spec.name)
    for family, specs in FAMILIES.items()
    for spec in specs
    if spec.grad and float64 in spec.dtypes
]


def cases_of(family, spec):
    return [found for found in jax_gradients(family, float64) if found[0].spec is spec]


@pytest.mark.parametrize(("family", "spec"), SPECS)
def test_first_order(family, spec):
    for case, seeds, expected in cases_of(family, spec):
        found = gradient(case, seeds)
        for g, e in zip(found, expected, strict=spec.jax_grad):
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-10, err_msg=repr(case.arrays))
        if not spec.numeric:
            continue
        exact, numeric = directional(case, seeds)
        np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-6, err_msg=repr(case.arrays))


@pytest.mark.parametrize(("family", "spec"), [p for p in SPECS if p.values[1].second])
def test_second_order(family, spec):
    for case, seeds, _ in cases_of(family, spec)[:6]:
        exact, numeric = second_directional(case, seeds)
        np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-5, err_msg=repr(case.arrays))
