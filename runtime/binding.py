"""Generated C as something Python can call.

    library = load_module(module)            compiled or taken from the cache, then loaded
    library.entry(inputs, outputs, work, OPTIONS)    -> status

A library is never unloaded. The thread count is a field of the one options record that all
programs are given, so that setting it takes effect everywhere at once.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradc.codegen.c.module import CModule
from gradc.codegen.c.target import ABI_VERSION, QUICK_FLAG
from gradc.runtime.cache import Recipe, Store, store
from gradc.runtime.loader import ffi, open_library, symbol
from gradc.runtime.pool import starting
from gradc.runtime.toolchain import find_compiler
from gradc.tracer.config import config, default_threads
from gradc.tracer.errors import ArgumentError, CompileError, ExecutionError
from gradc.tracer.graph.source import user_location

logger = logging.getLogger("gradc.compiler")

# Statuses of a call; see the ABI.
OK, CHECK_FAILED, BAD_POINTER, OVERLAP, BAD_OPTIONS = range(5)
STATUS_TEXT = {
    BAD_POINTER: "an argument is NULL or misaligned",
    OVERLAP: "buffers overlap that may not",
    BAD_OPTIONS: "the options are not understood",
}


class ThreadCount:
    """The options record that every call is given, and how often its thread count was set.

    Attributes:
        serial: whether calls run on one thread whatever is set: in a process that was forked, for
            the threads of its parent do not exist in it.
    """

    def __init__(self) -> None:
        self.options = ffi.new("gradc_options *")
        self.options.size = ffi.sizeof("gradc_options")
        self.epoch = 0
        self.serial = False
        self._known = False

    def set(self, n: int) -> None:
        self.options.threads = 1 if self.serial else n
        self.epoch += 1
        self._known = True

    def ensure(self) -> None:
        """Take the thread count from the settings unless it has been set."""
        if not self._known:
            self.set(default_threads())


THREADS = ThreadCount()


def set_num_threads(n: int) -> None:
    """Let compiled programs use `n` threads. The results do not depend on it. A process that was
    forked goes on with one.

    Raises:
        ArgumentError: `n` is no positive whole number.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ArgumentError(f"set_num_threads({n!r}): expected 1 or more", loc=user_location())
    config.num_threads = n
    THREADS.set(n)


def get_num_threads() -> int:
    """How many threads compiled programs use: 1 in a process that was forked."""
    THREADS.ensure()
    return int(THREADS.options.threads)


def _serial_after_fork() -> None:
    global _loading
    _loading = threading.Lock()
    THREADS.serial = True
    THREADS.set(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_serial_after_fork)


@dataclass(frozen=True, eq=False)
class Library:
    """A loaded program.

    Attributes:
        path: the file it came from (which may be gone by now).
        name: the exported symbol.
        entry: the program, as a cffi function pointer.
    """

    path: Path
    name: str
    handle: Any
    entry: Any

    def work_bytes(self) -> int:
        """The size of the work area under the thread count in force."""
        address = symbol(self.handle, f"{self.name}_work_bytes", self.path)
        return int(ffi.cast("gradc_work_bytes *", address)(THREADS.options))


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """What a failed check left in the first bytes of the work area."""

    eqn: int
    element: int
    index: int
    limit: int
    axis: int
    kind: int


def read_record(work: Any) -> ErrorRecord:
    """The error record of a work area, given its address."""
    r = ffi.cast("gradc_record *", work)
    return ErrorRecord(r.eqn, r.element, r.index, r.limit, r.axis, r.kind)


# -- loading --------------------------------------------------------------------------------------

_libraries: dict[str, Library] = {}
_loading = threading.Lock()


def recipe_of(module: CModule, mode: str = "fast-run") -> Recipe:
    """How this module is compiled here, for speed or (mode "fast-compile") quickly.

    Raises:
        CompilerNotFound: there is no C compiler.
    """
    compiler = find_compiler(store().root)
    flags = compiler.flags()
    if mode == "fast-compile":
        flags = (*flags, QUICK_FLAG)
    return Recipe(module.name, module.source, module.key_text, compiler, flags)


def load_module(module: CModule, mode: str = "fast-run") -> Library:
    """The library of a C module: known to this process, or in the cache, or compiled now.

    Args:
        mode: see `recipe_of`.

    Raises:
        CompilerNotFound, CompileError: it cannot be compiled.
        ExecutionError: it cannot be loaded, or is not what it should be.
    """
    try:
        recipe = recipe_of(module, mode)
        known = _libraries.get(recipe.key)
        if known is None:
            with starting(THREADS.options) if module.threads > 1 else nullcontext():
                known = _obtain(recipe, store())
            with _loading:
                known = _libraries.setdefault(recipe.key, known)
        return known
    except OSError as error:  # not of the cache, which can be done without, but of everything
        raise CompileError(f"`{module.name}` cannot be compiled here: {error}") from error


def _obtain(recipe: Recipe, opened: Store) -> Library:
    path = opened.obtain(recipe)
    try:
        return load_library(path, recipe.name)
    except ExecutionError as error:
        # Removed by another process just now, or no good although whole: once more, and under a
        # path of its own, for the loader would give the old library again.
        return load_library(opened.replace(path, recipe, error.what), recipe.name)


def load_library(path: Path, name: str) -> Library:
    """Load the program `name` from a library file that has been checked.

    Raises:
        ExecutionError: the loader refuses it, a symbol is missing, or its ABI is another.
    """
    handle = open_library(path, name)
    version = ffi.cast("gradc_number *", symbol(handle, f"{name}_abi_version", path))()
    if version != ABI_VERSION:
        raise ExecutionError(
            f"the compiled program `{name}` has ABI version {version}, expected {ABI_VERSION}"
        )
    entry = ffi.cast("gradc_entry *", symbol(handle, name, path))
    return Library(path, name, handle, entry)
