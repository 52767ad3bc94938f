"""Random small programs in exact arithmetic: small integers held in floats, integers and bools.

Every value may be an output, so that a wrong rewrite anywhere shows. Shapes come from a small
pool, so that operands meet; sizes of 1 and 0 occur.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Atom, Graph, Literal, Params, Var
from gradc.tracer.graph.types import TensorType, bool_, float32, float64, int8, int32, int64
from gradc.tracer.ops.primitive import Primitive

DTYPES = (float32, float64, int32, int64, int8, bool_)
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (1,), (2, 3), (3, 1), (2, 1, 3), (4, 3), (0, 3))
BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)
BITS = (ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor)
COMPARE = (ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge)
REDUCE = (ops.reduce_max, ops.reduce_min, ops.reduce_sum)


class Programs:
    """Draws one program."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = GraphBuilder("program")
        self.pool: list[Atom] = []
        for _ in range(4):
            self.pool.append(self.b.input(TensorType(self.pick(SHAPES), self.pick(DTYPES))))

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def value(self, accept: Callable[[TensorType], bool] = lambda t: True) -> Atom | None:
        found = [a for a in self.pool if accept(a.type)]
        return self.pick(found) if found else None

    def number(self, type: TensorType) -> Literal:
        n = self.pick((0, 1, -1, 2, -0.0, 4, 3))
        kind = type.dtype.kind
        number = bool(n) if kind == "b" else float(n) if kind == "f" else int(n)
        return Literal(number, type.with_shape(()))

    def operand(self, type: TensorType) -> Atom:
        """Something of this type: from the pool, or a literal repeated."""
        found = self.value(lambda t: t == type)
        if found is not None and self.rng.random() < 0.6:
            return found
        literal = self.number(type)
        if type.shape == ():
            return literal
        return self.b.op(ops.broadcast, literal, shape=type.shape, axes=())

    def aliases(self, n_args: int) -> list[tuple[int, int]]:
        """Outputs that become the new values of state inputs, of the right types."""
        pairs: list[tuple[int, int]] = []
        for place, var in enumerate(self.b.inputs[n_args:], n_args):
            taken = {o for o, _ in pairs}
            fitting = [
                i for i, a in enumerate(self.pool) if a.type == var.type and i not in taken
            ]
            if fitting and self.rng.random() < 0.8:
                pairs.append((self.pick(fitting), place))
        return pairs

    def step(self) -> None:
        x = self.value()
        assert x is not None
        made = getattr(self, self.pick(STEPS))(x)
        if made is not None:
            self.pool.append(made)

    def elementwise(self, x: Atom) -> Var | None:
        kind = x.type.dtype.kind
        prims: list[Primitive] = list(COMPARE)
        prims += BITS if kind == "b" else [*BINARY, *(BITS if kind == "i" else ())]
        return self.b.op(self.pick(prims), *self.shuffled(x, self.operand(x.type)))

    def shuffled(self, x: Atom, y: Atom) -> tuple[Atom, Atom]:
        return (x, y) if self.rng.random() < 0.5 else (y, x)

    def divide(self, x: Atom) -> Var | None:
        if not x.type.dtype.is_float:
            return None
        literal = Literal(self.pick((1.0, 2.0, -4.0)), x.type.with_shape(()))
        y: Atom = literal
        if x.type.shape:
            y = self.b.op(ops.broadcast, literal, shape=x.type.shape, axes=())
        return self.b.op(ops.div, x, y)

    def unary(self, x: Atom) -> Var:
        prims = {"b": [ops.bitwise_not], "i": [ops.neg, ops.abs, ops.sign, ops.bitwise_not]}
        floats = [ops.neg, ops.abs, ops.sign, ops.floor, ops.round]
        return self.b.op(self.pick(prims.get(x.type.dtype.kind, floats)), x)

    def select(self, x: Atom) -> Var:
        p = self.operand(x.type.with_dtype(bool_))
        return self.b.op(ops.select, p, *self.shuffled(x, self.operand(x.type)))

    def cast(self, x: Atom) -> Var:
        return self.b.op(ops.cast, x, dtype=self.pick(DTYPES))

    def reshape(self, x: Atom) -> Var | None:
        shapes = [s for s in SHAPES if int(np.prod(s)) == x.type.size]
        return self.b.op(ops.reshape, x, shape=self.pick(shapes)) if shapes else None

    def permute(self, x: Atom) -> Var:
        axes = tuple(int(a) for a in self.rng.permutation(x.type.ndim))
        return self.b.op(ops.permute, x, axes=axes)

    def broadcast(self, x: Atom) -> Var | None:
        fitting = []
        for shape in SHAPES:
            offset = len(shape) - x.type.ndim
            if offset >= 0 and all(d in (1, shape[offset + i]) for i, d in enumerate(x.type.shape)):
                fitting.append((shape, tuple(range(offset, len(shape)))))
        if not fitting:
            return None
        shape, axes = self.pick(fitting)
        return self.b.op(ops.broadcast, x, shape=shape, axes=axes)

    def slice(self, x: Atom) -> Var:
        bounds = [sorted(int(n) for n in self.rng.integers(0, d + 1, 2)) for d in x.type.shape]
        step = tuple(int(s) for s in self.rng.integers(1, 3, x.type.ndim))
        start, stop = tuple(b[0] for b in bounds), tuple(b[1] for b in bounds)
        return self.b.op(ops.slice, x, start=start, stop=stop, step=step)

    def flip(self, x: Atom) -> Var:
        axes = tuple(a for a in range(x.type.ndim) if self.rng.random() < 0.5)
        return self.b.op(ops.flip, x, axes=axes)

    def pad(self, x: Atom) -> Var:
        low, high, interior = (
            tuple(int(n) for n in self.rng.integers(0, 2, x.type.ndim)) for _ in range(3)
        )
        return self.b.op(ops.pad, x, self.number(x.type), low=low, high=high, interior=interior)

    def concat(self, x: Atom) -> Var | None:
        if not x.type.shape:
            return None
        return self.b.op(ops.concat, x, self.operand(x.type), axis=x.type.ndim - 1)

    def reduce(self, x: Atom) -> Var | None:
        axes = tuple(a for a in range(x.type.ndim) if self.rng.random() < 0.5)
        if x.type.dtype.is_bool or any(x.type.shape[a] == 0 for a in axes):
            return None
        return self.b.op(self.pick(REDUCE), x, axes=axes)

    def dot(self, x: Atom) -> Var | None:
        if x.type.ndim < 1 or x.type.dtype.is_bool:
            return None
        k = x.type.shape[-1]
        y = self.value(lambda t: t.dtype is x.type.dtype and t.ndim >= 1 and t.shape[0] == k)
        if y is None:
            return None
        return self.b.op(
            ops.dot_general, x, y, contract=((x.type.ndim - 1,), (0,)), batch=((), ())
        )

    def gather(self, x: Atom) -> Var | None:
        if x.type.ndim == 0 or x.type.shape[0] == 0:
            return None
        n = x.type.shape[0]
        indices: Atom = Literal(int(self.rng.integers(-n, n)), TensorType((), int64))
        if self.rng.random() < 0.5:
            indices = self.b.op(ops.iota, shape=(n,), axis=0, dtype=int64)
        return self.b.op(ops.gather, x, indices, axes=(0,), batch=0, wrap=True)

    def pick_and_put_back(self, x: Atom) -> Var | None:
        """What picking one entry a row and its gradient look like."""
        if x.type.ndim != 2 or x.type.shape[1] == 0 or x.type.dtype.is_bool:
            return None
        rows, columns = x.type.shape
        spread = self.b.op(ops.iota, shape=(rows,), axis=0, dtype=int64)
        size = Literal(columns, TensorType((), int64))
        limit = self.b.op(ops.broadcast, size, shape=(rows,), axes=())
        index = self.b.op(ops.remainder, spread, limit)
        params = {"axes": (1,), "batch": 1, "wrap": self.rng.random() < 0.5}
        if self.rng.random() < 0.5:
            params.update(axes=(0, 1), batch=0)
        at = (spread, index) if params["batch"] == 0 else (index,)
        picked = self.b.op(ops.gather, x, *at, **params)
        zero = Literal(False if x.type.dtype.is_bool else 0, x.type.with_shape(()))
        zeros = self.b.op(ops.broadcast, zero, shape=x.type.shape, axes=())
        combiner = self.pick(("add", "set"))
        return self.b.op(ops.scatter, zeros, picked, *at, combiner=combiner, **params)

    def cumsum(self, x: Atom) -> Var | None:
        if not x.type.shape or x.type.dtype.is_bool:
            return None
        axis, reverse = int(self.rng.integers(x.type.ndim)), bool(self.rng.random() < 0.5)
        return self.b.op(ops.cumsum, x, axis=axis, reverse=reverse)

    def extreme(self, x: Atom) -> Var | None:
        if not x.type.shape or 0 in x.type.shape:
            return None
        axis = int(self.rng.integers(x.type.ndim))
        return self.b.op(self.pick((ops.argmax, ops.argmin)), x, axis=axis)

    def sort(self, x: Atom) -> Var | None:
        if not x.type.shape:
            return None
        other = self.value(lambda t: t.shape == x.type.shape)
        assert other is not None
        axis, descending = int(self.rng.integers(x.type.ndim)), bool(self.rng.random() < 0.5)
        params = Params(axis=axis, descending=descending)
        values, moved = self.b.emit(ops.sort, (x, other), params)
        return self.pick((values, moved))

    def put(self, x: Atom) -> Var | None:
        """Scatter at places that repeat."""
        if x.type.ndim == 0 or x.type.shape[0] == 0 or x.type.dtype.is_bool:
            return None
        count = int(self.rng.integers(1, 6))
        places = self.rng.integers(-x.type.shape[0], x.type.shape[0], count)
        index = self.b.op(ops.constant, value=ops.Constant(places.astype(np.int64)))
        updates = self.operand(x.type.with_shape((count, *x.type.shape[1:])))
        combiner = self.pick(("set", "add", "min", "max", "mul"))
        return self.b.op(
            ops.scatter, x, updates, index, axes=(0,), batch=0, wrap=True, combiner=combiner
        )


STEPS = (
    "elementwise", "elementwise", "elementwise", "divide", "unary", "unary", "select", "cast",
    "reshape", "permute", "broadcast", "broadcast", "slice", "flip", "pad", "concat", "reduce",
    "dot", "gather", "pick_and_put_back", "cumsum", "extreme", "sort", "put",
)  # fmt: skip
_MAX_ELEMENTS = 200


def random_program(seed: int, steps: int = 14) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """A program whose outputs are all its values, and inputs for it."""
    p = Programs(seed)
    for _ in range(steps):
        p.step()
        p.pool = [a for a in p.pool if a.type.size <= _MAX_ELEMENTS]
    inputs = random_inputs(p.b.inputs, p.rng)
    n_args = int(p.rng.integers(len(inputs) + 1))
    return p.b.finish(p.pool, n_args=n_args, aliases=p.aliases(n_args)), inputs


def random_inputs(inputs: list[Var], rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """Small whole numbers; -0.0 occurs among floats."""
    arrays = []
    for var in inputs:
        numbers = rng.integers(-3, 4, var.type.shape)
        array = np.asarray(numbers > 0 if var.type.dtype.is_bool else numbers)
        array = np.array(array, var.type.dtype.numpy)
        if var.type.dtype.is_float:
            array = np.where(rng.random(array.shape) < 0.2, array.dtype.type(-0.0), array)
        arrays.append(array)
    return arrays
