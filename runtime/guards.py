"""No stale results: what a trace read is watched, and a change means another trace or an error.

    watch = Watch(step)                 snapshot of everything `step` can read
    with watch: step(...)               the trace
    guards = watch.finish(captured, arrays)
    guards.holds()                      at every later call

Three tiers: one comparison with the structure counter covers gradc's own modules and optimizers;
flat passes of identity checks cover closures, globals, attributes and containers; and what cannot
be followed, or was changed by the trace itself, is a CaptureError.
"""

from __future__ import annotations

import dis
import gc
import os
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradc.runtime.checks import ArrayForm, Check, Entry, Number, Row, Together, flat_rows
from gradc.runtime.consumables import Draws, Progress, random_states
from gradc.runtime.mentions import is_user_code, is_user_scope, mentions
from gradc.runtime.walk import Walk
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import CaptureError
from gradc.tracer.graph.source import Location, is_own_code, user_location
from gradc.tracer.storage import Array
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import Tensor


class Guards:
    """What must be so for a specialization to be valid.

    Attributes:
        paths: ids of tensors, storages and arrays to readable owner paths.
    """

    def __init__(
        self,
        checks: Iterable[Check],
        slow: Iterable[Check] = (),
        numbers: Iterable[Check] = (),
        paths: Mapping[int, str] | None = None,
    ) -> None:
        self._fast = Together(checks)
        self._slow = Together(slow)
        self._numbers = Together(numbers)
        self._version = STRUCTURE.version
        self._failed = -1
        self.paths = dict(paths or {})

    def holds(self) -> bool:
        """Whether everything is as it was when the function was traced."""
        version = STRUCTURE.version
        if version != self._version:
            # A tier that failed fails until the counter moves again.
            if version == self._failed or not self._slow.holds():
                self._failed = version
                return False
            self._version = version
        return self._fast.holds() and (not self._numbers.checks or self._numbers.holds())

    @property
    def stamp(self) -> tuple[int, ...]:
        """Another one whenever `rows` are others."""
        return self._version, self._fast.generation, self._numbers.generation

    def rows(self) -> tuple[list[Row], list[Check]]:
        """What is asked at every call while the counter stands: as rows, and the rest."""
        return flat_rows([*self._fast.checks, *self._numbers.checks])

    def explain(self) -> str:
        """The first thing that changed, in words."""
        for tier in (self._slow, self._fast, self._numbers):
            failing = tier.first_failing()
            if failing is not None:
                return failing.describe()
        return "nothing the function reads has changed"


class Watch:
    """One tracing of one function: a context around the trace, and then its guards.

    Args:
        fn: what is going to be traced.
        arguments: static arguments of the call that are objects, by name.
    """

    def __init__(self, fn: Any, arguments: Mapping[str, Any] | None = None) -> None:
        inner = getattr(fn, "func", fn)
        name = getattr(fn, "__name__", None) or getattr(inner, "__name__", None)
        self.name: str = name or type(fn).__name__
        self._walk = Walk({name or "self": fn, **(arguments or {})})
        self._random = list(random_states())
        self._ran: dict[types.CodeType, str | None] = {}
        self._previous: Any = None
        self._changes: list[tuple[Check, str, bool]] = []
        self._hyperparameters: set[tuple[int, Any]] = set()
        self._where: dict[int, Location | None] = {}

    def __enter__(self) -> Watch:
        self._previous = sys.getprofile()
        if callable(self._previous):  # sees every call, as it asked to
            sys.setprofile(self._chained)
            return self
        sys.setprofile(self._profile)
        if CONTEXT.trace is not None:
            CONTEXT.trace.hook = self._profile
        return self

    def __exit__(self, *exc: object) -> None:
        if CONTEXT.trace is not None:
            CONTEXT.trace.hook = None
        _reinstall_profile(self._previous)
        # A collection may fall into the trace; what it calls is no part of the program.
        for callback in gc.callbacks:
            self._ran.pop(getattr(callback, "__code__", None), None)  # type: ignore[arg-type]
        if CONTEXT.trace is not None:
            self._hyperparameters = set(CONTEXT.trace.hyperparameters)
        self._restore()

    def _profile(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._ran[frame.f_code] = frame.f_globals.get("__name__")

    def _chained(self, frame: types.FrameType, event: str, argument: Any) -> None:
        self._profile(frame, event, argument)
        self._previous(frame, event, argument)

    def name_of(self, tensor: Tensor) -> str | None:
        """How the user reaches a captured tensor: `model.0.weight`; None if it has no owner."""
        owners = self._walk.owners
        name = owners.get(id(tensor)) or owners.get(id(tensor._storage))
        if name is None:
            self._where.setdefault(id(tensor._storage), user_location())
        return name

    def finish(self, captured: Sequence[Tensor], arrays: Sequence[Array]) -> Guards:
        """The guards of the trace.

        Raises:
            CaptureError: the trace changed a Python value it had read (which is put back), or
                used a tensor or array whose owner cannot be found.
        """
        if self._changes:
            raise self._changed_error()
        walk = self._complete_walk()
        for tensor in captured:
            if id(tensor) not in walk.owners and id(tensor._storage) not in walk.owners:
                raise _unfollowed(f"a tensor {tensor.type}", self._where.get(id(tensor._storage)))
        temporary = [a for a in arrays if not _is_owned(a, walk.owners)]
        for array in temporary:
            # One that somebody else holds could be replaced there without notice.
            if sys.getrefcount(array) > _OWN_REFERENCES:
                raise _unfollowed(f"a NumPy array {array.dtype}{list(array.shape)}", None)
        checks = [*walk.checks, *_array_checks(walk, captured, arrays, bool(temporary))]
        return Guards(checks, walk.slow, self._number_checks(walk), walk.owners)

    # -- what the trace changed -----------------------------------------------------------------

    def _restore(self) -> None:
        """Put back what the trace changed, and note it."""
        walk = self._walk
        everything: list[Check] = [
            *walk.checks, *walk.slow, *walk.numbers, *walk.array_contents, *walk.consumables,
            *self._random,
        ]  # fmt: skip
        changed = [check for check in everything if not check.unchanged()]
        self._changes = [(c, c.change(), isinstance(c.read(), Tensor)) for c in changed]
        for check in changed:
            check.restore()

    def _changed_error(self) -> CaptureError:
        check, text, is_tensor = self._changes[0]
        if isinstance(check, Draws):
            hint = (
                "the numbers would be the same at every run: draw with gradc.rand, gradc.randn, "
                "..., or draw outside and pass them as arguments"
            )
        elif isinstance(check, Progress):
            hint = "every run would get the same item: take it outside and pass it as an argument"
        elif is_tensor:
            hint = (
                "write into a tensor that is there before the call (state.copy_(value), "
                "state[...] = value), or return the value"
            )
        else:
            hint = (
                "a compiled function runs its Python only once: keep counters as tensors in state "
                "(count = gradc.zeros(()); count += 1), return values instead of appending them, "
                "and make what is made only once before the first call"
            )
        ran = [code for code in self._ran if code in self._walk.mentions.codes]
        where = _line_of_store(ran, getattr(check, "key", None))
        return CaptureError(f"{text} while `{self.name}` was traced", loc=where, hint=hint)

    # -- what was found after all ---------------------------------------------------------------

    def _complete_walk(self) -> Walk:
        """The walk, with functions that ran although nothing led to them statically."""
        known = self._walk.mentions.codes
        strangers = [
            code
            for code, scope in self._ran.items()
            if code not in known and is_user_code(code) and is_user_scope(scope)
        ]
        names = self._foreign_names()
        if not strangers and not names:
            return self._walk
        functions = [
            f
            for f in (gc.get_referrers(*strangers) if strangers else ())
            if isinstance(f, types.FunctionType) and f.__code__ in self._ran
        ]
        return Walk(self._walk.roots, functions, {*self._walk.mentions.attributes, *names})

    def _foreign_names(self) -> set[str]:
        """Attributes that code of installed packages read, where objects of theirs were met."""
        folders = tuple(_package_folder(name) for name in self._walk.foreign)
        names: set[str] = set()
        for code in self._ran if any(folders) else ():
            if code.co_filename.startswith(tuple(filter(None, folders))) and not is_own_code(code):
                names |= mentions(code).attributes
        return names

    def _number_checks(self, walk: Walk) -> list[Check]:
        """Numbers that the program reads at every run may change; those Python read may not.

        One that nobody can have read is not watched.
        """
        checks: list[Check] = []
        for n in walk.numbers:
            if not self._is_read_at_run(n):
                if self._may_be_read(n, walk):
                    checks.append(Entry(n.owner, n.key, n.label))
            elif n.key in walk.mentions.strings:
                checks.append(Entry(n.owner, n.key, n.label))
            else:
                checks.append(n)
        return checks

    def _is_read_at_run(self, number: Number) -> bool:
        return (id(number.owner), number.key) in self._hyperparameters

    def _may_be_read(self, number: Number, walk: Walk) -> bool:
        """Whether any code that ran can have read a number of an optimizer."""
        if walk.mentions.reflective or number.key in walk.mentions.strings:
            return True
        for code in (*self._ran, *walk.mentions.codes):
            found = mentions(code)
            if number.key in found.strings:
                return True
            reads_groups = _GROUPS in found.attributes
            if reads_groups and (not is_own_code(code) or found.attributes & _READ_ALL_ITEMS):
                return True
        return False


# Where optimizers keep their numbers; gradc's own code reads them by key, or all of them.
_GROUPS = "param_groups"
_READ_ALL_ITEMS = {"items", "values"}


def _array_checks(
    walk: Walk, captured: Sequence[Tensor], arrays: Sequence[Array], all_of_them: bool
) -> list[Check]:
    """Arrays that are inputs are read anew at every run; Python may have read the others.

    Where arrays were made while tracing, they may have been made of any.
    """
    inputs = [*arrays, *(t._data for t in captured if t._data is not None)]
    checks: list[Check] = []
    for contents in walk.array_contents:
        is_input = any(np.may_share_memory(contents.array, a) for a in inputs)
        if all_of_them or not is_input:
            checks.append(contents)
    for array in arrays:
        known = walk.arrays.get(id(array))
        if known is not None:
            checks.append(ArrayForm(array, known[1]))
    return checks


def _is_owned(array: Any, owners: Mapping[int, str]) -> bool:
    """Whether an array, or one that it is a view of, is reached by the walk."""
    while isinstance(array, np.ndarray):
        if id(array) in owners:
            return True
        array = array.base
    return False


def _reinstall_profile(previous: Any) -> None:
    if previous is None or callable(previous):
        sys.setprofile(previous)
    else:  # a profiler written in C, which only itself can switch on again
        sys.setprofile(None)
        previous.enable()


def _package_folder(name: str) -> str:
    """Where an installed package lies; empty for the standard library, NumPy and single files."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None or name in sys.stdlib_module_names or name in ("numpy", "gradc"):
        return ""
    return os.path.join(os.path.dirname(file), "")


def _line_of_store(codes: Iterable[types.CodeType], name: Any) -> Location | None:
    """The line that assigns to `name`, if there is one."""
    if not isinstance(name, str):
        return None
    for code in codes:
        for instruction in dis.get_instructions(code):
            if instruction.opname in _STORES and instruction.argval == name:
                line = instruction.positions.lineno if instruction.positions else None
                if line is not None:
                    return Location(code, line)
    return None


_STORES = ("STORE_ATTR", "STORE_GLOBAL", "DELETE_ATTR", "DELETE_GLOBAL")
# References that tracing itself holds to an array: the trace's tensor and storage, the lists of
# `finish`, its loop variable, and getrefcount's own argument.
_OWN_REFERENCES = 8


def _unfollowed(what: str, where: Location | None) -> CaptureError:
    return CaptureError(
        f"the compiled function uses {what} that is not reached from its closure, globals or "
        "`self`",
        loc=where,
        hint="pass it as an argument, or keep it as an attribute of an object the function uses; "
        "otherwise a change of it could not be noticed",
    )
