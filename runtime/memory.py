"""Memory of running programs: work areas, and large outputs whose memory is used again.

    area = take_area(1 << 20)                      scratch memory of one call at a time
    y = fresh_output((4096, 1024), float32, n)     its memory comes back when its last view is gone
    release_memory()                               give back what nothing uses

An allocator hands large blocks back to the system when they are freed. The next call would then
pay for every page anew, which takes longer than a kernel that reads and writes it once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.runtime.loader import ffi
from gradc.runtime.locks import ImpatientLock
from gradc.tracer.storage import Array

ALIGNMENT = 64
# Outputs from this size on are worth the 2 us that their own memory costs.
LARGE = 1 << 16
# Free blocks of more than this in all are given back, those of the longest unused size first.
MOST_FREE = 1 << 29

_from_buffer = ffi.from_buffer


def aligned_empty(size: int) -> Array:
    """`size` uninitialised bytes at a multiple of 64."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size]


# -- work areas -----------------------------------------------------------------------------------


class Area:
    """A work area: scratch memory of one call at a time, 64-byte aligned within `memory`."""

    __slots__ = ("address", "memory")

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        start = _from_buffer("char[]", memory)
        self.address = start + -int(ffi.cast("uintptr_t", start)) % ALIGNMENT


# The memory of areas that no running call uses, shared by all programs and by calls through Python
# and the extension: as many as there were calls at one time, as large as the largest needed.
AREAS: list[Array] = []


def take_area(size: int) -> Area:
    """A work area of at least `size` bytes, until `return_area`."""
    try:
        memory = AREAS.pop()
    except IndexError:
        memory = None
    if memory is None or memory.nbytes < size + ALIGNMENT:
        memory = np.empty(size + ALIGNMENT, np.uint8)
    return Area(memory)


def return_area(area: Area) -> None:
    """Give a work area back."""
    AREAS.append(area.memory)


# -- outputs --------------------------------------------------------------------------------------


class Blocks:
    """Memory of outputs that are gone, by size.

    A block comes back wherever Python drops the last view of an array, which may be in the midst
    of `take` on the same thread. So nobody waits for the lock: who finds it taken allocates, or
    frees.
    """

    def __init__(self, most_free: int) -> None:
        self.most_free = most_free
        self.free_bytes = 0
        self._free: dict[int, list[Any]] = {}
        self._lock = ImpatientLock()

    def take(self, size: int) -> Any:
        """A buffer of `size` bytes, 64-byte aligned, that comes back when nothing refers to it."""
        block = self._kept(size) or _from_buffer("char[]", aligned_empty(size))
        return ffi.buffer(ffi.gc(block, lambda _: self._give(size, block)), size)

    def _kept(self, size: int) -> Any:
        if not self._free.get(size) or not self._lock.enter():
            return None
        try:
            blocks = self._free[size]
            block = blocks.pop()
            self.free_bytes -= size
            if not blocks:  # sizes are kept in the order in which they were last given
                del self._free[size]
            return block
        except LookupError:  # another thread was faster
            return None
        finally:
            self._lock.leave()

    def _give(self, size: int, block: Any) -> None:
        if size > self.most_free or not self._lock.enter():
            return
        try:
            while self.free_bytes + size > self.most_free:
                oldest = next(iter(self._free))
                self.free_bytes -= oldest * len(self._free.pop(oldest))
            self._free.setdefault(size, []).append(block)
            self.free_bytes += size
        finally:
            self._lock.leave()

    def clear(self) -> None:
        """Give the free blocks back to the system."""
        with self._lock:
            self._free, dropped = {}, self._free
            self.free_bytes = 0
        dropped.clear()


_blocks = Blocks(MOST_FREE)


def fresh_output(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
    """An uninitialised C-contiguous array of `size` bytes; a large one is aligned to 64."""
    if size < LARGE:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _blocks.take(size))


def release_memory() -> None:
    """Give the memory that no running call and no array uses back to the system: work areas, and
    what outputs had that are gone."""
    AREAS.clear()
    _blocks.clear()
