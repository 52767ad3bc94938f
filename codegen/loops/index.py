"""Index expressions: integer arithmetic on loop variables, in one normal form, with ranges.

    Index ::=  constant + coefficient * Atom + ...
    Atom  ::=  Var           a loop variable or an int64 local, with its least and greatest value
            |  Value         an int64 Loop IR expression used as an index (bound to a Var later)
            |  Div | Mod     floor division and remainder by a positive constant
            |  Min           the lesser of two indices; the greater is -min(-a, -b)

Expressions are hash-consed: equal means identical. Every one knows a range, which is how bounds
are proved and divisions vanish:

    i, j = var("i", 4), var("j", 6)
    (i * 6 + j) // 6     ->  i
    (i * 6 + j) % 6      ->  j

`Div` and `Mod` round towards -inf; where `operand.lo >= 0` (nearly always) C's `/` and `%` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import gcd
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from gradc.codegen.loops.ir import Expr

# Where nothing is known: far from the ends of int64, so that sums of bounds stay exact in C too.
UNBOUNDED = 1 << 62


class Atom:
    """A term that is not a constant. Interned; compared by identity."""

    __slots__ = ("__weakref__", "hi", "key", "lo")
    lo: int
    hi: int
    key: tuple[object, ...]

    def __init__(self, key: tuple[object, ...], lo: int, hi: int) -> None:
        self.key, self.lo, self.hi = key, lo, hi


class Var(Atom):
    """A loop variable or an int64 local, by name."""

    __slots__ = ("name",)

    def __init__(self, key: tuple[object, ...], name: str, lo: int, hi: int) -> None:
        super().__init__(key, lo, hi)
        self.name = name


class Value(Atom):
    """An int64 expression of the Loop IR used as an index."""

    __slots__ = ("expr",)

    def __init__(self, key: tuple[object, ...], expr: Expr, lo: int, hi: int) -> None:
        super().__init__(key, lo, hi)
        self.expr = expr


class Div(Atom):
    """`operand // divisor`."""

    __slots__ = ("divisor", "operand")

    def __init__(self, key: tuple[object, ...], operand: Index, divisor: int) -> None:
        super().__init__(key, operand.lo // divisor, operand.hi // divisor)
        self.operand, self.divisor = operand, divisor


class Mod(Atom):
    """`operand % divisor`, never negative."""

    __slots__ = ("divisor", "operand")

    def __init__(self, key: tuple[object, ...], operand: Index, divisor: int) -> None:
        super().__init__(key, 0, divisor - 1)
        self.operand, self.divisor = operand, divisor


class Min(Atom):
    """The lesser of two indices."""

    __slots__ = ("left", "right")

    def __init__(self, key: tuple[object, ...], left: Index, right: Index) -> None:
        super().__init__(key, min(left.lo, right.lo), min(left.hi, right.hi))
        self.left, self.right = left, right


Term: TypeAlias = tuple[Atom, int]


class Index:
    """`constant + sum(coefficient * atom)`, terms in a fixed order. Interned."""

    __slots__ = ("__weakref__", "constant", "hi", "key", "lo", "terms")

    def __init__(self, key: tuple[object, ...], constant: int, terms: tuple[Term, ...]) -> None:
        self.key, self.constant, self.terms = key, constant, terms
        lo = hi = constant
        for atom, c in terms:
            lo += c * (atom.lo if c > 0 else atom.hi)
            hi += c * (atom.hi if c > 0 else atom.lo)
        self.lo, self.hi = lo, hi

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return _index(self.constant + other, self.terms) if other else self
        return _sum(self.constant + other.constant, (*self.terms, *other.terms))

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return const(0)
        return _index(self.constant * factor, tuple((a, c * factor) for a, c in self.terms))

    def __floordiv__(self, divisor: int) -> Index:
        return divmod_index(self, divisor)[0]

    def __mod__(self, divisor: int) -> Index:
        return divmod_index(self, divisor)[1]

    def __repr__(self) -> str:
        return format_index(self)


_atoms: WeakValueDictionary[tuple[object, ...], Atom] = WeakValueDictionary()
_indices: WeakValueDictionary[tuple[object, ...], Index] = WeakValueDictionary()


def const(value: int) -> Index:
    """A constant index."""
    return _index(value, ())


def var(name: str, size: int) -> Index:
    """The variable `name`, running over `range(size)`."""
    return symbol(name, 0, max(size - 1, 0))


def symbol(name: str, lo: int, hi: int) -> Index:
    """The variable `name` with values in `[lo, hi]`; a constant where that is one number."""
    if lo == hi:
        return const(lo)
    key = ("var", name, lo, hi)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = Var(key, name, lo, hi)
    return of_atom(atom)


def value(expr: Expr, lo: int = -UNBOUNDED, hi: int = UNBOUNDED) -> Index:
    """An int64 expression as an index with values in `[lo, hi]`; the same object, the same atom."""
    if lo == hi:
        return const(lo)
    key = ("value", expr, lo, hi)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = Value(key, expr, lo, hi)
    return of_atom(atom)


def minimum(left: Index, right: Index) -> Index:
    """The lesser of the two; decided here where the ranges say so."""
    if left.hi <= right.lo:
        return left
    if right.hi <= left.lo:
        return right
    key = ("min", left, right)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = Min(key, left, right)
    return of_atom(atom)


def maximum(left: Index, right: Index) -> Index:
    """The greater of the two."""
    return minimum(left * -1, right * -1) * -1


def clamp(e: Index, lo: int, hi: int) -> Index:
    """`e` brought into `[lo, hi]`."""
    return minimum(maximum(e, const(lo)), const(hi))


def of_atom(atom: Atom) -> Index:
    return _index(0, ((atom, 1),))


def _index(constant: int, terms: tuple[Term, ...]) -> Index:
    key = (constant, terms)
    found = _indices.get(key)
    if found is None:
        found = _indices[key] = Index(key, constant, terms)
    return found


def _sum(constant: int, terms: Iterable[Term]) -> Index:
    """Collect equal atoms, then undo matching divisions: `c*(x//c) + x%c -> x`."""
    coefficients: dict[Atom, int] = {}
    for atom, c in terms:
        coefficients[atom] = coefficients.get(atom, 0) + c
    for atom, c in list(coefficients.items()):
        if isinstance(atom, Mod) and c and coefficients.get(atom):
            quotient = divmod_index(atom.operand, atom.divisor)[0]
            if len(quotient.terms) == 1 and quotient.constant == 0:
                ((partner, k),) = quotient.terms
                if k == 1 and coefficients.get(partner) == c * atom.divisor:
                    del coefficients[atom], coefficients[partner]
                    rest = _index(constant, tuple((a, n) for a, n in coefficients.items() if n))
                    return rest + atom.operand * c
    kept = [(a, c) for a, c in coefficients.items() if c]
    kept.sort(key=_order)
    return _index(constant, tuple(kept))


def _order(term: Term) -> tuple[int, str]:
    """Greatest stride first, then by text: the order people write offsets in."""
    atom, c = term
    return -abs(c), format_atom(atom)


def divmod_index(e: Index, c: int) -> tuple[Index, Index]:
    """`(e // c, e % c)` for a positive constant."""
    if c == 1:
        return e, const(0)
    whole: list[Term] = []
    rest: list[Term] = []
    for atom, k in e.terms:
        (whole if k % c == 0 else rest).append((atom, k))
    k0, c0 = divmod(e.constant, c)
    quotient = _index(k0, tuple((a, k // c) for a, k in whole))
    remainder = _index(c0, tuple(rest))
    q, r = _divmod_rest(remainder, c)
    return quotient + q, r


def _divmod_rest(e: Index, c: int) -> tuple[Index, Index]:
    """divmod where no coefficient of `e` is a multiple of `c`."""
    k = e.lo // c
    if e.hi // c == k:
        return const(k), e - k * c
    split = _common_factor(e, c)
    if split is not None:
        g, high, low = split
        q, r = divmod_index(high, c // g)
        return q, r * g + low
    if len(e.terms) == 1 and e.constant == 0 and e.terms[0][1] == 1:
        nested = _divmod_atom(e.terms[0][0], c)
        if nested is not None:
            return nested
    return _opaque(Div, e, c), _opaque(Mod, e, c)


def _common_factor(e: Index, c: int) -> tuple[int, Index, Index] | None:
    """`e = g*high + low` with g a divisor of c and 0 <= low < g; then `e//c = high//(c//g)`."""
    for g in sorted({gcd(k, c) for _, k in e.terms} - {1}, reverse=True):
        high = [(a, k // g) for a, k in e.terms if k % g == 0]
        k0, c0 = divmod(e.constant, g)
        low = _index(c0, tuple((a, k) for a, k in e.terms if k % g))
        if low.lo >= 0 and low.hi < g:
            return g, _sum(k0, high), low
    return None


def _divmod_atom(atom: Atom, c: int) -> tuple[Index, Index] | None:
    """Nested divisions by constants that divide one another."""
    if isinstance(atom, Div):
        return atom.operand // (atom.divisor * c), _opaque(Mod, of_atom(atom), c)
    if isinstance(atom, Mod) and atom.divisor % c == 0:
        return (atom.operand // c) % (atom.divisor // c), atom.operand % c
    return None


def _opaque(kind: type[Div] | type[Mod], e: Index, c: int) -> Index:
    key = (kind.__name__, e, c)
    atom = _atoms.get(key)
    if atom is None:
        atom = _atoms[key] = kind(key, e, c)
    return of_atom(atom)


def ravel(indices: Iterable[Index], shape: Iterable[int]) -> Index:
    """The row-major offset of a multi-index; neighbouring parts are recombined."""
    offset = const(0)
    for i, n in zip(indices, shape, strict=True):
        offset = offset * n + i
    return offset


def unravel(flat: Index, shape: tuple[int, ...]) -> tuple[Index, ...]:
    """The multi-index of a row-major offset known to lie in `range(numel(shape))`."""
    out: list[Index] = []
    for axis in range(len(shape) - 1, 0, -1):
        flat, low = divmod_index(flat, max(shape[axis], 1))
        out.append(low)
    return (*([flat] if shape else []), *reversed(out))


def substitute(e: Index, replace: Callable[[Atom], Index | None]) -> Index:
    """`e` with every atom for which `replace` gives an index replaced, and simplified anew."""
    if not e.terms:
        return e
    result = const(e.constant)
    for atom, c in e.terms:
        result = result + _substitute_atom(atom, replace) * c
    return result


def _substitute_atom(atom: Atom, replace: Callable[[Atom], Index | None]) -> Index:
    new = replace(atom)
    if new is not None:
        return new
    if isinstance(atom, Div):
        return substitute(atom.operand, replace) // atom.divisor
    if isinstance(atom, Mod):
        return substitute(atom.operand, replace) % atom.divisor
    if isinstance(atom, Min):
        return minimum(substitute(atom.left, replace), substitute(atom.right, replace))
    return of_atom(atom)


def atoms(e: Index) -> Iterable[Atom]:
    """Every atom of `e`, nested ones included."""
    for atom, _ in e.terms:
        yield atom
        if isinstance(atom, Div | Mod):
            yield from atoms(atom.operand)
        elif isinstance(atom, Min):
            yield from atoms(atom.left)
            yield from atoms(atom.right)


def stride(e: Index, atom: Atom) -> int | None:
    """How far `e` moves when `atom` grows by one: 0 if it does not occur, None if not affine."""
    own = 0
    for other, c in e.terms:
        if other is atom:
            own = c
        elif not isinstance(other, Var) and atom in atoms(of_atom(other)):
            return None
    return own


def evaluate(e: Index, values: Mapping[str, int]) -> int:
    """The number `e` stands for when its variables have these values."""
    total = e.constant
    for atom, c in e.terms:
        total += c * _evaluate_atom(atom, values)
    return total


def _evaluate_atom(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, Var):
        return values[atom.name]
    if isinstance(atom, Div):
        return evaluate(atom.operand, values) // atom.divisor
    if isinstance(atom, Mod):
        return evaluate(atom.operand, values) % atom.divisor
    if isinstance(atom, Min):
        return min(evaluate(atom.left, values), evaluate(atom.right, values))
    raise TypeError(f"{atom} has no value of its own")


def format_index(e: Index) -> str:
    """`i*512 + j`."""
    parts = [format_atom(a) if c == 1 else f"{format_atom(a)}*{c}" for a, c in e.terms]
    if e.constant or not parts:
        parts.append(str(e.constant))
    return " + ".join(parts)


def format_atom(atom: Atom) -> str:
    if isinstance(atom, Var):
        return atom.name
    if isinstance(atom, Div):
        return f"({format_index(atom.operand)})//{atom.divisor}"
    if isinstance(atom, Mod):
        return f"({format_index(atom.operand)})%{atom.divisor}"
    if isinstance(atom, Min):
        return f"min({format_index(atom.left)}, {format_index(atom.right)})"
    if isinstance(atom, Value):
        return f"[{atom.expr}]"
    raise TypeError(type(atom).__name__)
