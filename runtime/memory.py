"""Memory of running programs: work areas, and large outputs whose memory is used again.

    area = take_area(1 << 20)                      scratch memory of one call at a time
    y = fresh_output((4096, 1024), float32, n)     its memory comes back when its last view is gone
    release()                                      give back what nothing uses

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
    """A work area: 64-byte aligned scratch memory of one call at a time."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        self.memory = aligned_empty(size)
        self.size = size
        self.address = _from_buffer("char[]", self.memory)


# Shared by all programs: as many as there were calls at one time, as large as the largest needed.
_areas: list[Area] = []


def take_area(size: int) -> Area:
    """A work area of at least `size` bytes, until `return_area`."""
    try:
        area = _areas.pop()
    except IndexError:
        return Area(size)
    return area if area.size >= size else Area(size)


return_area = _areas.append


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


def release() -> None:
    """Give back the work areas that no running call uses, and the memory of outputs now gone."""
    _areas.clear()
    _blocks.clear()
