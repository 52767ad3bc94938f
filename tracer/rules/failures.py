"""The errors of eqns that can fail at run time, with the same words on every executor.

    raise index_out_of_range("gather", 7, axis=0, size=5)
    IndexOutOfRange: gather: index 7 is out of range for axis 0 with size 5

An executor adds what only it knows, `located(error, eqn)`: the function the user called
(`embedding` rather than `gather`), the operands, and the user's line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradc.tracer.errors import (
    AssertionFailed,
    DivisionByZero,
    GradcError,
    IndexOutOfRange,
    NotFinite,
)
from gradc.tracer.graph.ir import Eqn
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType


def index_out_of_range(
    name: str,
    index: int,
    *,
    axis: int,
    size: int,
    loc: Location | None = None,
) -> IndexOutOfRange:
    """The error of `gather` and `scatter`, under the name of what the user called."""
    return IndexOutOfRange(
        f"{name}: index {index} is out of range for axis {axis} with size {size}",
        loc=loc,
    )


def called_name(prim: str, scope: Sequence[str]) -> str:
    """What the user called to get this primitive: the innermost composite, if any."""
    return scope[-1] if scope else prim


# These move their dimension to the end first, so that the eqn's axis and types are not the user's.
_REORDERED = ("gather", "take_along_dim", "scatter", "scatter_add")
_AXIS = re.compile(r"axis \d+ with size")


def shown_operands(
    scope: Sequence[str], types: Sequence[TensorType]
) -> tuple[str, ...] | None:
    """The operands as the user gave them; None where the eqn's are not those."""
    return None if scope and scope[-1] in _REORDERED else tuple(map(str, types))


def as_called(error: GradcError, operands: Sequence[str] | None) -> GradcError:
    """A failed index with its operands; without these the eqn's axis means nothing either."""
    if operands is None:
        error.what = _AXIS.sub("a dimension of size", error.what)
    else:
        error.operands = tuple(operands)
    return error


def in_words_of_user(
    error: GradcError, prim: str, scope: Sequence[str], types: Sequence[TensorType]
) -> GradcError:
    """A failed index under the name of what the user called, with the operands."""
    if isinstance(error, IndexOutOfRange) and not error.operands:
        error.what = error.what.replace(prim, called_name(prim, scope), 1)
        return as_called(error, shown_operands(scope, types))
    return error


def located(error: GradcError, eqn: Eqn) -> GradcError:
    """The error of a rule with what the eqn knows about it."""
    types = [a.type for a in eqn.inputs]
    return in_words_of_user(error, eqn.prim.name, eqn.scope, types).at(eqn.loc)


def division_by_zero(prim: str, *, loc: Location | None = None) -> DivisionByZero:
    """The error of the integer divisions and remainders."""
    return DivisionByZero(f"{prim}: integer division by zero", loc=loc)


# How the messages of watched numbers begin. Executors and exported files know of a check no more
# than its message.
_NOT_FINITE = "not finite: "


def made_not_finite(prim: str, what: str, *, backward: bool, scope: Sequence[str]) -> str:
    """The message of a check that watches for NaN or infinities."""
    place = f" (in {scope[-1]})" if scope else ""
    whose = "the backward of " if backward else ""
    return f"{_NOT_FINITE}{whose}this line made {what}: {prim}{place}"


def check_failed(message: str, *, loc: Location | None = None) -> GradcError:
    """The error of `check`: AssertionFailed, or NotFinite where numbers are watched."""
    if message.startswith(_NOT_FINITE):
        return NotFinite(
            message.removeprefix(_NOT_FINITE), loc=loc,
            hint="its operands had none; what came in with arguments and state is not counted",
        )  # fmt: skip
    return AssertionFailed(message, loc=loc)
