"""The threads of this process that run compiled programs, compiled once per machine.

    with starting(THREADS.options):      they are found beside something that takes longer
        ...

Where they cannot be had, programs run on the calling thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from gradc.codegen.c.pool import NAME, pool_source
from gradc.codegen.c.target import POOL_FLAGS
from gradc.runtime.cache import Recipe, store
from gradc.runtime.loader import ffi, open_library, symbol
from gradc.runtime.locks import ForkLock
from gradc.runtime.toolchain import find_compiler
from gradc.tracer.errors import GradcError

logger = logging.getLogger("gradc.compiler")


class _Pool:
    """Whether the threads have been looked for."""

    def __init__(self) -> None:
        self.known = False
        self.lock = ForkLock()


_pool = _Pool()


@contextlib.contextmanager
def starting(options: Any) -> Iterator[None]:
    """Meanwhile, make the threads run what is called with these options, if they do not yet."""
    if _pool.known:
        yield
        return
    search = threading.Thread(target=_obtain, args=(options,), daemon=True)
    search.start()
    try:
        yield
    finally:
        search.join()


def _obtain(options: Any) -> None:
    with _pool.lock:
        if _pool.known:
            return
        try:
            recipe = _recipe()
            path = store().obtain(recipe)
            run = symbol(open_library(path, NAME), f"{NAME}_run", path)
            options.run = ffi.cast("gradc_run *", run)
        except (GradcError, OSError) as error:
            logger.info("compiled programs run on one thread: %s", error)
        _pool.known = True


def _recipe() -> Recipe:
    compiler, source = find_compiler(store().root), pool_source()
    return Recipe(NAME, source, source, compiler, (*compiler.flags(), *POOL_FLAGS))
