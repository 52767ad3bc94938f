"""No primitive without a spec, no spec without its shape classes or the reason why not."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.tracer.ops.primitive import PRIMITIVES
from gradc.tracer.rules.vjp import NOT_DIFFERENTIABLE, vjp

from .driver import FAMILIES, samples_of
from .gradients import cases_of, differentiable
from .spec import binary_samples, layouts

SPECS = [s for specs in FAMILIES.values() for s in specs]
CLASSES = {
    "0-d": lambda a: a.ndim == 0,
    "size 1": lambda a: a.ndim > 0 and a.size == 1,
    "empty": lambda a: a.size == 0,
}


def test_every_primitive_has_a_spec():
    covered = {p for s in SPECS for p in s.prims}
    assert set(PRIMITIVES) <= covered, set(PRIMITIVES) - covered


def test_names_are_unique():
    assert len({s.name for s in SPECS}) == len(SPECS)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_shape_class_is_shown_or_excused(spec):
    for dtype in spec.dtypes:
        arrays = [a for sample in samples_of(spec, dtype) for a in sample]
        shown = {name for name, fits in CLASSES.items() if any(fits(a) for a in arrays)}
        assert shown | set(spec.lacks) == set(CLASSES)
        assert not shown & set(spec.lacks), "lacks what it shows"


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_layout_is_shown(spec):
    found = [a for s in samples_of(spec, spec.dtypes[0]) for t in layouts(s) for a in t]
    if any(a.ndim and a.size > 1 for s in samples_of(spec, spec.dtypes[0]) for a in s):
        assert any(not a.flags.c_contiguous for a in found)
        assert any(s < 0 for a in found for s in a.strides)
    if "0-d" not in spec.lacks and spec in FAMILIES["elementwise"]:
        assert any(0 in a.strides and a.size > 1 for a in found)


def test_broadcasting_goes_both_ways():
    for spec in (s for s in SPECS if s.samples is binary_samples):
        shapes = [[a.shape for a in s] for s in samples_of(spec, spec.dtypes[0])]
        assert any(np.broadcast_shapes(a, b) not in (a, b) for a, b in shapes)
        assert any(a != np.broadcast_shapes(a, b) == b for a, b in shapes)
        assert any(b != np.broadcast_shapes(a, b) == a for a, b in shapes)


def test_what_has_a_gradient_rule_is_differentiated():
    tested = {p for s in SPECS if differentiable(s) and cases_of(s) for p in s.prims}
    ruled = {p.name for p in vjp if vjp[p] is not NOT_DIFFERENTIABLE}
    assert ruled - tested == set()
