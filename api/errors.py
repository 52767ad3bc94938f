"""`gradc.errors`: one class per kind of mistake; see each class for causes and ways out."""

from gradc.tracer.errors import (
    ArgumentError,
    ArgumentTypeError,
    AssertionFailed,
    CaptureError,
    CompileError,
    CompilerNotFound,
    DivisionByZero,
    DonatedError,
    DTypeError,
    ExecutionError,
    GradcError,
    GradientError,
    IndexOutOfRange,
    InternalError,
    NotFinite,
    NotSupported,
    ShapeError,
    StateError,
    TraceError,
)

__all__ = [
    "ArgumentError", "ArgumentTypeError", "AssertionFailed", "CaptureError", "CompileError",
    "CompilerNotFound", "DTypeError", "DivisionByZero", "DonatedError", "ExecutionError",
    "GradcError", "GradientError", "IndexOutOfRange", "InternalError", "NotFinite",
    "NotSupported", "ShapeError", "StateError", "TraceError",
]  # fmt: skip
