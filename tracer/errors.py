"""The errors a user can meet: one class per kind of mistake.

Every message says what is wrong, the user's line, the operands with shapes and dtypes, and a
hint. Each class also derives from the built-in a torch or NumPy user would catch.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradc.tracer.graph.source import Location, user_location


class GradcError(Exception):
    """Base of every error of gradc.

    Attributes:
        what: the first line, without place and hint.
        loc: the user's line, where known.
        hint: what to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        loc: Location | None = None,
        operands: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.loc = loc
        self.operands = tuple(operands)
        self.hint = hint
        super().__init__(what)

    def at(self, loc: Location | None) -> GradcError:
        """Set the user's line if none is known yet; returns self."""
        if self.loc is None:
            self.loc = loc
        return self

    def __str__(self) -> str:
        lines = [self.what]
        if self.loc is not None:
            lines.append(f"  {self.loc}, in {self.loc.function}:      {self.loc.text}".rstrip())
        lines += [f"    {operand}" for operand in self.operands]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ShapeError(GradcError, ValueError):
    """Operands whose shapes do not go together, or a shape that cannot be had."""


class DTypeError(GradcError, TypeError):
    """An element type the operation does not take."""


class ArgumentError(GradcError, ValueError):
    """A parameter of an operation that is out of its range or contradicts another."""


class ArgumentTypeError(GradcError, TypeError):
    """An argument of a Python type the operation does not take."""


class IndexOutOfRange(GradcError, IndexError):
    """An index or a dimension outside its range; the message states index, dimension, size."""


class DivisionByZero(GradcError, ZeroDivisionError):
    """An integer division or remainder by zero."""


class NotFinite(GradcError, FloatingPointError):
    """An operation made a NaN or an infinity while `checks=` watched for it."""


class GradientError(GradcError, RuntimeError):
    """A gradient that cannot be had: no graph, freed graph, a modified saved value."""


class TraceError(GradcError, TypeError):
    """Python asked for the value of something that is only being traced."""


class CaptureError(GradcError, RuntimeError):
    """State that a compiled function uses and that gradc cannot follow."""


class StateError(GradcError, RuntimeError):
    """A state that does not fit the module it is loaded into."""


class DonatedError(GradcError, RuntimeError):
    """A tensor whose memory was given to a compiled function (`donate_argnames`) is used again."""


class NotSupported(GradcError, NotImplementedError):
    """Something gradc has a name for and cannot do."""


class CompilerNotFound(GradcError, RuntimeError):
    """No C compiler is at hand."""


class CompileError(GradcError, RuntimeError):
    """The C compiler failed, was killed, or took too long."""


class ExecutionError(GradcError, RuntimeError):
    """A compiled program reported a failure that has no class of its own."""


class AssertionFailed(GradcError, AssertionError):
    """A user's `gradc.check` did not hold."""


class InternalError(GradcError, RuntimeError):
    """A fault of gradc itself; please report it with the message."""


def here(error: GradcError, depth: int = 3) -> GradcError:
    """`error` with the user's current line."""
    return error.at(user_location(depth))
