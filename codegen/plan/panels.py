"""A matrix that many small products read is laid out for them once.

    h1 = h0 @ w; h2 = h1 @ w; ...      ->      p = panels(w); h1 = h0 @ p; h2 = h1 @ p; ...

A product copies its right operand panel by panel, which pays for itself only where there are many
rows. The steps of an unrolled loop have few each, but all of them read the same weights.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import prod

from gradc.codegen.loops.ir import Place, Slot
from gradc.codegen.plan.kernel import Kernel, Root, RootKind
from gradc.codegen.plan.schedule import Schedule
from gradc.codegen.plan.tiling import LEAST_ROWS, Tiling

# So many products must share the copy, which itself takes memory and a kernel.
LEAST_PRODUCTS = 4
# A smaller matrix is copied in no time.
LEAST_BYTES = 1 << 13


def share_panels(s: Schedule) -> None:
    """Give products with the same right operand its panels, made by a kernel before the first."""
    groups: dict[Hashable, list[Kernel]] = {}
    for kernel in s.kernels:
        if isinstance(kernel.tiling, Tiling) and _copies_for_few_rows(kernel.tiling):
            groups.setdefault(_operand(kernel, kernel.tiling), []).append(kernel)
    shared = {g[0]: g for g in groups.values() if len(g) >= LEAST_PRODUCTS}
    if not shared:
        return
    number = max(k.id for k in s.kernels) + 1
    ordered: list[Kernel] = []
    for position, kernel in enumerate(s.kernels):
        if kernel in shared:
            panels = _panels(kernel, number)
            number += 1
            ordered.append(panels)
            s.commit += position < s.commit
            for user in shared[kernel]:
                user.panels = panels.roots[0].slots[0]
        ordered.append(kernel)
    s.kernels = ordered


def _copies_for_few_rows(t: Tiling) -> bool:
    plain = not t.swapped and not t.blocked and not t.batch and len(t.n) == 1
    large = prod(t.k) * t.n[0] * t.dtype.itemsize >= LEAST_BYTES
    return t.packed and plain and large and prod(t.m) < LEAST_ROWS


def _operand(kernel: Kernel, t: Tiling) -> Hashable:
    """What is equal where products copy the same panels."""
    eqn = kernel.roots[0].eqn
    assert eqn is not None
    return eqn.inputs[1], eqn.params.contract[1], eqn.params.batch[1], t.nr, t.along_k


def _panels(kernel: Kernel, number: int) -> Kernel:
    """The kernel that makes the panels of a product's right operand."""
    product, t = kernel.roots[0], kernel.tiling
    assert product.eqn is not None and isinstance(t, Tiling)
    shape = (t.panels, prod(t.k), t.nr)
    slot = Slot(f"panels_{number}", t.dtype, shape, Place.WORK, role="panels")
    root = Root(number, RootKind.PANELS, product.eqn, None, shape, slots=[slot])
    made = Kernel(number, RootKind.PANELS, None, root.size, [root], tiling=t)
    root.kernel = made
    made.members = [product.eqn]
    made.bytes = slot.nbytes
    return made
