"""Index expressions against brute force: same numbers, true ranges, no divisions left over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index

NAMES = ("i", "j", "k")
SIZES = (2, 3, 4)


def points() -> Iterator[dict[str, int]]:
    for values in product(*(range(n) for n in SIZES)):
        yield dict(zip(NAMES, values, strict=True))


@st.composite
def expressions(draw: st.DrawFn) -> tuple[Index, object]:
    """An index, and the function it ought to be."""
    kind = draw(st.integers(0, 6))
    if kind == 0:
        c = draw(st.integers(-7, 30))
        return ix.const(c), lambda p: c
    if kind == 1:
        n = draw(st.integers(0, 2))
        return ix.var(NAMES[n], SIZES[n]), lambda p: p[NAMES[n]]
    a, f = draw(expressions())
    if kind == 2:
        b, g = draw(expressions())
        return a + b, lambda p: f(p) + g(p)
    if kind == 3:
        c = draw(st.integers(-3, 6))
        return a * c, lambda p: f(p) * c
    c = draw(st.integers(1, 12))
    if kind == 4:
        return a // c, lambda p: f(p) // c
    if kind == 5:
        return a % c, lambda p: f(p) % c
    b, g = draw(expressions())
    return ix.minimum(a, b), lambda p: min(f(p), g(p))


@given(expressions())
def test_simplification_changes_nothing(pair: tuple[Index, object]) -> None:
    e, f = pair
    assert callable(f)
    for point in points():
        value = ix.evaluate(e, point)
        assert value == f(point)
        assert e.lo <= value <= e.hi


@given(expressions())
def test_substitution(pair: tuple[Index, object]) -> None:
    e, f = pair
    assert callable(f)
    i = ix.var("i", 2).terms[0][0]
    moved = ix.substitute(e, lambda a: ix.var("j", 3) // 2 if a is i else None)
    for point in points():
        assert ix.evaluate(moved, point) == f({**point, "i": point["j"] // 2})


SHAPES = [(2, 3, 4), (6, 4), (24,), (4, 6), (2, 12), (3, 8), (1, 24), (2, 2, 2, 3), (4, 3, 2)]


@pytest.mark.parametrize("old", SHAPES)
@pytest.mark.parametrize("new", SHAPES)
def test_reshapes(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    index = tuple(ix.var(f"a{n}", d) for n, d in enumerate(new))
    found = ix.unravel(ix.ravel(index, new), old)
    for position in range(prod(new)):
        where = np.unravel_index(position, new)
        values = {f"a{n}": int(v) for n, v in enumerate(where)}
        expected = np.unravel_index(position, old)
        assert [ix.evaluate(e, values) for e in found] == [int(v) for v in expected]


@pytest.mark.parametrize(
    ("old", "new"), [((2, 3, 4), (6, 4)), ((6, 4), (2, 3, 4)), ((4, 6), (8, 3)), ((24,), (2, 12))]
)
def test_there_and_back_is_nothing(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    index = tuple(ix.var(f"a{n}", d) for n, d in enumerate(new))
    middle = ix.unravel(ix.ravel(index, new), old)
    assert ix.ravel(middle, old) is ix.ravel(index, new)
    assert ix.unravel(ix.ravel(middle, old), new) == index


def test_merging_axes_needs_no_division() -> None:
    i, j = ix.var("i", 4), ix.var("j", 6)
    assert (i * 6 + j) // 6 is i
    assert (i * 6 + j) % 6 is j
    assert str((i * 12 + j * 2 + 1) // 2) == "i*6 + j"


def test_equal_means_identical() -> None:
    i = ix.var("i", 5)
    assert i * 2 + 3 is i + (i + 3)
    assert ix.var("i", 5) is i and ix.var("i", 6) is not i
    assert ix.var("one", 1) is ix.const(0)


def test_strides() -> None:
    i, j = ix.var("i", 4), ix.var("j", 6)
    atom = i.terms[0][0]
    assert ix.stride(i * 6 + j, atom) == 6
    assert ix.stride(j, atom) == 0
    assert ix.stride((i + j) % 3, atom) is None
