"""Locks that a child process finds open, whoever held them when it was forked.

    lock = ForkLock()
    with lock: ...
    if patch.enter(): ...       an ImpatientLock: nobody waits, not even its own thread
    writing_lock(False)         a context that locks nothing
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


class ForkLock:
    """A reentrant lock. The thread that held it does not exist in a forked child."""

    __slots__ = ("__weakref__", "_lock")

    kind: Callable[[], Any] = threading.RLock

    def __init__(self) -> None:
        self._lock = self.kind()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class ImpatientLock(ForkLock):
    """A lock for what may be entered anew by a destructor at any point: who finds it taken goes."""

    __slots__ = ()
    kind = threading.Lock

    def enter(self) -> bool:
        """Take it, to be left by `leave`; False if anyone has it."""
        taken: bool = self._lock.acquire(blocking=False)
        return taken

    def leave(self) -> None:
        """Let go of it."""
        self._lock.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock._lock = lock.kind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# A trace leaves its marks on tensors it meets until it closes, and goes by their versions. So only
# one thread traces at a time, and calls that count a write or set a gradient wait for it there.
TRACING = ForkLock()


def writing_lock(writes: bool) -> AbstractContextManager[Any]:
    """For a program: one call at a time where it writes state, any number otherwise."""
    return ForkLock() if writes else nullcontext()
