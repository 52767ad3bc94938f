"""One counter for every change a compiled function's cheap check must not miss.

Attribute writes, registration, `train()`, `requires_grad_()`, a new `.grad`: whoever changes the
structure that a trace depended on bumps the counter. A compiled function compares one integer per
call, and looks closely only when it has moved.
"""

from __future__ import annotations


class StructureVersion:
    """A monotonically increasing count of structural changes, process wide."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0

    def bump(self) -> None:
        """Record a change."""
        self.version += 1


STRUCTURE = StructureVersion()
