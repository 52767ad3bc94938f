"""Primitives that are there for what they may report."""

from __future__ import annotations

from gradc.tracer.graph.types import TensorType, bool_
from gradc.tracer.ops.primitive import primitive, require_dtype


def _infer_check(p: TensorType, *, message: str) -> tuple[TensorType, ...]:
    require_dtype("check", p, bool_)
    return ()


# check(p; message): fails unless every element of p is true.
check = primitive("check", _infer_check, "effect", fails_on="*")
