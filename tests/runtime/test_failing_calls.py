"""Every call into the operating system fails once: the result is right, or a documented error.

The n-th call of a watched function raises; n grows until a run meets no failure. After each run
the cache holds whole entries only, and the next run works.
"""

import builtins
import contextlib
import errno
import io
import os
import warnings

import pytest
from handmade import RIGHT, add_module, run_add

from gradc.runtime import cache
from gradc.runtime.binding import recipe_of
from gradc.runtime.cache import store
from gradc.tracer.errors import GradcError

WATCHED = [
    (os, "mkdir"), (os, "rename"), (os, "lstat"), (os, "open"), (os, "chmod"), (os, "fsync"),
    (io, "open"), (builtins, "open"),
]  # fmt: skip


class Failing:
    """Lets the n-th of all watched calls fail; `met` tells whether it came to that."""

    def __init__(self, n: int, error: int) -> None:
        self.left = n
        self.error = error
        self.met = False

    def wrap(self, function):
        def call(*args, **kwargs):
            if args and not _concerns_us(args[0]):
                return function(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                self.met = True
                raise OSError(self.error, os.strerror(self.error), str(args[0]))
            return function(*args, **kwargs)

        return call


def _concerns_us(path) -> bool:
    return "cache" in str(path) or "gradc-" in str(path)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("warm", [False, True])
def test_each_call_fails_once(monkeypatch, fakecc, new_process, tmp_path, error, warm):
    ready = tmp_path / "ready.so"  # one compilation is enough
    ready.write_bytes(store().obtain(recipe_of(add_module())).read_bytes())
    fakecc(f"cp {ready} k.so")
    n = 0
    while True:
        n += 1
        new_process()
        if not warm:
            cache.clear()
            new_process()
        failing = Failing(n, error)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for place, name in WATCHED:
                patch.setattr(place, name, failing.wrap(getattr(place, name)))
            with contextlib.suppress(GradcError):
                assert run_add(add_module()) == RIGHT
        new_process()
        for entry in store().entries():
            cache.check_entry(entry)
        assert run_add(add_module()) == RIGHT
        if not failing.met:
            break
    assert n > (5 if warm else 20)
