"""What one operation is tested with.

    OpSpec("tanh", F.tanh, unary_samples, prims=("tanh",))

A sample is a list of NumPy arrays; every operand draws from a pool of values of its own, so that
two operands never agree by construction. Shapes: 0-d, size 1, empty, vector tails, broadcasting in
both directions. Memory layouts need no samples: the driver makes them (`layouts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.tracer.graph.types import (
    DType,
    bool_,
    float32,
    float64,
    int32,
    uint8,
    uint32,
)

FLOATS = (float32, float64)
INTS = (int32, uint8)
NUMBERS = (*FLOATS, *INTS)
BITS = (bool_, *INTS)
ALL = (bool_, *NUMBERS)

Sample = list[np.ndarray]
Sampler = Callable[[np.random.Generator, DType, "OpSpec"], Iterable[Sample]]


@dataclass(frozen=True, eq=False)
class OpSpec:
    """One operation.

    Attributes:
        fn: takes the sample's arrays as tensors, returns a tensor or a tuple.
        samples: makes samples for a dtype.
        prims: the primitives this spec is there for.
        dtypes: what the samples are drawn in.
        grad: whether float64 samples are differentiated (second: to the second order).
        low, high: the interval float operands are drawn from.
        special: whether NaN, infinities, signed zeros and tiny numbers are among the values.
        exact: equal to NumPy's rules to the last bit in eager mode and in C.
        whole: made of sums, products, comparisons and movement alone, so that small whole numbers
            give the same bits in whatever order (`exact` ones are anyway).
        slack: factor on the tolerance, with the reason beside it.
        numeric: whether finite differences say anything (not through a rounding).
        jax_floor: the least magnitude that JAX's error is measured by, with the reason beside it.
        jax_skip: why JAX is not compared on elements computed from special values.
        jax_no_gradient: why JAX's autodiff is not asked.
        lacks: shape classes that the samples do not show, each with the reason.
    """

    name: str
    fn: Callable[..., Any]
    samples: Sampler
    prims: tuple[str, ...] = ()
    dtypes: tuple[DType, ...] = FLOATS
    grad: bool = True
    second: bool = True
    low: float = -2.0
    high: float = 2.0
    special: bool = True
    exact: bool = False
    whole: bool = False
    slack: float = 1.0
    jax_floor: float = 0.0
    jax_skip: str = ""
    jax_no_gradient: str = ""
    numeric: bool = True
    lacks: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def draw(rng: np.random.Generator, shape: Any, dtype: DType, spec: OpSpec) -> np.ndarray:
    """Fresh values of the spec's interval; integers over a small range."""
    if dtype.is_bool:
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    if dtype.is_float:
        return np.asarray(rng.uniform(spec.low, spec.high, shape)).astype(dtype.numpy)
    low = 0 if dtype.kind == "u" else -9
    return np.asarray(rng.integers(low, 10, shape)).astype(dtype.numpy)


SHAPES = ((), (1,), (0,), (17,), (2, 3, 5))
PAIRS = (
    ((), ()), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (5,)), ((2, 3, 1), (5,)),
    ((0,), (1,)), ((17,), (17,)), ((2, 0), (1, 1)), ((1,), (1,)),
)  # fmt: skip


def layouts(sample: Sample) -> Iterator[Sample]:
    """The sample's arrays with the same elements elsewhere in memory.

    Column by column; every second element of a larger array, from behind; and, where all elements
    of an array are equal, one element for all.
    """
    yield [np.array(a, order="F") for a in sample]
    yield [_spread(a) for a in sample]
    if any(a.size > 1 and np.all(a == a.flat[0]) for a in sample):
        yield [_repeated(a) for a in sample]


def _spread(a: np.ndarray) -> np.ndarray:
    """Behind an offset, with gaps, and counted downwards along every axis."""
    room = np.zeros([2 * n + 1 for n in a.shape], a.dtype)
    place = room[(*(slice(2 * n, 0, -2) for n in a.shape), ...)]
    place[...] = a
    return place


def _repeated(a: np.ndarray) -> np.ndarray:
    same = a.size > 1 and bool(np.all(a == a.flat[0]))
    return np.broadcast_to(np.array(a.flat[0]), a.shape) if same else a


def special_values(dtype: DType) -> np.ndarray:
    """Values at which rules go wrong."""
    if dtype.is_bool:
        return np.array([True, False])
    if dtype.is_integer:
        return np.array([dtype.min, dtype.max, 0, 1], dtype.numpy)
    info = np.finfo(dtype.numpy)
    values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny, 0.5,
              2.5, -2.5, 1e-5, -1e-5]  # fmt: skip
    return np.array(values, dtype.numpy)


def unary_samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
    for shape in SHAPES:
        yield [draw(rng, shape, dtype, spec)]
    yield [np.full((3, 4), draw(rng, (), dtype, spec))]
    if spec.special:
        yield [special_values(dtype)]


def binary_samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
    for a, b in PAIRS:
        yield [draw(rng, a, dtype, spec), draw(rng, b, dtype, spec)]
    same = draw(rng, (5,), dtype, spec)
    yield [np.full((3, 4), draw(rng, (), dtype, spec)), draw(rng, (3, 4), dtype, spec)]
    if spec.special:
        yield [same, same]
        values = special_values(dtype)
        grid = np.meshgrid(values, values)
        yield [grid[0].ravel(), grid[1].ravel()]


def given(*makers: Callable[..., Sample]) -> Sampler:
    """A sampler of explicit samples: each maker gets a drawing function."""

    def samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
        for maker in makers:
            yield maker(lambda *shape: draw(rng, shape, dtype, spec))

    return samples


__all__ = [
    "ALL", "BITS", "FLOATS", "INTS", "NUMBERS", "OpSpec", "binary_samples", "draw", "given",
    "layouts", "special_values", "uint32", "unary_samples",
]  # fmt: skip
