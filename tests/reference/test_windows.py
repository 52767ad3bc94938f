"""Convolutions, pooling and batch normalisation against the table torch made."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from torch_cases import Namespace, results
from window_cases import WINDOW_GROUPS

import gradc
import gradc.nn.functional as F

T = Namespace(gradc, F)
TABLE = json.loads((Path(__file__).parent / "torch_windows.json").read_text("utf-8"))
CASES = [case for group in WINDOW_GROUPS.values() for case in group]


def test_the_table_is_of_these_cases():
    assert sorted(TABLE) == sorted(case.name for case in CASES)


def tensors(case):
    found = [gradc.tensor(a) for a in case.arrays]
    for t in found:
        t.requires_grad_(t.dtype.is_float and case.order > 0)
    return found


def agree(case, found):
    """The same results; no gradient and a gradient of zeros are the same."""
    for i, (ours, torchs) in enumerate(zip_longest(found, TABLE[case.name])):
        where = f"{case.name}: result {i}"
        if ours is None or torchs is None:
            given = ours.flatten().tolist() if ours is not None else (torchs or {}).get("value", ())
            assert not any(given), where
            continue
        assert [ours.dtype.name, list(ours.shape)] == [torchs["dtype"], torchs["shape"]], where
        np.testing.assert_allclose(
            ours.flatten().tolist(), torchs["value"], rtol=1e-7, atol=1e-9, err_msg=where
        )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_eager(case):
    agree(case, results(T, case, tensors(case)))


@pytest.mark.parametrize("group", WINDOW_GROUPS)
def test_compiled(group):
    @gradc.compile
    def every(arguments):
        return [
            results(T, case, [a.detach().requires_grad_(a.requires_grad) for a in given])
            for case, given in zip(WINDOW_GROUPS[group], arguments)
        ]

    found = every([tensors(case) for case in WINDOW_GROUPS[group]])
    for case, values in zip(WINDOW_GROUPS[group], found):
        agree(case, values)
