"""Gradients: backward against JAX's own autodiff and finite differences, to the second order."""

from __future__ import annotations

import pytest

from .driver import FAMILIES
from .gradients import cases_of, differentiable, first_faults, second_faults

SPECS = [
    pytest.param(family, spec, id=spec.name)
    for family, specs in FAMILIES.items()
    for spec in specs
    if differentiable(spec)
]


@pytest.mark.parametrize(("family", "spec"), SPECS)
def test_first_order(family, spec):
    assert cases_of(spec)
    found = first_faults(spec, family)
    assert not found, found[0]


@pytest.mark.parametrize(("family", "spec"), [p for p in SPECS if p.values[1].second])
def test_second_order(family, spec):
    found = second_faults(spec)
    assert not found, found[0]
