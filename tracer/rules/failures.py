"""The errors of eqns that can fail at run time, with the same words on every executor.

    raise index_out_of_range("gather", 7, axis=0, size=5)
    IndexOutOfRange: gather: index 7 is out of range for axis 0 with size 5

An executor adds the user's line (`error.at(eqn.loc)`) or gives it as `loc`.
"""

from __future__ import annotations

from gradc.tracer.errors import AssertionFailed, DivisionByZero, IndexOutOfRange
from gradc.tracer.graph.source import Location


def index_out_of_range(
    prim: str, index: int, *, axis: int, size: int, loc: Location | None = None
) -> IndexOutOfRange:
    """The error of `gather` and `scatter`."""
    return IndexOutOfRange(
        f"{prim}: index {index} is out of range for axis {axis} with size {size}", loc=loc
    )


def division_by_zero(prim: str, *, loc: Location | None = None) -> DivisionByZero:
    """The error of the integer divisions and remainders."""
    return DivisionByZero(f"{prim}: integer division by zero", loc=loc)


def check_failed(message: str, *, loc: Location | None = None) -> AssertionFailed:
    """The error of `check`."""
    return AssertionFailed(message, loc=loc)
