"""Values as Loop IR expressions: an eqn's result at an index, in terms of loads.

    Expressions(...).value(y, (i, j))     ->  Call("mul", (Load(w, j), Load(x, i*512 + j)))

Expressions are interned, so equal ones are one object and common subexpressions are shared by
themselves. What is a leaf, and how it is read, is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    At,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Read,
    Result,
    Select,
    call,
    children,
    with_children,
)
from gradc.codegen.loops.movement import Guard, MultiIndex, gather_source, index_rank, sources
from gradc.codegen.loops.scalar import cast_to, narrowed, scalar
from gradc.codegen.plan.access import point_scatter_indices, product_indices, unit_reduction_index
from gradc.codegen.plan.signs import Signs
from gradc.tracer import ops
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Literal, Var
from gradc.tracer.graph.types import int64, uint64

Leaf = Callable[[Var, MultiIndex], "Expr | None"]

_COMBINE = {"add": "add", "mul": "mul", "min": "minimum", "max": "maximum"}


class Interner:
    """One object per distinct expression."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Expr] = {}
        self._interned: set[Expr] = set()

    def __call__(self, e: Expr) -> Expr:
        """The interned equal of `e`; its operands first."""
        if e in self._interned:
            return e
        e = with_children(e, tuple(self(c) for c in children(e)))
        found = self._known.setdefault(_key(e), e)
        self._interned.add(found)
        return found


def _key(e: Expr) -> tuple[object, ...]:
    match e:
        case Const():
            return "const", e.dtype, e.key
        case Read():
            return "read", e.local
        case Load():
            return "load", e.buffer, e.index
        case At():
            return "at", e.index
        case Call():
            return "call", e.op, e.args, e.dtype
        case Result():
            return "result", e.op, e.args, e.which
        case Select():
            return "select", e.p, e.a, e.b
        case _:
            return type(e), e.x, e.dtype


class Expressions:
    """The expressions of one function."""

    def __init__(
        self,
        producers: Mapping[Var, Eqn],
        leaf: Leaf,
        constant: Callable[[Var, Index], Expr],
        signs: Signs,
    ) -> None:
        self.producers = producers
        self.leaf = leaf
        self.constant = constant
        self.signs = signs
        self.intern = Interner()
        self._values: dict[tuple[Var, MultiIndex], Expr] = {}

    def forget(self) -> None:
        """Values may be read otherwise from here on: a new stage."""
        self._values.clear()

    def value(self, atom: Atom, index: MultiIndex) -> Expr:
        """`atom` at `index`."""
        if isinstance(atom, Literal):
            return self.intern(Const(atom.value, atom.type.dtype))
        key = (atom, index)
        found = self._values.get(key)
        if found is None:
            leaf = self.leaf(atom, index)
            found = self.intern(leaf) if leaf is not None else self.computed(atom, index)
            self._values[key] = found
        return found

    def computed(self, var: Var, index: MultiIndex) -> Expr:
        """`var` at `index` from its eqn's operands, leaf or not."""
        eqn = self.producers[var]
        prim = eqn.prim
        if prim in narrowed and self.signs.never_positive(eqn.inputs[0]):
            return self.intern(call(narrowed[prim], self.value(eqn.inputs[0], index)))
        if prim in scalar:
            results = scalar[prim](*(self.value(a, index) for a in eqn.inputs), **eqn.params)
            which = eqn.outputs.index(var)
            return self.intern(results[which] if isinstance(results, tuple) else results)
        if prim is ops.iota:
            return self.intern(_number(index[eqn.params.axis], eqn))
        if prim is ops.constant:
            return self.intern(self.constant(var, ix.ravel(index, known_shape(var.type.shape))))
        if prim is ops.gather:
            return self.value(eqn.inputs[0], gather_source(eqn, index, self._gathered(eqn, index)))
        if prim is ops.scatter:
            return self.intern(self._point_scatter(eqn, index))
        if prim.family == "reduction":
            return self.value(eqn.inputs[0], unit_reduction_index(eqn, index))
        if prim is ops.dot_general:
            return self.product(eqn, index, None)
        return self._moved(eqn, index)

    def product(self, eqn: Eqn, index: MultiIndex, along: MultiIndex | None) -> Expr:
        """One product of a dot_general."""
        at = product_indices(eqn, index, along)
        return self.intern(call("mul", *(self.value(a, i) for a, i in zip(eqn.inputs, at))))

    def _moved(self, eqn: Eqn, index: MultiIndex) -> Expr:
        pieces = sources(eqn, index)
        if not pieces:
            raise InternalError(f"{eqn.prim.name} has no C expression")
        result = self.value(eqn.inputs[pieces[-1].operand], pieces[-1].index)
        for piece in reversed(pieces[:-1]):
            inside = self.value(eqn.inputs[piece.operand], piece.index)
            result = Select(_all_hold(piece.guards), inside, result)
        return self.intern(result)

    def _gathered(self, eqn: Eqn, index: MultiIndex) -> tuple[Index, ...]:
        where = index[: index_rank(eqn)]
        shape = known_shape(eqn.inputs[0].type.shape)
        return tuple(
            self.safe_index(self.value(i, where), shape[axis], eqn.params.wrap)
            for i, axis in zip(eqn.inputs[1:], eqn.params.axes, strict=True)
        )

    def safe_index(self, e: Expr, size: int, wrap: bool) -> Index:
        """A loaded index as one that is in bounds whatever was loaded; checks are made apart."""
        if isinstance(e, At) and e.index.lo >= 0 and e.index.hi < size:
            return e.index
        if isinstance(e, Const) and -size * wrap <= e.value < size:
            return ix.const(int(e.value) % size)
        if size == 0:
            return ix.const(0)
        position = wrapped(e, size) if wrap else e
        inside = call("lt", Cast(position, uint64), Const(size, uint64))
        return ix.value(self.intern(Select(inside, position, Const(0, int64))), 0, size - 1)

    def _point_scatter(self, eqn: Eqn, index: MultiIndex) -> Expr:
        where, update_index = point_scatter_indices(eqn, index)
        x, update = self.value(eqn.inputs[0], index), self.value(eqn.inputs[1], update_index)
        shape = known_shape(eqn.inputs[0].type.shape)
        hit: Expr | None = None
        for i, axis in zip(eqn.inputs[2:], eqn.params.axes, strict=True):
            position = self.value(i, where)
            position = wrapped(position, shape[axis]) if eqn.params.wrap else position
            here = call("eq", At(index[axis]), position)
            hit = here if hit is None else call("bitwise_and", hit, here)
        assert hit is not None
        return Select(hit, self.combined(eqn.params.combiner, x, update), x)

    def combined(self, combiner: str, old: Expr, update: Expr) -> Expr:
        """What a scatter writes over `old`."""
        if combiner == "set":
            return update
        if old.dtype.is_bool and combiner in ("add", "mul"):
            return call("bitwise_or" if combiner == "add" else "bitwise_and", old, update)
        return call(_COMBINE[combiner], old, update)


def wrapped(e: Expr, size: int) -> Expr:
    """An index in [-size, 0) counted from the end."""
    return Select(call("lt", e, Const(0, int64)), call("add", e, Const(size, int64)), e)


def _number(position: Index, eqn: Eqn) -> Expr:
    dtype = eqn.params.dtype
    if position.is_constant:
        value = float(position.constant) if dtype.is_float else position.constant
        return Const(value, dtype)
    return cast_to(At(position), dtype)


def _all_hold(guards: tuple[Guard, ...]) -> Expr:
    result: Expr | None = None
    for g in guards:
        one = call(g.op, At(g.index), Const(g.bound, int64))
        result = one if result is None else call("bitwise_and", result, one)
    assert result is not None
    return result
