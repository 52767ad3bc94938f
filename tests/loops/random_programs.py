"""Random programs over every primitive the C target takes, with what to feed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Atom, Graph, Literal, Params, Var
from gradc.tracer.graph.types import (
    DType,
    TensorType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
)

Array = np.ndarray[Any, Any]
SHAPES: tuple[tuple[int, ...], ...] = (
    (), (3,), (1,), (2, 3), (3, 1), (2, 1, 3), (4, 5), (5, 4), (20,), (2, 3, 4), (1, 17), (18, 2),
    (0, 3), (6, 4),
)  # fmt: skip
DTYPES = (float32, float32, float32, float64, int32, int64, int8, uint8, bool_)
FLOAT_UNARY = (
    ops.neg, ops.abs, ops.sign, ops.floor, ops.ceil, ops.sqrt, ops.exp, ops.log1p, ops.sin,
    ops.tanh, ops.sigmoid, ops.round, ops.trunc, ops.rsqrt,
)  # fmt: skip
INT_UNARY = (ops.neg, ops.abs, ops.sign, ops.bitwise_not)
FLOAT_BINARY = (ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.minimum, ops.atan2)
INT_BINARY = (
    ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum, ops.bitwise_and, ops.bitwise_xor,
    ops.shift_left, ops.shift_right,
)  # fmt: skip
INT_DIVISION = (ops.floor_divide, ops.trunc_divide, ops.remainder, ops.fmod)
BOOL_BINARY = (ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor, ops.maximum)
COMPARE = (ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge)
REDUCE = (ops.reduce_max, ops.reduce_min, ops.reduce_sum, ops.reduce_prod)


class Drawer:
    """Draws one program; `failing` lets indices and divisors be anything."""

    def __init__(self, seed: int, failing: bool = False, size: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = GraphBuilder("program")
        self.failing = failing
        self.size = size
        self.pool: list[Var] = []
        for n in range(4):
            self.pool.append(self.b.input(TensorType(self.shape(), self.dtype()), f"x{n}"))

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def shape(self) -> tuple[int, ...]:
        return self.pick(SHAPES)

    def dtype(self) -> DType:
        return self.pick(DTYPES)

    def any(self, accept: Callable[[TensorType], bool] = lambda t: True) -> Var | None:
        found = [v for v in self.pool if accept(v.type)]
        # Later values more often, so that programs get deep.
        return found[int(len(found) * self.rng.random() ** 0.5)] if found else None

    def literal(self, dtype: DType, shape: tuple[int, ...] = ()) -> Atom:
        n = self.pick((0, 1, 2, 3, -1, 0.5, -0.0))
        value = bool(n) if dtype.is_bool else float(n) if dtype.is_float else abs(int(n))
        literal = Literal(value, TensorType((), dtype))
        return literal if shape == () else self.emit(ops.broadcast, literal, shape=shape, axes=())

    def emit(self, prim: Any, *inputs: Atom, **params: Any) -> Var:
        return self.b.op(prim, *inputs, **params)

    def like(self, type: TensorType) -> Atom:
        """An operand of exactly this type."""
        found = self.any(lambda t: t == type)
        if found is not None and self.rng.random() < 0.7:
            return found
        source = self.any(lambda t: t.dtype is type.dtype and t.shape == type.shape[1:])
        if source is not None and type.shape and self.rng.random() < 0.7:
            axes = tuple(range(1, len(type.shape)))
            return self.emit(ops.broadcast, source, shape=type.shape, axes=axes)
        return self.literal(type.dtype, type.shape)

    def draw(self) -> Graph:
        makers = (
            self.unary, self.binary, self.binary, self.compare, self.reduce, self.reduce,
            self.normalise, self.cast, self.select, self.movement, self.movement, self.join,
            self.dot, self.gather, self.scatter, self.arg, self.scan, self.sort, self.random,
            self.iota, self.division, self.constant, self.window, self.conv,
        )  # fmt: skip
        while len(self.b.eqns) < self.size:
            made = self.pick(makers)()
            if made is not None:
                self.pool += made if isinstance(made, tuple) else (made,)
        values = [v for e in self.b.eqns for v in e.outputs]
        chosen = [v for v in values if self.rng.random() < 0.25] + [self.pool[-1]]
        outputs: list[Atom] = [*chosen]
        if self.rng.random() < 0.2:
            outputs.append(self.pick([*self.pool, self.literal(float32)]))
        return self.finish(outputs)

    def finish(self, outputs: list[Atom]) -> Graph:
        """Some outputs replace inputs of their type."""
        aliases, taken = [], set()
        for o, atom in enumerate(outputs):
            for i, v in enumerate(self.b.inputs):
                if i not in taken and v.type == atom.type and self.rng.random() < 0.5:
                    aliases.append((o, i))
                    taken.add(i)
                    break
        return self.b.finish(outputs, n_args=0, aliases=aliases)

    # ---- one eqn each --------------------------------------------------------------------------

    def unary(self) -> Var | None:
        x = self.any(lambda t: not t.dtype.is_bool)
        if x is None:
            return None
        if x.type.dtype.is_float:
            return self.emit(self.pick(FLOAT_UNARY), x)
        return self.emit(self.pick(INT_UNARY), x)

    def binary(self) -> Var | None:
        x = self.any()
        assert x is not None
        dtype = x.type.dtype
        table = FLOAT_BINARY if dtype.is_float else BOOL_BINARY if dtype.is_bool else INT_BINARY
        return self.emit(self.pick(table), x, self.like(x.type))

    def division(self) -> Var | None:
        x = self.any(lambda t: t.dtype.is_integer)
        if x is None:
            return None
        y = self.like(x.type)
        if not self.failing:
            one = self.emit(ops.broadcast, Literal(1, TensorType((), x.type.dtype)),
                            shape=x.type.shape, axes=())  # fmt: skip
            y = self.emit(ops.bitwise_or, y, one)
        return self.emit(self.pick(INT_DIVISION), x, y)

    def compare(self) -> Var | None:
        x = self.any()
        assert x is not None
        return self.emit(self.pick(COMPARE), x, self.like(x.type))

    def reduce(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0)
        if x is None:
            return None
        axes = self.axes(x)
        if x.type.dtype.is_bool:
            return self.emit(self.pick((ops.reduce_any, ops.reduce_all)), x, axes=axes)
        prims = REDUCE if all(x.type.shape[a] for a in axes) else REDUCE[2:]
        return self.emit(self.pick(prims), x, axes=axes)

    def axes(self, x: Var) -> tuple[int, ...]:
        kept = [a for a in range(x.type.ndim) if self.rng.random() < 0.5]
        return tuple(kept) or (x.type.ndim - 1,)

    def normalise(self) -> tuple[Var, ...] | None:
        """A softmax-like pattern: reduce, broadcast back, combine."""
        x = self.any(lambda t: t.ndim > 0 and t.dtype.is_float and 0 not in t.shape)
        if x is None:
            return None
        axes = self.axes(x)
        rest = tuple(a for a in range(x.type.ndim) if a not in axes)
        prim = self.pick((ops.reduce_max, ops.reduce_sum))
        m = self.emit(ops.broadcast, self.emit(prim, x, axes=axes), shape=x.type.shape, axes=rest)
        e = self.emit(self.pick((ops.exp, ops.tanh)), self.emit(ops.sub, x, m))
        s = self.emit(ops.reduce_sum, e, axes=axes)
        b = self.emit(ops.broadcast, s, shape=x.type.shape, axes=rest)
        return s, self.emit(self.pick((ops.div, ops.mul)), e, b)

    def cast(self) -> Var | None:
        x = self.any()
        return self.emit(ops.cast, x, dtype=self.dtype())

    def select(self) -> Var | None:
        p = self.any(lambda t: t.dtype.is_bool)
        if p is None:
            return None
        a = self.like(TensorType(p.type.shape, self.dtype()))
        return self.emit(ops.select, p, a, self.like(a.type))

    def movement(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0)
        if x is None:
            return None
        return getattr(self, self.pick(("reshape", "permute", "slice", "flip", "pad", "expand")))(x)

    def reshape(self, x: Var) -> Var | None:
        size = int(np.prod(x.type.shape))
        fits = [s for s in (*SHAPES, (size,)) if int(np.prod(s)) == size]
        return self.emit(ops.reshape, x, shape=self.pick(fits))

    def permute(self, x: Var) -> Var:
        axes = tuple(int(a) for a in self.rng.permutation(x.type.ndim))
        return self.emit(ops.permute, x, axes=axes)

    def slice(self, x: Var) -> Var:
        start, stop, step = [], [], []
        for d in x.type.shape:
            low = int(self.rng.integers(d + 1))
            start.append(low)
            stop.append(int(self.rng.integers(low, d + 1)))
            step.append(int(self.rng.integers(1, 3)))
        return self.emit(ops.slice, x, start=tuple(start), stop=tuple(stop), step=tuple(step))

    def flip(self, x: Var) -> Var:
        return self.emit(ops.flip, x, axes=self.axes(x))

    def pad(self, x: Var) -> Var:
        low, high, interior = (
            tuple(int(n) for n in self.rng.integers(0, 3, x.type.ndim)) for _ in range(3)
        )
        fill = self.literal(x.type.dtype)
        return self.emit(ops.pad, x, fill, low=low, high=high, interior=interior)

    def expand(self, x: Var) -> Var:
        shape = (self.pick((1, 2, 3)), *(d if d != 1 else self.pick((1, 4)) for d in x.type.shape))
        return self.emit(ops.broadcast, x, shape=shape, axes=tuple(range(1, len(shape))))

    def join(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0)
        if x is None:
            return None
        axis = self.pick(range(x.type.ndim))
        return self.emit(ops.concat, *(x, self.like(x.type), x)[: self.pick((2, 3))], axis=axis)

    def dot(self) -> Var | None:
        a = self.any(lambda t: t.ndim > 0 and not t.dtype.is_bool)
        if a is None:
            return None
        axis = self.pick(range(a.type.ndim))
        k = a.type.shape[axis]
        found = self.any(lambda t: t.dtype is a.type.dtype and k in t.shape)
        if found is None or int(np.prod(a.type.shape)) * int(np.prod(found.type.shape)) > 4000:
            return None
        other = found.type.shape.index(k)
        batch: Any = ((), ())
        pairs = [
            (i, j)
            for i, d in enumerate(a.type.shape)
            for j, e in enumerate(found.type.shape)
            if d == e and i != axis and j != other
        ]
        if pairs and self.rng.random() < 0.5:
            i, j = self.pick(pairs)
            batch = ((i,), (j,))
        return self.emit(
            ops.dot_general, a, found, contract=((axis,), (other,)), batch=batch
        )

    def indices(self, shape: tuple[int, ...], size: int) -> Atom:
        """int64 indices, in [0, size) unless failing programs are wanted."""
        raw = self.like(TensorType(shape, int64))
        if self.failing or size == 0:
            return raw
        n = Literal(size, TensorType((), int64))
        whole = n if shape == () else self.emit(ops.broadcast, n, shape=shape, axes=())
        return self.emit(ops.remainder, raw, whole)

    def places(self, x: Var) -> tuple[list[Atom], dict[str, Any]]:
        batch = int(self.rng.integers(0, x.type.ndim))
        axes = tuple(a for a in range(batch, x.type.ndim) if self.rng.random() < 0.5)
        axes = axes or (batch,)
        shape = (*x.type.shape[:batch], *self.pick(((), (1,), (3,), (2, 2))))
        indices = [self.indices(shape, x.type.shape[a]) for a in axes]
        wrap = bool(self.rng.random() < 0.5)
        return indices, {"axes": axes, "batch": batch, "wrap": wrap}

    def gather(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0 and (self.failing or 0 not in t.shape))
        if x is None:
            return None
        indices, params = self.places(x)
        return self.emit(ops.gather, x, *indices, **params)

    def scatter(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0 and (self.failing or 0 not in t.shape))
        if x is None:
            return None
        indices, params = self.places(x)
        (out,) = ops.gather.infer(x.type, *(i.type for i in indices), **params)
        combiner = self.pick(("set", "add", "add", "mul", "min", "max"))
        if x.type.dtype.is_bool:
            combiner = "set"
        updates = self.like(out)
        return self.emit(ops.scatter, x, updates, *indices, combiner=combiner, **params)

    def arg(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0 and 0 not in t.shape)
        if x is None:
            return None
        return self.emit(self.pick((ops.argmax, ops.argmin)), x, axis=self.pick(range(x.type.ndim)))

    def window(self) -> Var | tuple[Var, ...] | None:
        x = self.any(lambda t: t.ndim > 0 and 0 not in t.shape)
        if x is None or x.type.ndim > 3:
            return None
        axes = tuple(a for a in range(x.type.ndim) if self.rng.random() < 0.5) or (0,)
        size = tuple(int(self.rng.integers(1, min(x.type.shape[a], 5) + 1)) for a in axes)
        gaps = tuple(
            self.pick((1, 2)) if (k - 1) * 2 < x.type.shape[a] else 1 for a, k in zip(axes, size)
        )
        stride = tuple(self.pick((1, 2, 3)) for _ in axes)
        places = {"axes": axes, "size": size, "stride": stride, "dilation": gaps}
        if x.type.dtype.is_bool or self.rng.random() < 0.5:
            return self.emit(ops.window, x, **places)
        return self.b.emit(ops.window_max, (x,), Params(**places))

    def conv(self) -> Var | None:
        """Of any array with two axes or three, seen as images, with fills around them."""
        x = self.any(lambda t: t.ndim in (2, 3) and 0 not in t.shape and not t.dtype.is_bool)
        if x is None:
            return None
        if x.type.ndim == 2 or self.rng.random() < 0.5:
            x = self.emit(ops.reshape, x, shape=(1, *x.type.shape))
        _, channels, *sizes = x.type.shape
        around = [int(self.rng.integers(0, 3)) for _ in sizes]
        widths = {"low": (0, 0, *around), "high": (0, 0, *around[::-1])}
        x = self.emit(ops.pad, x, self.literal(x.type.dtype), **widths, interior=(0,) * x.type.ndim)
        groups = self.pick((1, channels))
        room = x.type.shape[2:]
        size = [int(self.rng.integers(1, min(n, 4) + 1)) for n in room]
        gaps = tuple(self.pick((1, 2)) if (k - 1) * 2 < n else 1 for k, n in zip(size, room))
        shape = (groups * self.pick((1, 2, 3, 9)), channels // groups, *size)
        kernel = self.emit(
            ops.constant,
            value=ops.Constant(self.rng.integers(0, 3, shape).astype(x.type.dtype.numpy)),
        )
        stride = tuple(self.pick((1, 1, 2)) for _ in size)
        return self.emit(ops.conv, x, kernel, stride=stride, dilation=gaps, groups=groups)

    def scan(self) -> Var | None:
        x = self.any(lambda t: t.ndim > 0 and not t.dtype.is_bool)
        if x is None:
            return None
        axis = self.pick(range(x.type.ndim))
        return self.emit(ops.cumsum, x, axis=axis, reverse=bool(self.rng.random() < 0.5))

    def sort(self) -> tuple[Var, ...] | None:
        x = self.any(lambda t: t.ndim > 0)
        if x is None or self.rng.random() < 0.5:
            return None
        others = [self.like(TensorType(x.type.shape, self.dtype()))] * self.pick((0, 1))
        axis = self.pick(range(x.type.ndim))
        return self.b.emit(
            ops.sort, (x, *others), Params(axis=axis, descending=bool(self.rng.random() < 0.5))
        )

    def random(self) -> tuple[Var, ...] | None:
        x = self.any(lambda t: t.dtype.is_integer)
        if x is None or self.rng.random() < 0.5:
            return None
        key = self.emit(ops.cast, x, dtype=uint32)
        return self.b.emit(ops.threefry2x32, (key, self.like(key.type), key, self.like(key.type)))

    def iota(self) -> Var | None:
        shape = self.shape()
        if not shape:
            return None
        dtype = self.pick((float32, int32, int64, int64))
        return self.emit(ops.iota, shape=shape, axis=self.pick(range(len(shape))), dtype=dtype)

    def constant(self) -> Var | None:
        shape = self.shape()
        if not shape or self.rng.random() < 0.5:
            return None
        array = self.rng.integers(0, 3, shape).astype(self.dtype().numpy)
        return self.emit(ops.constant, value=ops.Constant(array))


def arguments(graph: Graph, seed: int, exact: bool = False) -> list[Array]:
    """Arrays for the inputs: halves for floats, small integers, now and then something special."""
    rng = np.random.default_rng(seed)
    arrays = []
    for var in graph.inputs:
        dtype, shape = var.type.dtype, var.type.shape
        if dtype.is_bool:
            values = rng.integers(0, 2, shape)
        elif dtype.is_integer:
            values = rng.integers(0, 5, shape)
        else:
            values = rng.integers(-6, 7, shape) / 2
            if not exact and values.size and rng.random() < 0.3:
                special = rng.choice([np.nan, np.inf, -np.inf, -0.0])
                values.reshape(-1)[rng.integers(values.size)] = special
        arrays.append(np.asarray(values).astype(dtype.numpy))
    return arrays
