"""Arrays in one file, in the safetensors format, laid out so that C can use them as they lie.

    layout = write_state(path, {"w": w, "b": b})     layout.begin, layout.offsets["w"], layout.size
    arrays = read_state(path)                        {"w": ..., "b": ...}

The file is a length (8 bytes, little endian), a header in JSON padded with spaces to a multiple of
64, and the data without gaps. Wide elements come first, so every array is aligned to its element.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradc.tracer.errors import ArgumentError
from gradc.tracer.storage import Array

# No header is longer; a length beyond it is no length but some other file's first bytes.
LONGEST_HEADER = 100_000_000
DTYPES = {
    "BOOL": "bool", "I8": "int8", "U8": "uint8", "I16": "int16", "U16": "uint16", "I32": "int32",
    "U32": "uint32", "I64": "int64", "U64": "uint64", "F32": "float32", "F64": "float64",
}  # fmt: skip
_CODES = {np.dtype(name): code for code, name in DTYPES.items()}


@dataclass(frozen=True)
class StateLayout:
    """Where arrays lie.

    Attributes:
        begin: bytes of the file before the data.
        size: bytes of the data.
        offsets: where each array begins, counted from `begin`.
    """

    begin: int
    size: int
    offsets: Mapping[str, int]


def write_state(path: Path, arrays: Mapping[str, Array]) -> StateLayout:
    """Write arrays, replacing the file at once or not at all."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": {"format": "gradc"}}
    offsets, at = {}, 0
    for name, array in ordered:
        end = at + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype], "shape": list(array.shape), "data_offsets": [at, end],
        }  # fmt: skip
        offsets[name], at = at, end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    data = [np.ascontiguousarray(a).tobytes() for _, a in ordered]
    write_whole(path, b"".join([len(text).to_bytes(8, "little"), text, *data]))
    return StateLayout(8 + len(text), at, offsets)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees a part of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Array]:
    """The arrays of a file, each with memory of its own.

    Raises:
        ArgumentError: this is no such file, or not a whole one.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    header, begin = _header(path, data)
    arrays = {}
    for name, facts in header.items():
        if name != "__metadata__":
            arrays[name] = _array(path, name, facts, data, begin)
    if sum(a.nbytes for a in arrays.values()) != len(data) - begin:
        raise _damaged(path, "its size does not fit its header")
    return arrays


def _header(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(LONGEST_HEADER, len(data) - 8):
        raise _damaged(path, "it is shorter than its header says")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not JSON")
    return header, 8 + length


def _array(path: Path, name: str, facts: Any, data: bytes, begin: int) -> Array:
    try:
        dtype = np.dtype(DTYPES[facts["dtype"]])
        shape = tuple(facts["shape"])
        first, last = facts["data_offsets"]
        count = 1
        for size in shape:
            count *= size
        sizes = (*shape, first, last)
        whole = all(type(v) is int and v >= 0 for v in sizes)
        if not whole or last - first != count * dtype.itemsize or begin + last > len(data):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"the entry of {name!r} makes no sense") from None
    return np.frombuffer(data, dtype, count, begin + first).reshape(shape).copy()


def _damaged(path: Path, why: str) -> ArgumentError:
    return ArgumentError(f"{path.name} is no safetensors file, or damaged: {why}")
