"""Every operation refuses what it cannot do: the right class, its words, and the user's line."""

from __future__ import annotations

import traceback

import pytest

import gradc
from gradc.tracer.ops.primitive import PRIMITIVES

from .driver import FAMILIES
from .mistakes import FAILING, MISTAKES

CASES = [
    pytest.param(*mistake, id=f"{name}-{i}")
    for name, mistakes in MISTAKES.items()
    for i, mistake in enumerate(mistakes)
]


def line_of(caught):
    """Where in the table the mistake was made: the innermost frame there."""
    frames = traceback.extract_tb(caught.value.__traceback__)
    return [f.lineno for f in frames if f.filename.endswith("mistakes.py")][-1]


@pytest.mark.parametrize(("call", "error", "words"), CASES)
def test_a_mistake_is_named_with_its_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert f"mistakes.py:{line_of(caught)}, in" in str(caught.value)


@pytest.mark.parametrize("backend", ["eager", "numpy", "c", "jax"])
@pytest.mark.parametrize("name", FAILING)
def test_what_only_values_show(name, backend):
    function, arrays, error, words = FAILING[name]
    line = function.__code__.co_firstlineno
    called = function
    if backend != "eager":
        called = gradc.compile(lambda *a: function(*a), backend=backend)
    with pytest.raises(error, match=words) as caught:
        called(*arrays)
    # A lambda's code starts where it stands; `check` has a function of its own below the table.
    if name != "check":
        assert f"mistakes.py:{line}, in" in str(caught.value)


def test_every_spec_has_mistakes():
    """Of its own, or as one of several specs of the same primitives."""
    found = [s for specs in FAMILIES.values() for s in specs]
    covered = {p for s in found if s.name in MISTAKES for p in s.prims}
    alone = [s for s in found if s.name not in MISTAKES]
    assert [s.name for s in alone if not s.prims or not covered.issuperset(s.prims)] == []
    assert set(MISTAKES) <= {s.name for s in found}


def test_every_primitive_that_can_fail_fails():
    failing = {p.name for p in PRIMITIVES.values() if p.fails_on}
    named = {p for specs in FAMILIES.values() for s in specs if s.name in FAILING for p in s.prims}
    assert failing <= named

