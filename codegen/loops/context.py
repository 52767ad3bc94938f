"""What building one function needs: its buffers, its expressions, its statements.

    ctx = Context(kernel, plan);  ctx.buffer(slot);  ctx.value(var, index);  ctx.finish()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.emit import Emitter, Region
from gradc.codegen.loops.expression import Expressions
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import Buffer, Expr, Func, Load, Note, Place, Slot, Space
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.loops.optimize import buffers, drop_unused
from gradc.codegen.plan.access import Walker
from gradc.codegen.plan.kernel import Kernel, Plan, Root
from gradc.tracer.graph.ir import Var
from gradc.tracer.graph.types import DType

SHORT = {"dot_general": "dot", "floor_divide": "div", "trunc_divide": "div"}
_MAX_NAME_PARTS = 4

Built: TypeAlias = "tuple[Func, tuple[Slot, ...]]"


class Context:
    """One function in the making.

    Attributes:
        own_leaf: says how a value that the kernel itself computes is read, None to compute it
            where it is used; set by the kernel's builder.
    """

    def __init__(self, kernel: Kernel, plan: Plan, number: int) -> None:
        self.kernel, self.plan, self.number = kernel, plan, number
        self.emitter = Emitter()
        self.own_leaf: Callable[[Root, Var, MultiIndex], Expr | None] = lambda r, v, i: None
        self.expressions = Expressions(plan.producers, self._leaf, self._constant, plan.signs)
        self.walker = Walker(plan.producers, self._is_leaf)
        self._buffers: dict[Slot, Buffer] = {}
        self._written = {s for r in kernel.roots for s in r.slots}

    @property
    def top(self) -> Region:
        return self.emitter.top

    # ---- buffers --------------------------------------------------------------------------------

    def buffer(self, slot: Slot) -> Buffer:
        """The parameter through which the function reaches `slot`."""
        found = self._buffers.get(slot)
        if found is None:
            written = slot in self._written
            name = self.emitter.name(slot.role or role(slot.name))
            found = Buffer(name, slot.dtype, slot.shape, Space.PARAM, written)
            self._buffers[slot] = found
            if written:
                self.emitter.written.add(found)
        return found

    def scratch(self, base: str, dtype: DType, n: int, place: Place = Place.PRIVATE) -> Slot:
        """Memory of the work area that holds nothing but what this kernel puts there."""
        slot = Slot(f"{base}_{self.kernel.id}", dtype, (n,), place, role=base)
        self.overwritten(slot)
        return slot

    def overwritten(self, slot: Slot) -> Buffer:
        """The parameter for memory the function itself fills or changes before it reads it."""
        self._written.add(slot)
        buffer = self.buffer(slot)
        self.emitter.pinned.add(buffer)
        return buffer

    def local_array(self, base: str, dtype: DType, shape: tuple[int, ...]) -> Buffer:
        """An array (or, of shape (), a variable) of the function's own."""
        buffer = Buffer(self.emitter.name(base), dtype, shape, Space.LOCAL, True)
        self.emitter.pinned.add(buffer)
        return buffer

    def own(self, slot: Slot, index: Index) -> Load:
        """What the function has stored at `index` of `slot` before."""
        buffer = self.buffer(slot)
        self.emitter.pinned.add((buffer, index))
        return Load(buffer, index)

    # ---- values ---------------------------------------------------------------------------------

    def value(self, root: Root, index: MultiIndex) -> Expr:
        """What a map root stores at `index` of its domain."""
        if root.eqn is None:
            assert root.value is not None
            return self.expressions.value(root.value, index)
        assert isinstance(root.value, Var)
        return self.expressions.computed(root.value, index)

    def owner(self, var: Var) -> Root | None:
        """The root of this kernel that computes `var`."""
        root = self.plan.root_of.get(var)
        return root if root is not None and root.kernel is self.kernel else None

    def _is_leaf(self, var: Var) -> bool:
        """For walks over indices: values of this kernel are followed, unless they are sums."""
        owner = self.owner(var)
        if owner is not None and self.plan.values.is_inline(var):
            return False
        return self.plan.values.is_leaf(var)

    def _leaf(self, var: Var, index: MultiIndex) -> Expr | None:
        owner = self.owner(var)
        if owner is not None:
            return self.own_leaf(owner, var, index)
        if not self.plan.values.is_leaf(var):
            return None
        slot = self.plan.places[var]
        return Load(self.buffer(slot), ix.ravel(index, slot.shape))

    def _constant(self, var: Var, offset: Index) -> Expr:
        return Load(self.buffer(self.plan.constants[var]), offset)

    # ---- the function ---------------------------------------------------------------------------

    def finish(self, fails: bool = False, suffix: str = "") -> Built:
        """The function, and the arrays to call it with."""
        body = drop_unused(tuple(self.emitter.top.stmts))
        touched = buffers(body)
        kept = [(s, b) for s, b in self._buffers.items() if b in touched]
        kept.sort(key=lambda item: not item[1].written)
        note = note_of(self.kernel, self.number)
        name = function_name(self.kernel, self.number) + suffix
        func = Func(name, tuple(b for _, b in kept), body, note, fails)
        return func, tuple(s for s, _ in kept)


def role(name: str) -> str:
    """`model.0.weight` -> `weight`: what a parameter is called inside a function."""
    last = re.sub(r"\W", "_", name.rsplit(".", 1)[-1])
    return last if last and not last[0].isdigit() else f"v{last}"


def function_name(kernel: Kernel, number: int) -> str:
    """`k4_dot_add_maximum`."""
    parts = [SHORT.get(p, p.removeprefix("reduce_")) for p in kernel.title.split(" + ")]
    kept = list(dict.fromkeys(parts))
    if len(kept) > _MAX_NAME_PARTS:
        kept = [*kept[: _MAX_NAME_PARTS - 1], kept[-1]]
    return f"k{number}_{'_'.join(kept)}"


def note_of(kernel: Kernel, number: int) -> Note:
    return Note(
        number, kernel.phase, kernel.lines, kernel.title, kernel.extent, kernel.bytes, kernel.flops
    )
