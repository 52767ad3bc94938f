"""A specialization for gradients that are other objects now, without tracing again.

    made = rebound(specialization, call)      None where that would not be the same program

Accumulated gradients are state that is made anew in every cycle: one function adds to `.grad`,
another uses it and sets it to None. The program is the same for every gradient of the same type;
only the memory it is bound to differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradc.runtime.guards import Guards
from gradc.runtime.signature import Call
from gradc.runtime.specialization import Specialization, Staged
from gradc.tracer.storage import Storage
from gradc.tracer.tensor import Tensor
from gradc.tracer.trace import Capture, GradSlot, Traced

# What takes the place of what: storages of the old gradients to the new gradients.
Replacements = Mapping[Storage, Tensor]


def rebound(specialization: Specialization, call: Call) -> Specialization | None:
    """The same program on the gradients that are there now.

    None if anything else the trace depended on has changed, or if the program could tell the new
    gradients from the old ones by more than their contents.
    """
    staged = specialization.staged
    found = _replacements(staged.traced.grads, staged.guards)
    if not found or not specialization.holds_apart_from_grads():
        return None
    kept = [s for s in specialization.storages if s not in found]
    passed = [leaf._storage for leaf in call.leaves if isinstance(leaf, Tensor)]
    taken = {id(s) for s in (*kept, *passed)}
    if any(id(new._storage) in taken for new in found.values()):
        return None
    made = specialization.on(_restaged(staged, found))
    specialization.release(found)
    return made


def _replacements(slots: Sequence[GradSlot], guards: Guards) -> dict[Storage, Tensor]:
    """Which gradients are replaced by which; empty where one does not fit, or none is."""
    found: dict[Storage, Tensor] = {}
    for slot in slots:
        now = slot.tensor._grad
        if not slot.read or now is slot.initial:
            continue
        if not _is_alike(slot.initial, now, guards):
            return {}
        if found.setdefault(slot.initial._storage, now) is not now:
            return {}
    unchanged = {s.initial._storage for s in slots if s.read and _is_there(s)}
    new = {t._storage for t in found.values()}
    # What was one gradient before must be one now, and what were two, two.
    return found if len(new) == len(found) and unchanged.isdisjoint({*found, *new}) else {}


def _is_there(slot: GradSlot) -> bool:
    return isinstance(slot.initial, Tensor) and slot.tensor._grad is slot.initial


def _is_alike(old: Any, new: Any, guards: Guards) -> bool:
    """Whether both are tensors of one type, whole, and reached through their owner alone."""
    if not all(_is_plain(t, guards) for t in (old, new)):
        return False
    return bool(old.type == new.type and old._data.strides == new._data.strides)


def _is_plain(grad: Any, guards: Guards) -> bool:
    return (
        type(grad) is Tensor
        and grad._data is not None
        and not grad._chain
        and not grad.requires_grad
        and not grad.__dict__
        and id(grad) not in guards.paths
        and id(grad._storage) not in guards.paths
    )


def _restaged(staged: Staged, found: Replacements) -> Staged:
    traced = staged.traced
    captures = [Capture(_other(c.tensor, found), c.var, c.written) for c in traced.captures]
    slots = {
        id(s): GradSlot(
            s.tensor, _other(s.initial, found), s.read, s.written, _other(s.final, found)
        )
        for s in traced.grads
    }
    gradient = staged.gradient
    if gradient is not None:
        gradient = replace(gradient, given=[_other(g, found) for g in gradient.given])
    return replace(
        staged,
        traced=Traced(traced.graph, captures, traced.hyperparameters, list(slots.values())),
        results=[replace(r, value=_other(r.value, found)) for r in staged.results],
        grads=[(slots[id(slot)], index) for slot, index in staged.grads],
        gradient=gradient,
    )


def _other(value: Any, found: Replacements) -> Any:
    """A gradient, or another handle on its memory, in the place of the one that was there."""
    if not isinstance(value, Tensor) or value._storage not in found:
        return value
    return found[value._storage]
