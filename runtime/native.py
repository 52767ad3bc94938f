"""The extension module that calls compiled functions: compiled once per machine, then cached.

    module = extension(runs)      None: not wanted, not to be had here, or not worth it yet

It needs a C compiler and the headers of CPython and NumPy. Where one of them is missing, calls
go through Python and cffi, with the same results.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np

from gradc.codegen.c.extension import NAME, extension_source
from gradc.runtime import memory
from gradc.runtime.cache import Recipe, store
from gradc.runtime.locks import ForkLock
from gradc.runtime.toolchain import find_compiler
from gradc.tracer.config import config
from gradc.tracer.errors import GradcError
from gradc.tracer.storage import Epoch, Storage
from gradc.tracer.structure import StructureVersion
from gradc.tracer.tensor import Tensor

logger = logging.getLogger("gradc.compiler")

# What a call returns that did not run.
MISS: Any = type("Miss", (), {"__repr__": lambda self: "miss", "__slots__": ()})()
# Calls through Python after which compiling the extension pays, unless it is in the cache.
PATIENCE = 100


class _Extension:
    """The module as far as it is known: not yet looked for, loaded, or given up."""

    def __init__(self) -> None:
        self.module: Any = None
        self.given_up = False
        self.lock = ForkLock()


def _is_supported() -> bool:
    """CPython with its lock and its headers; NumPy brings its own."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    return all(os.path.isfile(os.path.join(f, n)) for f, n in zip(_headers(), _HEADERS))


_HEADERS = ("Python.h", "numpy/arrayobject.h")


def _headers() -> tuple[str, str]:
    return sysconfig.get_path("include"), np.get_include()


_extension = _Extension()


def extension(runs: int) -> Any:
    """The module; None while there is none.

    Args:
        runs: how often the program that asks has been called.
    """
    how = config.dispatch
    if how == "python" or _extension.given_up:
        return None
    if _extension.module is None:
        with _extension.lock:
            if _extension.module is None:
                _obtain(at_once=how == "c" or runs >= PATIENCE)
    return _extension.module


def _obtain(at_once: bool) -> None:
    try:
        if not _is_supported():
            raise ImportError("no CPython with its lock and its headers")
        recipe, opened = _recipe(), store()
        if at_once:
            path: Path | None = opened.obtain(recipe)
        else:
            path = None if opened.root is None else opened.lookup(recipe.key)
        if path is not None:
            _extension.module = _load(path)
    except (GradcError, OSError, ImportError, TypeError) as error:
        logger.info("calls go through Python: %s", error)
        _extension.given_up = True


def _recipe() -> Recipe:
    compiler, source = find_compiler(store().root), extension_source()
    folders = [word for folder in _headers() for word in ("-isystem", folder)]
    versions = f"{sys.version} {sysconfig.get_config_var('SOABI')} NumPy {np.__version__}"
    flags = (*compiler.flags(), *folders)
    return Recipe(NAME, source, f"{versions}\n{source}", compiler, flags)


def _load(path: Path) -> Any:
    loader = ExtensionFileLoader(NAME, str(path))
    spec = spec_from_loader(NAME, loader)
    if spec is None:
        raise ImportError(f"{path} cannot be imported")
    module: Any = module_from_spec(spec)
    loader.exec_module(module)
    pattern = Tensor(Storage(None), None)
    module.configure(
        pattern, _slots(Tensor), pattern._storage, _slots(Storage), Epoch, StructureVersion, MISS,
        memory.fresh_output, memory.LARGE, memory.AREAS,
    )  # fmt: skip
    return module


def _slots(cls: Any) -> tuple[str, ...]:
    return tuple(name for name in cls.__slots__ if not name.startswith("__"))
