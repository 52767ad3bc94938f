"""Why a function is compiled again, in the user's words; and calls that are the same call."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import gradc

MODES = pytest.mark.parametrize("backend", [None, "c", "numpy"], ids=str)


def scaled(x, k=1, d=None):
    return x * (k[0] if isinstance(k, (list, tuple)) else k)


class Scale:
    def scaled(self, x, k=1):
        return x * k


@MODES
@pytest.mark.parametrize("fn", [scaled, Scale().scaled], ids=["function", "method"])
def test_an_argument_by_name_is_the_same_call(fn, backend):
    f = fn if backend is None else gradc.compile(fn, backend=backend)
    x = gradc.ones(2)
    for found in (f(x, 3), f(x, k=3), f(x=x, k=3), f(k=3, x=x)):
        assert found.tolist() == [3.0, 3.0]
    if backend is not None:
        assert f.recompiles() == []


@MODES
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {"x": 2}), ((), {"k": 2}), ((1, 2, 3, 4), {}), ((1,), {"z": 2}),
     ((1,), {"k": 2, "z": 1})],
    ids=["twice", "missing", "many", "unknown", "unknown too"],
)  # fmt: skip
def test_calls_that_are_none_are_refused_as_by_python(args, kwargs, backend):
    f = scaled if backend is None else gradc.compile(scaled, backend=backend)
    with pytest.raises(TypeError, match=r"scaled\(\)"):
        f(*args, **kwargs)


def test_wrappers_get_keywords_as_they_are_given():
    @functools.wraps(scaled)
    def wrapper(*args, **kwargs):
        return args[0] * (10 if "k" in kwargs else 1)

    f = gradc.compile(wrapper, backend="numpy")
    assert f(gradc.ones(1), 3).item() == 1.0
    assert f(gradc.ones(1), k=3).item() == 10.0


def test_parameters_without_names_stay_without():
    def f(x, /, k, *, s=1.0, **more):
        return x * k * s * more.get("x", 1)

    g = gradc.compile(f, backend="numpy")
    assert g(gradc.ones(1), k=2, x=5).item() == 10.0
    assert g(gradc.ones(1), 2, s=3.0).item() == 6.0


ONE, TWO = gradc.ones(1), gradc.ones(2)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ((ONE, 3), (TWO, 3), "x is float32[2] and was float32[1]"),
        ((ONE, 3), (ONE,), "argument `k` is gone"),
        ((ONE,), (ONE, 3), "argument `k` is new"),
        ((ONE, 3), (ONE, [3]), "argument `k.0` is new and argument `k` is gone"),
        ((ONE, [3]), (ONE, (3,)), "the arguments lie in containers of other types"),
        ((ONE, 3), (ONE, 3.0), "k is a run-time float and was a run-time int"),
        ((ONE, 3), (ONE, np.ones(1)), "k is float64[1] and was a run-time int"),
        ((ONE, 3, {"a": 1}), (ONE, 3, {"b": 1, "c": 2}),
         "arguments `d.b`, `d.c` are new and argument `d.a` is gone"),
        ((ONE, 3, "s"), (ONE, 3, "t"), "d is 't' and was 's'"),
        ((ONE, gradc.ones(1)), (ONE, ONE), "arguments share memory in another way"),
        ((ONE, 3), (ONE, 3, [0] * 9),
         "arguments `d.0`, `d.1`, `d.2`, `d.3`, ... are new"),
    ],
)  # fmt: skip
def test_the_reason_names_what_differs(first, second, reason):
    f = gradc.compile(scaled, backend="numpy")
    f(*first)
    f(*second)
    (text,) = f.recompiles()
    assert text == f"scaled: compiled again, because {reason}"
