"""When calls run, and where their arrays lie: segments between barriers, and the work area.

    k0(x -> a)  k1(w -> b)  k2(a, b -> c)        segment 0: k0 k1     segment 1: k2

A call goes into the earliest segment in which everything it reads is there and nothing it
overwrites is still read, but not far ahead of its turn, for then its results would take memory
for long. Calls that are not divided are the first thread's, in order, so that one may follow
another without a barrier. Arrays share bytes where no segment has use for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gradc.codegen.loops.ir import Invoke, Place, Slot
from gradc.codegen.plan.memory import ALIGNMENT, Lifetime, assign

RECORD_BYTES = 64
# Segments that a call may be moved ahead of those before it.
AHEAD = 2

Cell: TypeAlias = "Slot | tuple[str, int]"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The calls in their final order.

    Attributes:
        commit: as of `Module`.
        work_bytes: of the shared part of the work area.
        private_bytes: of each thread's own part.
    """

    calls: tuple[Invoke, ...]
    commit: int
    work_bytes: int
    private_bytes: int


def arrange(
    calls: Sequence[Invoke], commit: int, aliases: Iterable[tuple[int, int]], threads: int
) -> Arrangement:
    """Put calls into segments, and set the offsets of all arrays of the work area.

    Args:
        calls: in the order of the program.
        commit: how many of them may still fail.
        aliases: (output, input) pairs that may be one array.
        threads: 1: the calls run one after the other, as they are.
    """
    if threads > 1:
        fails = any(c.func.fails for c in calls)
        calls = _segmented(calls, commit if fails else 0, dict(aliases))
    shared = _place_shared(calls)
    return Arrangement(tuple(calls), commit, RECORD_BYTES + shared, _place_private(calls))


# ---- segments ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Access:
    """The latest segments in which something was done to one array, by divided and other calls."""

    written: list[int] = field(default_factory=lambda: [-1, -1])
    read: list[int] = field(default_factory=lambda: [-1, -1])


def _segmented(calls: Sequence[Invoke], commit: int, aliases: dict[int, int]) -> list[Invoke]:
    state = _State(calls, aliases)
    floor = latest = 0
    placed: list[Invoke] = []
    for group in chains(calls):
        if len(placed) == commit > 0:  # every thread must know of failures before state is written
            floor = latest = latest + 1
        segment = max(*map(state.earliest, group), floor, latest - AHEAD)
        for call in group:
            state.note(call, segment)
            placed.append(replace(call, segment=segment))
        latest = max(latest, segment)
    # The first thread begins with what it does alone; the others help it with its share then.
    return sorted(placed, key=lambda c: (c.segment, c.func.tasks > 0))


def chains(calls: Iterable[Invoke]) -> list[list[Invoke]]:
    """The calls, those of a chain together."""
    groups: list[list[Invoke]] = []
    for call in calls:
        if call.chained:
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


class _State:
    """What has been done to every array so far."""

    def __init__(self, calls: Sequence[Invoke], aliases: dict[int, int]) -> None:
        self.aliases = aliases
        self.accesses: dict[Cell, _Access] = {}
        self.parts: dict[Slot, list[Slot]] = {}
        for slot in dict.fromkeys(s for call in calls for s in call.args):
            if slot.inside is not None:
                self.parts.setdefault(slot.inside[0], []).append(slot)

    def earliest(self, call: Invoke) -> int:
        """The first segment in which nothing it depends on is under way."""
        serial = call.func.tasks == 0
        segment = 0
        for slot, p in zip(call.args, call.func.params, strict=True):
            for cell in self.cells(slot):
                seen = self.accesses.get(cell)
                if seen is None or slot.place is Place.PRIVATE:
                    continue
                for kinds in (seen.written, seen.read) if p.written else (seen.written,):
                    segment = max(segment, kinds[0] + 1, kinds[1] + (not serial))
        return segment

    def note(self, call: Invoke, segment: int) -> None:
        serial = call.func.tasks == 0
        for slot, p in zip(call.args, call.func.params, strict=True):
            for cell in self.cells(slot):
                seen = self.accesses.setdefault(cell, _Access())
                kinds = seen.written if p.written else seen.read
                kinds[serial] = max(kinds[serial], segment)

    def cells(self, slot: Slot) -> list[Cell]:
        """What stands for the memory of a slot: its parts, too, which are written one by one; and
        an output may be the input it replaces."""
        if slot.place is Place.OUTPUT and slot.index in self.aliases:
            return [("state", self.aliases[slot.index])]
        if slot.place is Place.INPUT:
            return [("state", slot.index)]
        return [slot, *self.parts.get(slot, ())]


# ---- memory ------------------------------------------------------------------------------------


def _place_shared(calls: Sequence[Invoke]) -> int:
    """Offsets of the arrays in the shared part; its size behind the error record."""
    first: dict[Slot, int] = {}
    last: dict[Slot, int] = {}
    spans: dict[int, list[int]] = {}
    for n, call in enumerate(calls):
        spans.setdefault(call.segment, []).append(n)
    for n, call in enumerate(calls):
        # A divided call may run beside all of its segment, any other after the one before it.
        span = spans[call.segment] if call.func.tasks else [n]
        begin, end = span[0], span[-1]
        for slot in call.args:
            if slot.place is Place.WORK:
                whole = slot.inside[0] if slot.inside is not None else slot
                first[whole] = min(first.get(whole, begin), begin)
                last[whole] = max(last.get(whole, end), end)
    slots = list(first)
    offsets, total = assign([Lifetime(s.nbytes, first[s], last[s]) for s in slots])
    for slot, offset in zip(slots, offsets, strict=True):
        slot.offset = RECORD_BYTES + offset
    for slot in {s for call in calls for s in call.args}:
        if slot.inside is not None:
            whole, begin = slot.inside
            slot.offset = whole.offset + begin * slot.dtype.itemsize
    return total


def _place_private(calls: Sequence[Invoke]) -> int:
    """Offsets of the arrays that a thread has for itself during one call or a chain of them."""
    most = 0
    for group in chains(calls):
        spans: dict[Slot, list[int]] = {}
        for n, call in enumerate(group):
            for slot in call.args:
                if slot.place is Place.PRIVATE:
                    spans.setdefault(slot, [n, n])[1] = n
        offsets, total = assign([Lifetime(s.nbytes, *span) for s, span in spans.items()])
        for slot, offset in zip(spans, offsets, strict=True):
            slot.offset = offset
        most = max(most, total)
    return most


assert RECORD_BYTES % ALIGNMENT == 0
