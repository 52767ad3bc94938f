"""gradc against the tables torch made: values, first and second derivatives, eager and compiled."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from torch_cases import EAGER, GROUPS, Namespace, results

import gradc
import gradc.nn.functional as F

T = Namespace(gradc, F)
TABLE = json.loads((Path(__file__).parent / "torch_table.json").read_text("utf-8"))
CASES = [case for group in GROUPS.values() for case in group]


def test_the_table_is_of_these_cases():
    assert set(TABLE) == {case.name for case in [*CASES, *EAGER]}
    assert len(TABLE) == len(CASES) + len(EAGER)


def tensors(case):
    found = [gradc.tensor(a) for a in case.arrays]
    for t in found:
        t.requires_grad_(t.dtype.is_float and case.order > 0)
    return found


def described(t):
    if t is None:
        return None
    return {"dtype": t.dtype.name, "shape": list(t.shape), "value": t.flatten().tolist()}


def agree(case, found):
    """The same results; no gradient and a gradient of zeros are the same."""
    for i, (ours, torchs) in enumerate(zip_longest(map(described, found), TABLE[case.name])):
        where = f"{case.name}: result {i}"
        if ours is None or torchs is None:
            assert not any((ours or torchs or {"value": ()})["value"]), where
            continue
        assert (ours["dtype"], ours["shape"]) == (torchs["dtype"], torchs["shape"]), where
        # torch has some constants in float32 only.
        rtol = 1e-6 if ours["dtype"] == "float32" else 1e-7
        np.testing.assert_allclose(
            ours["value"], torchs["value"], rtol=rtol, atol=1e-12, err_msg=where
        )


@pytest.mark.parametrize("case", [*CASES, *EAGER], ids=lambda c: c.name)
def test_eager(case):
    agree(case, results(T, case, tensors(case)))


@pytest.mark.parametrize("group", GROUPS)
def test_compiled(group):
    @gradc.compile
    def every(arguments):
        return [
            results(T, case, [a.detach().requires_grad_(a.requires_grad) for a in given])
            for case, given in zip(GROUPS[group], arguments)
        ]

    found = every([tensors(case) for case in GROUPS[group]])
    for case, values in zip(GROUPS[group], found):
        agree(case, values)


@pytest.mark.parametrize("case", EAGER, ids=lambda c: c.name)
def test_what_looks_at_values_is_refused_in_a_trace(case):
    with pytest.raises(gradc.errors.TraceError, match=r"torch_cases\.py"):
        gradc.compile(lambda given: case.function(T, *given))(tensors(case))
