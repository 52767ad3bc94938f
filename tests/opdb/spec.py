"""What one operation is tested with.

    OpSpec("tanh", F.tanh, unary_samples, prims=("tanh",))

A sample is a list of NumPy arrays; every operand draws from a pool of values of its own, so that
two operands never agree by construction. Shapes: 0-d, size 1, empty, vector tails, broadcasting in
both directions; layouts: transposed, stepped, reversed, repeated, offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class OpSpec:
    """One operation.

    Attributes:
        fn: takes the sample's arrays as tensors, returns a tensor or a tuple.
        samples: makes samples for a dtype.
        prims: the primitives this spec is there for.
        dtypes: what the samples are drawn in.
        grad: whether float64 samples are differentiated (second: to the second order).
        low, high: the interval float operands are drawn from.
        special: whether NaN, infinities and signed zeros are among the values.
        exact: equal to NumPy's rules to the last bit on every executor.
        slack: factor on the tolerance, with the reason beside it.
        jax_grad: whether JAX has a gradient to compare with.
        whole: made of sums, products, comparisons and movement alone, so that small whole numbers
            give the same bits in whatever order (`exact` ones are anyway).
        numeric: whether finite differences say anything (not through a rounding).
        jax_skip: why JAX is not compared on samples that are not finite.
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
    slack: float = 1.0
    jax_skip: str = ""
    numeric: bool = True
    jax_grad: bool = True
    whole: bool = False

    def __str__(self) -> str:
        return self.name


def draw(rng: np.random.Generator, shape: Any, dtype: DType, spec: OpSpec) -> np.ndarray:
    """Fresh values of the spec's interval; integers over a small range with the extremes."""
    if dtype.is_bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_float:
        return rng.uniform(spec.low, spec.high, shape).astype(dtype.numpy)
    low = 0 if dtype.kind == "u" else -9
    return rng.integers(low, 10, shape).astype(dtype.numpy)


SHAPES = ((), (1,), (0,), (5,), (17,), (3, 4), (2, 0, 3), (2, 3, 5))
PAIRS = (
    ((), ()), ((5,), (5,)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (5,)),
    ((2, 3, 1), (5,)), ((0,), (1,)), ((17,), (17,)), ((2, 0), (1, 1)),
)  # fmt: skip


def layouts(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> list[np.ndarray]:
    """Arrays that do not lie in row-major order."""
    base = draw(rng, (6, 8), dtype, spec)
    repeated = np.broadcast_to(draw(rng, (1, 4), dtype, spec), (3, 4))
    return [base.T, base[::2, 1::3], base[::-1], repeated, base[2:, 3:]]


def special_values(dtype: DType) -> np.ndarray:
    """Values at which rules go wrong."""
    if dtype.is_bool:
        return np.array([True, False])
    if dtype.is_integer:
        return np.array([dtype.min, dtype.max, 0, 1], dtype.numpy)
    info = np.finfo(dtype.numpy)
    values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny, 0.5]
    return np.array(values, dtype.numpy)


def unary_samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
    for shape in SHAPES:
        yield [draw(rng, shape, dtype, spec)]
    for array in layouts(rng, dtype, spec):
        yield [array]
    if spec.special:
        yield [special_values(dtype)]


def binary_samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
    for a, b in PAIRS:
        yield [draw(rng, a, dtype, spec), draw(rng, b, dtype, spec)]
    for array in layouts(rng, dtype, spec):
        yield [array, draw(rng, array.shape, dtype, spec)]
    same = draw(rng, (5,), dtype, spec)
    yield [same, same]
    if spec.special:
        values = special_values(dtype)
        grid = np.meshgrid(values, values)
        yield [grid[0].ravel(), grid[1].ravel()]


def given(*makers: Callable[[np.random.Generator], Sample]) -> Sampler:
    """A sampler of explicit samples: each maker gets a drawing function."""

    def samples(rng: np.random.Generator, dtype: DType, spec: OpSpec) -> Iterable[Sample]:
        for maker in makers:
            yield maker(lambda *shape: draw(rng, shape, dtype, spec))  # type: ignore[arg-type]

    return samples


__all__ = [
    "ALL", "BITS", "FLOATS", "INTS", "NUMBERS", "OpSpec", "binary_samples", "draw", "given",
    "uint32", "unary_samples",
]  # fmt: skip
