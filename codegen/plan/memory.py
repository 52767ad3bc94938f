"""One arena: offsets for arrays from their lifetimes.

Two arrays may share bytes when no kernel needs both. Offsets are multiples of 64.

    assign([Lifetime(400, 0, 1), Lifetime(400, 2, 3)])   ->  [0, 0], 448
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64
_GREEDY_LIMIT = 600


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`nbytes` needed from kernel `first` to kernel `last`, both included."""

    nbytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def aligned(n: int) -> int:
    """`n` rounded up to a multiple of 64."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def assign(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset for each array, and the size of the arena."""
    swept = _sweep(lifetimes)
    if len(lifetimes) > _GREEDY_LIMIT:
        return swept
    greedy = _by_size(lifetimes)
    return greedy if greedy[1] <= swept[1] else swept


def _by_size(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """The largest first, each at the lowest place that is free during its life."""
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    total = 0
    for i in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].nbytes, i)):
        size = aligned(lifetimes[i].nbytes)
        offset = 0
        near = [j for j in placed if lifetimes[j].meets(lifetimes[i])]
        for j in sorted(near, key=offsets.__getitem__):
            if offset + size <= offsets[j]:
                break
            offset = max(offset, offsets[j] + aligned(lifetimes[j].nbytes))
        offsets[i] = offset
        placed.append(i)
        total = max(total, offset + size)
    return offsets, total


def _sweep(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """In the order of time, each in the smallest gap that takes it: linear but for the gaps."""
    offsets = [0] * len(lifetimes)
    gaps: list[tuple[int, int]] = []  # (offset, size), by offset
    ending: dict[int, list[int]] = {}
    total = 0
    time = -1
    for i in sorted(range(len(lifetimes)), key=lambda i: (lifetimes[i].first, i)):
        while time < lifetimes[i].first:
            for j in ending.pop(time, ()):
                _release(gaps, offsets[j], aligned(lifetimes[j].nbytes))
            time += 1
        size = aligned(lifetimes[i].nbytes)
        offset, total = _take(gaps, size, total)
        offsets[i] = offset
        ending.setdefault(lifetimes[i].last, []).append(i)
    return offsets, total


def _take(gaps: list[tuple[int, int]], size: int, total: int) -> tuple[int, int]:
    best = min((g for g in enumerate(gaps) if g[1][1] >= size), key=lambda g: g[1][1], default=None)
    if best is None:
        if gaps and sum(gaps[-1]) == total:  # grow the gap at the end
            offset = gaps.pop()[0]
            return offset, max(total, offset + size)
        return total, total + size
    at, (offset, room) = best
    if room == size:
        gaps.pop(at)
    else:
        gaps[at] = (offset + size, room - size)
    return offset, total


def _release(gaps: list[tuple[int, int]], offset: int, size: int) -> None:
    at = next((k for k, g in enumerate(gaps) if g[0] > offset), len(gaps))
    gaps.insert(at, (offset, size))
    if at + 1 < len(gaps) and offset + size == gaps[at + 1][0]:
        gaps[at : at + 2] = [(offset, size + gaps[at + 1][1])]
    if at > 0 and sum(gaps[at - 1]) == gaps[at][0]:
        gaps[at - 1 : at + 1] = [(gaps[at - 1][0], gaps[at - 1][1] + gaps[at][1])]
