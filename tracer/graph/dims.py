"""Sizes: a `Dim` is an int or a polynomial in named sizes such as `batch`.

All arithmetic on shapes goes through this module, so that a size which is known only by name
travels through shape rules unchanged. Today every traced size is an int; `Poly` is what a
dynamic dimension becomes.

    numel((3, 4))                  -> 12
    numel((Poly.symbol("b"), 4))   -> 4*b
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias


class Poly:
    """An integer polynomial in named sizes: `{monomial: coefficient}`.

    A monomial is a sorted tuple of names with repetition, `()` being the constant term.
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[tuple[str, ...], int]) -> None:
        self.terms = {m: c for m, c in sorted(terms.items()) if c != 0}
        self._hash = hash(tuple(self.terms.items()))

    @staticmethod
    def symbol(name: str) -> Poly:
        """The size called `name`."""
        return Poly({(name,): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        def term(monomial: tuple[str, ...], coefficient: int) -> str:
            factors = [] if coefficient == 1 and monomial else [str(coefficient)]
            return "*".join([*factors, *monomial])

        return "+".join(term(m, c) for m, c in self.terms.items()) or "0"

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The value when every name stands for `sizes[name]`."""
        total = 0
        for monomial, coefficient in self.terms.items():
            product = coefficient
            for name in monomial:
                product *= sizes[name]
            total += product
        return total


Dim: TypeAlias = "int | Poly"
Shape: TypeAlias = "tuple[Dim, ...]"


def _terms(d: Dim) -> dict[tuple[str, ...], int]:
    return dict(d.terms) if isinstance(d, Poly) else {(): d}


def _normal(terms: dict[tuple[str, ...], int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c != 0}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Poly(kept)


def add(a: Dim, b: Dim) -> Dim:
    """`a + b`."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    terms = _terms(a)
    for monomial, coefficient in _terms(b).items():
        terms[monomial] = terms.get(monomial, 0) + coefficient
    return _normal(terms)


def mul(a: Dim, b: Dim) -> Dim:
    """`a * b`."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    terms: dict[tuple[str, ...], int] = {}
    for m1, c1 in _terms(a).items():
        for m2, c2 in _terms(b).items():
            monomial = tuple(sorted(m1 + m2))
            terms[monomial] = terms.get(monomial, 0) + c1 * c2
    return _normal(terms)


def sub(a: Dim, b: Dim) -> Dim:
    """`a - b`."""
    return add(a, mul(b, -1))


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of `dims`."""
    result: Dim = 0
    for d in dims:
        result = add(result, d)
    return result


def numel(shape: Iterable[Dim]) -> Dim:
    """The number of elements of `shape` (1 for a 0-d shape)."""
    result: Dim = 1
    for d in shape:
        result = mul(result, d)
    return result


def ceil_div(a: Dim, b: int) -> Dim:
    """`ceil(a / b)` for a known `a`; sizes divided by a stride are not polynomials."""
    if isinstance(a, Poly):
        raise ValueError(f"the size {a} cannot be divided by {b}: it is known only by name")
    return -(-a // b)


def is_known(shape: Iterable[Dim]) -> bool:
    """Whether every size is an int."""
    return all(isinstance(d, int) for d in shape)


def known(d: Dim) -> int:
    """`d` as an int.

    Raises:
        ValueError: `d` is known only by name.
    """
    if isinstance(d, Poly):
        raise ValueError(f"the size {d} is known only by name here")
    return d


def known_shape(shape: Shape) -> tuple[int, ...]:
    """`shape` with every size as an int (see `known`)."""
    for d in shape:
        if type(d) is not int:
            return tuple(known(d) for d in shape)
    return shape  # type: ignore[return-value]


def format_shape(shape: Iterable[Dim]) -> str:
    """`[64,784]`, as shapes stand in printed graphs and in messages."""
    return "[" + ",".join(str(d) for d in shape) + "]"
