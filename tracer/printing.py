"""Tensors as text, in torch's form.

    tensor([[1.0000, 2.5000]], requires_grad=True)
    tensor(0.6931, grad_fn=<BinaryCrossEntropyWithLogitsBackward0>)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.tracer.graph.types import bool_, int64
from gradc.tracer.promotion import get_default_dtype
from gradc.tracer.storage import Array
from gradc.tracer.tensor import Tensor

PRECISION = 4
THRESHOLD = 1000
EDGE_ITEMS = 3
LINE_WIDTH = 80
_PREFIX = "tensor("


class _Format:
    """How the elements of one tensor are written: all in the same width."""

    def __init__(self, values: Array) -> None:
        self.is_float = values.dtype.kind == "f"
        self.scientific = False
        self.integral = True
        self.width = 1
        if not self.is_float:
            self.width = max((len(str(v)) for v in values.ravel().tolist()), default=1)
            return
        finite = np.abs(values[np.isfinite(values) & (values != 0)].astype(np.float64))
        if finite.size == 0:
            self._measure(values)
            return
        self.integral = bool((finite == np.ceil(finite)).all())
        low, high = float(finite.min()), float(finite.max())
        wide = high / low > 1000.0 or high > 1e8
        self.scientific = wide or (not self.integral and low < 1e-4)
        self._measure(values[np.isfinite(values) & (values != 0)])

    def _measure(self, values: Array) -> None:
        self.width = max((len(self(v, pad=False)) for v in values.ravel().tolist()), default=1)

    def __call__(self, value: Any, pad: bool = True) -> str:
        if not self.is_float:
            text = str(value)
        elif self.scientific and not (math.isnan(value) or math.isinf(value)):
            text = f"{value:.{PRECISION}e}"
        elif self.integral:
            text = f"{value:.0f}"
            if math.isfinite(value):
                text += "."
        else:
            text = f"{value:.{PRECISION}f}"
        return text.rjust(self.width) if pad else text


def _vector(values: Array, indent: int, write: _Format, summarize: bool) -> str:
    per_line = max(1, (LINE_WIDTH - indent) // (write.width + 2))
    items = values.tolist()
    if summarize and len(items) > 2 * EDGE_ITEMS:
        words = [write(v) for v in items[:EDGE_ITEMS]] + [" ..."]
        words += [write(v) for v in items[-EDGE_ITEMS:]]
    else:
        words = [write(v) for v in items]
    lines = [words[i : i + per_line] for i in range(0, len(words), per_line)] or [[]]
    return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"


def _nested(values: Array, indent: int, write: _Format, summarize: bool) -> str:
    if values.ndim == 0:
        return write(values.item())
    if values.ndim == 1:
        return _vector(values, indent, write, summarize)
    if summarize and values.shape[0] > 2 * EDGE_ITEMS:
        parts = [_nested(values[i], indent + 1, write, summarize) for i in range(EDGE_ITEMS)]
        parts.append("...")
        last = range(values.shape[0] - EDGE_ITEMS, values.shape[0])
        parts += [_nested(values[i], indent + 1, write, summarize) for i in last]
    else:
        parts = [_nested(v, indent + 1, write, summarize) for v in values]
    gap = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _shown(values: Array) -> Array:
    """Only the elements that are printed of a large array."""
    if values.size <= THRESHOLD:
        return values
    for axis, size in enumerate(values.shape):
        if size > 2 * EDGE_ITEMS:
            edge = [*range(EDGE_ITEMS), *range(size - EDGE_ITEMS, size)]
            values = np.take(values, edge, axis)
    return values


def _suffixes(t: Tensor, empty: bool) -> list[str]:
    found = []
    if empty and t.ndim != 1:
        found.append(f"size={tuple(t.shape)}")
    usual = t.dtype in (get_default_dtype(), bool_) or (t.dtype is int64 and not empty)
    if not usual:
        found.append(f"dtype={t.dtype!r}")
    if t.grad_fn is not None:
        found.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        found.append("requires_grad=True")
    return found


def format_tensor(t: Tensor, prefix: str = _PREFIX) -> str:
    """`repr(t)`; a tensor that is being traced shows its type."""
    if t._data is None:
        return f"{prefix}<traced {t.type}>)"
    if t._storage.donated:
        return f"{prefix}<donated {t.type}>)"
    if t._storage.device is not None:
        t._storage.sync()
    values = t._data
    indent = len(prefix)
    if values.size == 0:
        text = prefix + "[]"
    else:
        write = _Format(_shown(values))
        text = prefix + _nested(values, indent, write, values.size > THRESHOLD)
    length = len(text) - text.rfind("\n") - 1
    for suffix in _suffixes(t, values.size == 0):
        if length + len(suffix) + 2 > LINE_WIDTH:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"
