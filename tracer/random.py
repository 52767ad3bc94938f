"""Random numbers that depend on a key and a counter alone.

    manual_seed(0); randn(3)
    g = Generator(7); rand(2, 2, generator=g)

The bits are those of `jax.random` (partitionable Threefry-2x32) on every executor, thread count
and target. A generator is a key and a counter held as tensors: a draw folds the counter into the
key and adds one, so a compiled function carries the generator on as state.
"""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.context import CONTEXT, composite
from gradc.tracer.errors import ArgumentError, DTypeError
from gradc.tracer.functional import math, reduce
from gradc.tracer.functional.dimensions import read_shape
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import (
    DType,
    float32,
    float64,
    int32,
    int64,
    uint32,
    uint64,
)
from gradc.tracer.inplace import write
from gradc.tracer.interpreter import full, scalar
from gradc.tracer.promotion import get_default_dtype
from gradc.tracer.tensor import Tensor, new_tensor

Key = tuple[Tensor, Tensor]


class Generator:
    """A source of random numbers.

    Attributes:
        state: uint32[4]: the key's two words, the counter's low and high word.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.state = new_tensor(np.zeros(4, np.uint32))
        self.state.__dict__["owner"] = "generator"
        self.manual_seed(0 if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`; returns the generator."""
        words = np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF, 0, 0], np.uint32)
        state, CONTEXT.grad = CONTEXT.grad, False
        try:
            write(self.state, new_tensor(words) if CONTEXT.trace is None else _constant(words))
        finally:
            CONTEXT.grad = state
        self._seed = seed
        return self

    def initial_seed(self) -> int:
        """The seed it was started from."""
        return self._seed

    def get_state(self) -> Tensor:
        """A copy of the state."""
        return math.clone(self.state)

    def set_state(self, state: Tensor) -> None:
        """Go on from a state got earlier."""
        write(self.state, state)

    def next_key(self) -> Key:
        """The key of the next draw."""
        words = [_word(self.state, i) for i in range(4)]
        key = threefry(words[0], words[1], words[3], words[2])
        low = math.add(words[2], 1)
        carry = ops.cast(ops.eq(low, scalar(0, uint32)), dtype=uint32)
        advanced = ops.concat(
            *(_as_row(w) for w in (words[0], words[1], low, ops.add(words[3], carry))), axis=0
        )
        state, CONTEXT.grad = CONTEXT.grad, False
        try:
            write(self.state, advanced)
        finally:
            CONTEXT.grad = state
        return key


def _constant(words: Any) -> Tensor:
    return ops.constant(value=ops.Constant(words))  # type: ignore[no-any-return]


def _word(state: Tensor, i: int) -> Tensor:
    part = ops.slice(state, start=(i,), stop=(i + 1,), step=(1,))
    return ops.cast(ops.reshape(part, shape=()), dtype=uint32)  # type: ignore[no-any-return]


def _as_row(word: Tensor) -> Tensor:
    return ops.reshape(word, shape=(1,))  # type: ignore[no-any-return]


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the generator that is used where none is given; returns it."""
    return default_generator.manual_seed(seed)


def threefry(k0: Tensor, k1: Tensor, c0: Tensor, c1: Tensor) -> Key:
    """The Threefry-2x32 block function on tensors of one shape (`jax.random.fold_in` is this
    with the counter (high word, low word))."""
    found: Key = ops.threefry2x32(k0, k1, c0, c1)
    return found


@composite("random_bits")
def bits(key: Key, shape: tuple[int, ...], dtype: DType = uint32) -> Tensor:
    """Uniform bits of 32 or 64: as `jax.random.bits` with partitionable Threefry."""
    size = int(np.prod(shape, dtype=object))
    index = ops.reshape(ops.iota(shape=(size,), axis=0, dtype=uint64), shape=shape)
    low = ops.cast(ops.bitwise_and(index, full(shape, 0xFFFFFFFF, uint64)), dtype=uint32)
    high = ops.cast(ops.shift_right(index, full(shape, 32, uint64)), dtype=uint32)
    k0, k1 = (ops.broadcast(k, shape=shape, axes=()) for k in key)
    first, second = threefry(k0, k1, high, low)
    if dtype is uint32:
        return ops.bitwise_xor(first, second)  # type: ignore[no-any-return]
    wide = ops.shift_left(ops.cast(first, dtype=uint64), full(shape, 32, uint64))
    return ops.bitwise_or(wide, ops.cast(second, dtype=uint64))  # type: ignore[no-any-return]


@composite("uniform")
def unit(key: Key, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """Uniform in [0, 1): the bits as a mantissa, as `jax.random.uniform`."""
    word, mantissa, one = (
        (uint32, 23, 0x3F800000) if dtype is float32 else (uint64, 52, 0x3FF0000000000000)
    )
    raw = bits(key, shape, word)
    shifted = ops.shift_right(raw, full(shape, word.bits - mantissa, word))
    number = ops.bitcast(ops.bitwise_or(shifted, full(shape, one, word)), dtype=dtype)
    return ops.sub(number, full(shape, 1, dtype))  # type: ignore[no-any-return]


@composite("uniform")
def between(key: Key, shape: tuple[int, ...], low: float, high: float, dtype: DType) -> Tensor:
    """Uniform in [low, high)."""
    span = dtype.numpy.type(high) - dtype.numpy.type(low)
    scaled = math.add(math.mul(unit(key, shape, dtype), float(span)), float(low))
    return math.maximum(scaled, float(dtype.numpy.type(low)))


@composite("normal")
def standard_normal(key: Key, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """Standard normal, through the inverse error function, as `jax.random.normal`."""
    low = float(np.nextafter(dtype.numpy.type(-1), dtype.numpy.type(0)))
    return math.mul(math.erfinv(between(key, shape, low, 1.0, dtype)), _math.sqrt(2.0))


def split(key: Key, count: int) -> list[Key]:
    """`count` keys from one, as `jax.random.split` (partitionable)."""
    return [threefry(key[0], key[1], scalar(0, uint32), scalar(i, uint32)) for i in range(count)]


@composite("randint")
def integers(
    key: Key, shape: tuple[int, ...], low: int, high: int, dtype: DType
) -> Tensor:
    """Uniform integers in [low, high): as `jax.random.randint` of a 32- or 64-bit dtype."""
    word = uint32 if dtype.bits == 32 else uint64
    first, second = split(key, 2)
    upper, lower = bits(first, shape, word), bits(second, shape, word)
    span = (high - low) % (1 << word.bits)
    if span == 0:
        return ops.bitcast(lower, dtype=dtype)  # type: ignore[no-any-return]
    multiplier = pow(2, word.bits // 2, span)
    multiplier = multiplier * multiplier % (1 << word.bits) % span
    spans = full(shape, span, word)
    high_part = math.mul(ops.remainder(upper, spans), multiplier)
    offset = math.add(high_part, ops.remainder(lower, spans))
    offset = ops.bitcast(ops.remainder(offset, spans), dtype=dtype)
    return math.add(offset, low)


# -- torch's functions ----------------------------------------------------------------------------


def _key(generator: Generator | None) -> Key:
    return (generator or default_generator).next_key()


def _float(dtype: DType | None) -> DType:
    found = dtype or get_default_dtype()
    if found not in (float32, float64):
        raise DTypeError(f"random floats cannot be of {found.name}", loc=user_location(3))
    return found


def _grad(t: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        t.requires_grad = True
    return t


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform in [0, 1)."""
    return _grad(unit(_key(generator), read_shape(size), _float(dtype)), requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal."""
    return _grad(standard_normal(_key(generator), read_shape(size), _float(dtype)), requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """Uniform integers in [low, high), from 0 if one bound is given: `randint(10, (3,))`.

    Raises:
        ArgumentError: `high` is not above `low`.
    """
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise ArgumentError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}",
            loc=user_location(),
        )
    wanted = dtype or int64
    inner = wanted if wanted in (int32, int64) else int64
    found = integers(_key(generator), read_shape((tuple(size),)), low, high, inner)
    return found if wanted is inner else found.to(wanted)


def randperm(n: int, *, generator: Generator | None = None, dtype: DType = int64) -> Tensor:
    """The integers below n in random order."""
    order = reduce.argsort(bits(_key(generator), (n,), uint64))
    return order if dtype is int64 else order.to(dtype)


def rand_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """`rand` of the shape and dtype of `input`."""
    return rand(input.shape, dtype=dtype or input.dtype)


def randn_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """`randn` of the shape and dtype of `input`."""
    return randn(input.shape, dtype=dtype or input.dtype)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability given by each element, else 0."""
    draw = unit(_key(generator), dims.known_shape(input.shape), input.dtype)
    return ops.cast(ops.lt(draw, input.detach()), dtype=input.dtype)  # type: ignore[no-any-return]


def normal(
    mean: Any, std: Any, size: Sequence[int] | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Normal with this mean and standard deviation (numbers, or tensors that broadcast)."""
    if size is None:
        size = dims.known_shape(math.add(mean, std).shape)
    draw = randn(tuple(size), generator=generator)
    return math.add(math.mul(draw, std), mean)


# -- in place -------------------------------------------------------------------------------------


def uniform_(
    self: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers in [a, b)."""
    shape = dims.known_shape(self.shape)
    return write(self, between(_key(generator), shape, a, b, _float(self.dtype)))


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    shape = dims.known_shape(self.shape)
    draw = standard_normal(_key(generator), shape, _float(self.dtype))
    return write(self, math.add(math.mul(draw, std), mean))


def bernoulli_(self: Tensor, p: float = 0.5, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p, else 0."""
    draw = unit(_key(generator), dims.known_shape(self.shape), float32)
    return write(self, ops.cast(math.lt(draw, p), dtype=self.dtype))
