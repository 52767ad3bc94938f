"""Loading what was compiled, through cffi's ABI mode and one shared `ffi`.

    handle = open_library(path, "step")      never unloaded
    address = symbol(handle, "step", path)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cffi

from gradc.tracer.errors import ExecutionError

ffi = cffi.FFI()
ffi.cdef(
    """
    typedef int gradc_thread(const void *, void *, int64_t, int64_t);
    typedef void gradc_run(void *, int64_t, int64_t, gradc_thread *, const void *);
    typedef struct {
        int64_t size, threads;
        const int64_t *dims;
        gradc_run *run;
        void *runner;
    } gradc_options;
    typedef struct { int64_t eqn, element, index, limit, axis, kind, reserved[2]; } gradc_record;
    typedef int gradc_entry(const void *const *, void *const *, void *, const gradc_options *);
    typedef size_t gradc_work_bytes(const gradc_options *);
    typedef int64_t gradc_number(void);
    void *dlopen(const char *, int);
    void *dlsym(void *, const char *);
    char *dlerror(void);
    """
)
_loader = ffi.dlopen(None)


def open_library(path: Path, name: str) -> Any:
    """The library `name` from a file that has been checked.

    Raises:
        ExecutionError: the loader refuses it.
    """
    handle = _loader.dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL)
    if handle == ffi.NULL:
        reason = ffi.string(_loader.dlerror()).decode("utf-8", "replace")
        raise ExecutionError(f"cannot load the compiled program `{name}`: {reason}")
    return handle


def symbol(handle: Any, name: str, path: Path) -> Any:
    """The address of what a library calls `name`.

    Raises:
        ExecutionError: there is no such thing.
    """
    address = _loader.dlsym(handle, name.encode("ascii"))
    if address == ffi.NULL:
        raise ExecutionError(f"the library {path} has no symbol {name}")
    return address
