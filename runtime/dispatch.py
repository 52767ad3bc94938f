"""A specialization as one C call: arguments checked, guards asked, results made without Python.

    dispatch = make_dispatch(specialization, module)     None where only Python can do it
    dispatch.accept(version, rows, residual)             guards as they are now
    dispatch((x, y))                                     the results, or MISS: nothing was done

The C is in `codegen/c/dispatch`; this module describes specializations to it. Whatever is not
described here (containers among the arguments, donation, other backends) takes the long way, and
so does every call that C declines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from gradc.runtime.binding import THREADS
from gradc.runtime.checks import ENTRY_IS, Together
from gradc.runtime.executable import CBound
from gradc.runtime.guards import Guards
from gradc.runtime.locks import TRACING
from gradc.runtime.native import PATIENCE, extension
from gradc.tracer.context import CONTEXT
from gradc.tracer.graph.types import float32, float64, int64
from gradc.tracer.promotion import default_dtype_place
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import Tensor

if TYPE_CHECKING:
    from gradc.runtime.specialization import Specialization, Staged

# More arguments than this are passed through Python.
MOST_LEAVES = 512
# As in forms.c and results.c.
TENSOR, ARRAY, FLOAT, INT, STATIC = range(5)
OUTPUT, ARGUMENT, VALUE = range(3)
_CODES = {float32: ord("f"), float64: ord("d"), int64: ord("l")}


def make_dispatch(specialization: Specialization, module: Any) -> Any:
    """The specialization as C calls it, to be given its guards by `accept`; or None."""
    staged, bound = specialization.staged, specialization.bound
    if type(bound) is not CBound or staged.donation is not None or staged.call.tree is not None:
        return None
    program = bound.described()
    leaves = _leaves(specialization)
    numbers = _numbers(specialization)
    if program is None or leaves is None or numbers is None:
        return None
    made = _results(staged)
    if made is None and any(row[0] in (FLOAT, INT) for row in leaves):
        return None
    results, template = ((), 0) if made is None else made
    return module.Dispatch(
        **program, context=CONTEXT, grad=staged.call.key[1], leaves=leaves, numbers=numbers,
        structure=STRUCTURE, slots=tuple(specialization.slots), epoch=specialization.epoch,
        loose=tuple(specialization.loose), tracing=TRACING,
        finals=() if made is None else tuple(specialization.finals),
        grads=() if made is None else tuple((s.tensor, i) for s, i in staged.grads),
        results=results, template=template,
        finish=specialization.finish if made is None else None,
    )  # fmt: skip


def _leaves(specialization: Specialization) -> tuple[tuple[Any, ...], ...] | None:
    call, positions = specialization.staged.call, specialization.positions
    if positions != call.dynamic or len(call.leaves) > MOST_LEAVES:
        return None
    inputs = {position: i for i, position in enumerate(positions)}
    rows = [_leaf(inputs.get(i), leaf) for i, leaf in enumerate(call.leaves)]
    return None if None in rows else tuple(r for r in rows if r is not None)


def _leaf(place: int | None, leaf: Any) -> tuple[Any, ...] | None:
    """(kind, input, dtype or object, shape, requires_grad); None for what C does not take."""
    if place is None:
        return STATIC, -1, leaf, (), None
    if isinstance(leaf, Tensor):
        data = leaf._data
        assert data is not None
        return TENSOR, place, data.dtype, data.shape, leaf.requires_grad
    if type(leaf) is np.ndarray:
        return ARRAY, place, leaf.dtype, leaf.shape, None
    if type(leaf) in (float, int):
        return FLOAT if type(leaf) is float else INT, place, None, (), None
    return None


def _numbers(specialization: Specialization) -> tuple[tuple[Any, ...], ...] | None:
    """(holder, keys, type code) of the numbers that are read at every call."""
    rows = []
    for h in specialization.hyperparameters:
        code = _CODES.get(h.var.type.dtype)
        if code is None:
            return None
        rows.append((h.holder, h.key if isinstance(h.key, tuple) else (h.key,), code))
    return tuple(rows)


def _results(staged: Staged) -> tuple[tuple[tuple[int, Any], ...], Any] | None:
    """The results by rows, and their containers with ints for them; None if Python makes them."""
    if staged.gradient is not None or staged.writes or staged.argument_grads:
        return None
    rows: list[tuple[int, Any]] = []
    for r in staged.results:
        is_array = r.source == "argument" and not isinstance(staged.call.leaves[r.value], Tensor)
        if r.chain or r.detached or is_array:
            return None
        kind = {"output": OUTPUT, "argument": ARGUMENT}.get(r.source, VALUE)
        rows.append((kind, r.value))
    if staged.result_tree is None:
        return tuple(rows), 0
    template: Any = optree.tree_unflatten(staged.result_tree, range(len(rows)))
    return (tuple(rows), template) if _is_plain(template) else None


def _is_plain(template: Any) -> bool:
    kind = type(template)
    if kind is dict:
        return all(map(_is_plain, template.values()))
    return kind is int or (kind in (tuple, list) and all(map(_is_plain, template)))


class DirectCall:
    """The dispatch of one specialization, made once it pays and kept up with its guards."""

    __slots__ = ("_dispatch", "_epoch", "_impossible", "_runs", "_specialization", "_stamp")

    def __init__(self, specialization: Specialization) -> None:
        self._specialization = specialization
        self._dispatch: Any = None
        self._impossible = False
        self._runs = self._epoch = 0
        self._stamp: tuple[int, ...] = ()

    def renewed(self) -> Any:
        """The dispatch, right after the guards were found to hold; None while there is none."""
        self._runs += 1
        if self._dispatch is None or self._epoch != THREADS.epoch:
            self._make()
        guards = self._specialization.staged.guards
        if self._dispatch is not None and guards.stamp != self._stamp:
            self._accept(guards)
        return self._dispatch

    def _make(self) -> None:
        """What stood before was for another number of threads."""
        self._dispatch = None
        if self._impossible or (self._runs != 1 and self._runs % PATIENCE):
            return
        module = extension(self._runs)
        if module is not None:
            self._epoch, self._stamp = THREADS.epoch, ()
            self._dispatch = make_dispatch(self._specialization, module)
            self._impossible = self._dispatch is None

    def _accept(self, guards: Guards) -> None:
        if guards.stamp[0] != self._specialization.structure:
            return
        rows, rest = guards.rows()
        place, key = default_dtype_place()
        rows.append((ENTRY_IS, place, key, self._specialization.staged.call.key[2]))
        self._stamp = guards.stamp
        self._dispatch.accept(self._stamp[0], tuple(rows), Together(rest) if rest else None)
