"""Writes the tables beside it, with torch: `python tests/reference/make_torch_tables.py`.

torch_table.json        what `torch_cases` gives: dtype, shape and elements
torch_windows.json      the same of `window_cases`
torch_promotion.json    the dtype of sums: array with array, with 0-d, with a Python number
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch_cases import EAGER, GROUPS, Case, Namespace, results
from window_cases import WINDOW_GROUPS

T = Namespace(torch, torch.nn.functional)
HERE = Path(__file__).parent
DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float32",
    "float64",
)  # fmt: skip
NUMBERS = {"bool": True, "int": 1, "float": 1.5}


def described(t: Any) -> Any:
    if t is None:
        return None
    # Zeros that torch never made have no memory to read.
    data = torch.zeros(t.shape) if t._is_zerotensor() else t
    dtype = str(t.dtype).split(".")[1]
    return {"dtype": dtype, "shape": list(t.shape), "value": data.flatten().tolist()}


def expected(case: Case) -> list[Any]:
    tensors = [torch.tensor(a) for a in case.arrays]
    for t in tensors:
        t.requires_grad_(t.dtype.is_floating_point and case.order > 0)
    return [described(t) for t in results(T, case, tensors)]


def result_type(a: Any, b: Any) -> str | None:
    try:
        return str(torch.result_type(a, b)).split(".")[1]
    except RuntimeError:
        return None  # torch has no common dtype


def promotion() -> dict[str, Any]:
    def made(name: str, *shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=getattr(torch, name))

    table: dict[str, Any] = {}
    for a in DTYPES:
        table[a] = {
            "array": {b: result_type(made(a, 2), made(b, 2)) for b in DTYPES},
            "zero_d": {b: result_type(made(a, 2), made(b)) for b in DTYPES},
            "number": {n: result_type(made(a, 2), v) for n, v in NUMBERS.items()},
        }
    return table


def write(name: str, table: Any) -> None:
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in table.items())
    (HERE / name).write_text("{" + lines + "}\n", encoding="utf-8")


if __name__ == "__main__":
    cases = [case for group in GROUPS.values() for case in group] + EAGER
    write("torch_table.json", {case.name: expected(case) for case in cases})
    windows = [case for group in WINDOW_GROUPS.values() for case in group]
    write("torch_windows.json", {case.name: expected(case) for case in windows})
    write("torch_promotion.json", promotion())
