"""Dtypes of mixed operands against torch's table, eager and traced.

Two stated differences: a 0-d tensor promotes like any other (torch lets it decide the category
only), and uint16 to uint64, which torch joins with themselves and floats only, follow the Array
API.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gradc
from gradc.errors import DTypeError

TABLE = json.loads((Path(__file__).parent / "torch_promotion.json").read_text("utf-8"))
NUMBERS = {"bool": True, "int": 1, "float": 1.5}
UNSIGNED = {"uint16": 16, "uint32": 32, "uint64": 64}


def made(name, *shape):
    return gradc.ones(*shape, dtype=getattr(gradc, name))


def array_api(a, b):
    """The dtype of two integer (or bool) dtypes of which torch joins none."""
    if "bool" in (a, b):
        return a if b == "bool" else b
    if a[0] == b[0]:
        return max(a, b, key=lambda name: int(name.strip("uint")))
    unsigned, signed = (int(n.strip("uint")) for n in sorted((a, b), reverse=True))
    bits = signed if signed > unsigned else 2 * unsigned
    return None if bits > 64 else f"int{bits}"


def expected(a, b):
    return TABLE[a]["array"][b] or array_api(a, b)


@pytest.mark.parametrize("a", TABLE)
def test_arrays(a):
    for b in TABLE:
        x, y = made(a, 2), made(b, 2)
        dtype = expected(a, b)
        if dtype is None:
            with pytest.raises(DTypeError, match="no common integer type"):
                x + y
            continue
        assert (x + y).dtype.name == gradc.result_type(x, y).name == dtype, (a, b)
        assert (x * y).dtype.name == gradc.where(x > 0, x, y).dtype.name == dtype, (a, b)
        assert gradc.cat([x, y]).dtype.name == dtype, (a, b)


@pytest.mark.parametrize("a", TABLE)
def test_0d_tensors_are_strong(a):
    for b in TABLE:
        dtype = expected(a, b)
        if dtype is not None:
            assert (made(a, 2) + made(b, *[()])).dtype.name == dtype, (a, b)


@pytest.mark.parametrize("a", TABLE)
def test_python_numbers(a):
    x = made(a, 2)
    for name, number in NUMBERS.items():
        dtype = TABLE[a]["number"][name]
        assert (x + number).dtype.name == (number + x).dtype.name == dtype, (a, name)
        assert gradc.result_type(x, number).name == dtype, (a, name)


def test_what_is_traced_promotes_alike():
    pairs = [(a, b) for a in TABLE for b in TABLE if expected(a, b) is not None]

    @gradc.compile(backend="numpy")
    def sums(xs):
        mixed = [xs[a] + xs[b] for a, b in pairs]
        return mixed, [xs[a] + v for a in TABLE for v in NUMBERS.values()]

    mixed, weak = sums({name: made(name, 2) for name in TABLE})
    assert [t.dtype.name for t in mixed] == [expected(a, b) for a, b in pairs]
    assert [t.dtype.name for t in weak] == [
        TABLE[a]["number"][name] for a in TABLE for name in NUMBERS
    ]


def test_sums_of_bools_are_computed_in_c():
    x, y = gradc.tensor([True, True, False, False]), gradc.tensor([True, False, True, False])
    found = gradc.compile(lambda x, y: (x + y, x * y, x + True))(x, y)
    assert [t.dtype for t in found] == [gradc.bool_] * 3
    assert [t.tolist() for t in found] == [
        [True, True, True, False], [True, False, False, False], [True] * 4,
    ]  # fmt: skip


def test_arithmetic_that_takes_no_bools():
    x = gradc.tensor([True, False])
    for function in (gradc.sub, gradc.floor_divide, gradc.remainder, gradc.fmod, gradc.pow):
        with pytest.raises(DTypeError, match="does not take bool"):
            function(x, x)
