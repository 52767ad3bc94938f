"""How far a result is from the truth, and whether that is too far.

The truth is the program in float64 (`codegen/passes/widen.py`); `own` is what the NumPy rules give
in the program's own dtypes. A result is wrong where it is farther from the truth than a bound
allows AND more than twice as far as `own` is: what rounding alone does to a program is no fault
of an executor.

    worst(found, truth)   Distance(ulps=1.0, at=(3, 4), found=1.5, truth=1.4999999)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.tracer.storage import Array

# Of a whole program: relative to the largest element, by width.
PROGRAM_TOLERANCE = {4: 1e-4, 8: 1e-9}
# Of one eqn on given operands.
EQN_ULPS = 8


@dataclass(frozen=True, slots=True)
class Distance:
    """The element farthest from the truth.

    Attributes:
        ulps: units in the last place of the result's own dtype; for integers and bools the
            difference; infinite where only one of the two is NaN or infinite.
        at: its index.
    """

    ulps: float
    at: tuple[int, ...]
    found: Any
    truth: Any

    def __str__(self) -> str:
        where = f"at [{', '.join(map(str, self.at))}]: " if self.at else ""
        return f"{where}{self.found!r}, and float64 says {self.truth!r} ({self.ulps:.3g} ulp)"


def _spacing(truth: Array, dtype: np.dtype[Any]) -> Array:
    """One unit in the last place at `truth`; below the normal numbers, at the least of those."""
    tiny = np.finfo(dtype).tiny
    with np.errstate(all="ignore"):
        rounded = np.clip(np.abs(truth), tiny, np.finfo(dtype).max).astype(dtype)
        unit = np.spacing(rounded).astype(np.float64)
    return np.where(np.isfinite(unit), unit, float(tiny))


def errors(found: Array, truth: Array) -> Array:
    """|found - truth| as float64, infinite where just one of them is NaN or infinite.

    NaN agrees with NaN, and an infinity with what is infinite when rounded to found's dtype.
    """
    with np.errstate(all="ignore"):
        far = np.abs(found.astype(np.float64) - truth.astype(np.float64))
        if found.dtype.kind != "f":
            return far
        rounded = truth.astype(found.dtype)
        agree = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
        return np.where(np.isfinite(far), far, np.where(agree, 0.0, np.inf))


def worst(found: Array, truth: Array) -> Distance:
    """The element of `found` that is farthest from the truth in units in the last place."""
    if found.size == 0:
        return Distance(0.0, (), None, None)
    far = errors(found, truth)
    if found.dtype.kind == "f":
        far = np.where(np.isfinite(far), far / _spacing(truth, found.dtype), far)
    place = int(np.argmax(far))
    at = tuple(int(i) for i in np.unravel_index(place, found.shape))
    value, true_value = found.reshape(-1)[place], truth.reshape(-1)[place]
    return Distance(float(far.reshape(-1)[place]), at, value.item(), true_value.item())


def program_bound(truth: Array, dtype: np.dtype[Any]) -> Array:
    """What a whole program may be off at each element of an output."""
    if dtype.kind != "f":
        return np.zeros(truth.shape)
    finite = np.abs(truth[np.isfinite(truth)])
    scale = float(np.max(finite, initial=0.0))
    tiny = float(np.finfo(dtype).tiny)
    return np.full(truth.shape, PROGRAM_TOLERANCE[dtype.itemsize] * scale + tiny)


def eqn_bound(truth: Array, dtype: np.dtype[Any], summed: Array | None) -> Array:
    """What one eqn may be off; `summed` is what sums of absolute values come to, per element."""
    if dtype.kind != "f":
        return np.zeros(truth.shape)
    bound = EQN_ULPS * _spacing(truth, dtype)
    if summed is not None:
        bound = bound + summed * float(np.finfo(dtype).eps)
    return bound


def wrong(found: Array, truth: Array, own: Array, bound: Array) -> bool:
    """Whether some element is too far from the truth (see the module's docstring)."""
    if found.shape != own.shape or found.dtype != own.dtype:
        return True
    far, usual = errors(found, truth), errors(own, truth)
    if found.dtype.kind != "f":
        return bool(np.any((found != own) & (far > 0)))
    return bool(np.any((far > bound) & (far > 2 * usual)))
