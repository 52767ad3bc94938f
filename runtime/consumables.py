"""What a trace uses up for good: random numbers of Python and NumPy, items of iterators.

    check = Progress(it, "`it`")        where `it` stands before the trace
    check.unchanged()                   whether the trace took items from it

A program that drew from them while it was traced would give the same numbers at every run, so
that is an error. Later calls need not be watched: what a trace did not touch, it did not use.
"""

from __future__ import annotations

import itertools
import random
import types
import warnings
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

import numpy as np

from gradc.runtime.checks import Check, all_same

# Iterators made of other iterators, which say all there is to know.
_TRANSPARENT = (map, filter, zip, enumerate, itertools.chain, itertools.islice, itertools.starmap)


class Draws(Check):
    """The state of a random number generator."""

    __slots__ = ("get", "put")

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object], label: str) -> None:
        self.get = get
        self.put = put
        super().__init__(label, get())

    def read(self) -> Any:
        return self.get()

    def holds(self) -> bool:
        return bool(_frozen(self.get()) == _frozen(self.expected))

    def restore(self) -> None:
        self.put(self.expected)

    def change(self) -> str:
        return f"{self.label} was drawn from"


class Progress(Check):
    """How far an iterator has got. It cannot be put back."""

    __slots__ = ("iterator",)

    def __init__(self, iterator: Any, label: str) -> None:
        self.iterator = iterator
        super().__init__(label, self.read())

    def read(self) -> Any:
        return _position(self.iterator)

    def holds(self) -> bool:
        return all_same(self.read(), self.expected)

    def restore(self) -> None:
        """Nothing: the items are gone."""

    def change(self) -> str:
        return f"{self.label} was advanced"


def _position(iterator: Any) -> tuple[Any, ...]:
    if isinstance(iterator, types.GeneratorType):
        frame = iterator.gi_frame
        if frame is None:
            return ("finished",)
        return (frame.f_lasti, *frame.f_locals, *frame.f_locals.values())
    if isinstance(iterator, _TRANSPARENT):
        return ()
    if isinstance(iterator, itertools.count):
        return (repr(iterator),)
    return (length_hint(iterator, -1), *_reduced(iterator))


def _reduced(iterator: Any) -> tuple[Any, ...]:
    """The numbers in an itertools object, which older versions of Python tell to `copy`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parts = iterator.__reduce__()
        except (TypeError, AttributeError):
            return ()
    flat: list[Any] = []
    _collect_numbers(parts, flat)
    return tuple(flat)


def _collect_numbers(parts: Any, into: list[Any]) -> None:
    if isinstance(parts, int):
        into.append(parts)
    elif isinstance(parts, tuple):
        for part in parts:
            _collect_numbers(part, into)


def is_plain_iterator(value: Any) -> bool:
    """Whether `value` is an iterator of Python's own: a generator, `iter(list)`, itertools'."""
    kind: Any = type(value)
    return hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools")


def random_states() -> Iterator[Draws]:
    """The generators that `random` and `numpy.random` draw from."""
    yield Draws(random.getstate, random.setstate, "the global generator of `random`")
    yield Draws(np.random.get_state, np.random.set_state, "the global generator of `numpy.random`")


def draws_of(value: Any, label: str) -> Draws | None:
    """The check for a generator of random numbers, None for any other object."""
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return Draws(value.getstate, value.setstate, label)
    if isinstance(value, np.random.RandomState):
        return Draws(value.get_state, value.set_state, label)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return Draws(lambda: bits.state, lambda state: setattr(bits, "state", state), label)
    return None


def _frozen(state: Any) -> Any:
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return {key: _frozen(value) for key, value in state.items()}
    if isinstance(state, (tuple, list)):
        return [_frozen(value) for value in state]
    return state
