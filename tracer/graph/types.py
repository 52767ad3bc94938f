"""What a value is: an element type and a shape.

`DType` is gradc's own; NumPy's dtypes are met only where data is held (`DType.numpy`,
`dtype_of`). A `TensorType` is all that a shape rule sees of its operands.

    TensorType((64, 784), float32)     prints as   f32[64,784]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradc.tracer.graph.dims import Dim, Shape, format_shape, numel


@dataclass(frozen=True, eq=False)
class DType:
    """An element type.

    Attributes:
        name: the public name, `float32`.
        kind: `b` bool, `i` signed, `u` unsigned, `f` floating.
        bits: the width of one element in storage.
        short: the name in printed graphs, `f32`.
        c_storage: the C type of one stored element.
    """

    name: str
    kind: str
    bits: int
    short: str
    c_storage: str

    @property
    def itemsize(self) -> int:
        """Bytes of one stored element."""
        return max(self.bits // 8, 1)

    @property
    def compute(self) -> DType:
        """The type arithmetic is done in (itself for every type so far)."""
        return self

    @property
    def accumulate(self) -> DType:
        """The type sums and contractions are accumulated in (float16 would give float32)."""
        return self

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned integer; bool is neither."""
        return self.kind in "iu"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype holding such elements."""
        return np.dtype(self.name)

    @property
    def min(self) -> int:
        """The least value of an integer type."""
        return -(1 << (self.bits - 1)) if self.kind == "i" else 0

    @property
    def max(self) -> int:
        """The greatest value of an integer type (1 for bool)."""
        if self.kind == "b":
            return 1
        return (1 << (self.bits - 1)) - 1 if self.kind == "i" else (1 << self.bits) - 1

    def __repr__(self) -> str:
        return f"gradc.{'bool' if self.kind == 'b' else self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.kind == "b" else self.name


bool_ = DType("bool", "b", 8, "bool", "uint8_t")
int8 = DType("int8", "i", 8, "i8", "int8_t")
int16 = DType("int16", "i", 16, "i16", "int16_t")
int32 = DType("int32", "i", 32, "i32", "int32_t")
int64 = DType("int64", "i", 64, "i64", "int64_t")
uint8 = DType("uint8", "u", 8, "u8", "uint8_t")
uint16 = DType("uint16", "u", 16, "u16", "uint16_t")
uint32 = DType("uint32", "u", 32, "u32", "uint32_t")
uint64 = DType("uint64", "u", 64, "u64", "uint64_t")
float32 = DType("float32", "f", 32, "f32", "float")
float64 = DType("float64", "f", 64, "f64", "double")

DTYPES: tuple[DType, ...] = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64,
)  # fmt: skip
FLOATS: tuple[DType, ...] = (float32, float64)
INTEGERS: tuple[DType, ...] = tuple(d for d in DTYPES if d.is_integer)

BY_NAME: dict[str, DType] = {d.name: d for d in DTYPES}
_BY_NUMPY: dict[np.dtype[Any], DType] = {np.dtype(d.name): d for d in DTYPES}


def dtype_of(array_dtype: np.dtype[Any]) -> DType | None:
    """The `DType` of a native-endian NumPy dtype, or None where gradc has none."""
    return _BY_NUMPY.get(array_dtype)


class TensorType:
    """The type of one value: its shape and element type. Immutable."""

    # Written out, not a dataclass: types are made and hashed for every eager operation.
    __slots__ = ("_hash", "dtype", "shape")
    shape: Shape
    dtype: DType

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.shape = shape
        self.dtype = dtype
        self._hash = hash((shape, dtype))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, TensorType)
            and self.dtype is other.dtype
            and self.shape == other.shape
        )

    def __hash__(self) -> int:
        return self._hash

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return numel(self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return self.dtype.short + format_shape(self.shape)

    def __repr__(self) -> str:
        return f"TensorType({self})"
