"""No stale results: what a trace read is watched, and a change means another trace or an error.

    watch = Watch(step)                 snapshot of everything `step` can read
    with watch: step(...)               the trace
    guards = watch.finish(captured, arrays)
    guards.holds()                      at every later call

Three tiers: one comparison with the structure counter covers gradc's own modules and optimizers;
a flat list of identity and equality checks covers closures, globals, attributes and containers;
and what cannot be followed, or was changed by the trace itself, is a CaptureError.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Sequence
from typing import Any

from gradc.runtime.walk import Check, Walk, is_user_code
from gradc.tracer.errors import CaptureError
from gradc.tracer.storage import Array
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import Tensor


class Guards:
    """What must be so for a specialization to be valid."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._fast = [c for c in checks if not c.slow]
        self._slow = [c for c in checks if c.slow]
        self._structure = STRUCTURE.version

    def holds(self) -> bool:
        """Whether everything is as it was when the function was traced."""
        if STRUCTURE.version != self._structure:
            version = STRUCTURE.version
            if not all(c.holds() for c in self._slow):
                return False
            self._structure = version
        for check in self._fast:  # noqa: SIM110  (a loop is faster than all() here)
            if not check.holds():
                return False
        return True

    def explain(self) -> str:
        """The first thing that changed, in words."""
        for check in (*self._slow, *self._fast):
            if not check.holds():
                return check.describe()
        return "nothing the function reads has changed"


class Watch:
    """One tracing of one function: a context around the trace, and then its guards."""

    def __init__(self, fn: Any) -> None:
        self._walk = Walk([fn])
        self._ran: dict[types.CodeType, None] = {}
        self._previous: Any = None

    def __enter__(self) -> Watch:
        self._previous = sys.getprofile()
        sys.setprofile(self._profile)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        sys.setprofile(self._previous)
        if error is not None:
            self._restore()

    def _profile(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._ran[frame.f_code] = None
        if self._previous is not None:
            self._previous(frame, event, argument)

    def name_of(self, tensor: Tensor) -> str | None:
        """How the user reaches a captured tensor: `model.0.weight`."""
        owners = self._walk.owners
        return owners.get(id(tensor)) or owners.get(id(tensor._storage))

    def finish(self, captured: Sequence[Tensor], arrays: Sequence[Array]) -> Guards:
        """The guards of the trace.

        Raises:
            CaptureError: the trace changed a Python value it had read (which is put back), or
                used a tensor or array whose owner cannot be found.
        """
        changed = self._restore()
        if changed:
            raise CaptureError(
                f"{changed[0]} after tracing: the traced function changed it",
                hint="a compiled function runs its Python only once; keep counters as tensors in "
                "state (step = gradc.zeros(()); step += 1), and return values instead of "
                "appending them",
            )
        walk = self._complete_walk()
        for tensor in captured:
            if id(tensor) not in walk.owners and id(tensor._storage) not in walk.owners:
                raise _unfollowed(f"a tensor {tensor.type}")
        for array in arrays:
            if id(array) not in walk.owners and sys.getrefcount(array) > _OWN_REFERENCES:
                raise _unfollowed(f"a NumPy array {array.dtype}{list(array.shape)}")
        return Guards(walk.checks)

    def _restore(self) -> list[str]:
        """Put back what the trace changed; returns what that was, in words."""
        changed = [c for c in self._walk.checks if not c.holds()]
        texts = [c.describe() for c in changed]
        for check in changed:
            check.restore()
        return texts

    def _complete_walk(self) -> Walk:
        """The walk, with functions that ran although nothing led to them statically."""
        strangers = [
            code for code in self._ran if code not in self._walk.codes and is_user_code(code)
        ]
        nested = {c for code in self._walk.codes for c in code.co_consts}
        strangers = [code for code in strangers if code not in nested]
        functions = [
            f
            for code in strangers
            for f in gc.get_referrers(code)
            if isinstance(f, types.FunctionType) and f.__code__ is code
        ]
        if not functions:
            return self._walk
        return Walk([*self._walk.roots, *functions], self._walk.names)


# References that tracing itself holds to an array: the trace's tensor and storage, the view in
# `_data`, the list passed here, the loop variable, and getrefcount's own argument.
_OWN_REFERENCES = 7


def _unfollowed(what: str) -> CaptureError:
    return CaptureError(
        f"the compiled function uses {what} that is not reached from its closure, globals or "
        "`self`",
        hint="pass it as an argument, or keep it as an attribute of an object the function uses; "
        "otherwise a change of it could not be noticed",
    )
