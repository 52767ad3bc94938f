"""No stale results, over random holders of state.

A value (tensor or number) is put at a random place in a nest of containers and objects; a function
reads it by that path. After a rebinding at a random level the compiled function must give the
new result or an error, never the old one.
"""

from __future__ import annotations

import contextlib
import functools
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradc
from gradc.errors import CaptureError, GradcError

LEVELS = ("object", "dict", "list", "module", "namespace", "slots")


class Plain:
    pass


class Slotted:
    __slots__ = ("item",)


class Net(gradc.nn.Module):
    pass


def make(kind, item):
    """A holder of `item`."""
    if kind == "dict":
        return {"item": item, "other": 1}
    if kind == "list":
        return [0, item]
    holder = {
        "object": Plain, "slots": Slotted, "module": Net, "namespace": types.SimpleNamespace,
    }[kind]()  # fmt: skip
    holder.item = item
    return holder


def get(kind, holder):
    if kind == "dict":
        return holder["item"]
    return holder[1] if kind == "list" else holder.item


def put(kind, holder, item):
    if kind == "dict":
        holder["item"] = item
    elif kind == "list":
        holder[1] = item
    else:
        holder.item = item


def build(kinds, value):
    item = value
    for kind in reversed(kinds):
        item = make(kind, item)
    return item


def read(kinds, root):
    for kind in kinds:
        root = get(kind, root)
    return root


def value(which, number):
    return gradc.full((2,), float(number)) if which == "tensor" else float(number)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kinds=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4),
    which=st.sampled_from(["tensor", "number"]),
    level=st.integers(0, 4),
    by_closure=st.booleans(),
    in_place=st.booleans(),
)
def test_a_rebinding_is_never_missed(kinds, which, level, by_closure, in_place):
    root = build(kinds, value(which, 2))
    names = {"root": root}

    def f(x):
        return x * read(kinds, root if by_closure else names["root"])

    compiled = gradc.compile(f, backend="numpy")
    x = gradc.ones(2)
    assert compiled(x).tolist() == [2.0, 2.0]
    depth = min(level, len(kinds))
    if in_place and which == "tensor":
        read(kinds, root).fill_(5.0)
    elif depth == 0:
        root = build(kinds, value(which, 5))
        names["root"] = root
    else:
        holder = root
        for kind in kinds[: depth - 1]:
            holder = get(kind, holder)
        put(kinds[depth - 1], holder, build(kinds[depth:], value(which, 5)))
    with contextlib.suppress(GradcError):
        assert compiled(x).tolist() == [5.0, 5.0]


class Counter:
    step = 1.0

    def read(self):
        return self.step


@pytest.mark.parametrize("change", ["class", "instance", "method"])
def test_class_attributes_are_watched(change):
    counter = Counter()
    f = gradc.compile(lambda x: x * counter.read(), backend="numpy")
    assert f(gradc.ones(1)).tolist() == [1.0]
    original = Counter.read
    try:
        if change == "class":
            Counter.step = 4.0
        elif change == "instance":
            counter.step = 4.0
        else:
            Counter.read = lambda self: 4.0
        assert f(gradc.ones(1)).tolist() == [4.0]
    finally:
        Counter.step, Counter.read = 1.0, original


def test_a_tensor_nobody_owns_is_an_error():
    hidden = functools.lru_cache(lambda: gradc.ones(2))
    hidden()
    f = gradc.compile(lambda x: x + hidden(), backend="numpy")
    with pytest.raises(CaptureError, match="not reached") as caught:
        f(gradc.ones(2))
    assert "test_holders.py" in str(caught.value) and "f32[2]" in str(caught.value)


def test_a_masked_array_beside_the_function_is_no_obstacle():
    masks = [np.ma.masked, np.ma.array([1.0, 2.0], mask=[True, False])]
    f = gradc.compile(lambda x: x * len(masks))
    assert f(gradc.ones(2)).tolist() == [2.0, 2.0]
