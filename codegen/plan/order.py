"""A topological order that is kept up to date while kernels are being formed.

Edges are added one by one; each addition checks for a cycle by searching only between the two
positions concerned (Pearce and Kelly's algorithm), so that forming kernels stays near-linear.

    order.depends(late, early)      `late` must come after `early`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Node = TypeVar("Node")


class DynamicOrder(Generic[Node]):
    """Nodes, the edges between them, and a position for each that respects the edges."""

    def __init__(self) -> None:
        self.position: dict[Node, int] = {}
        self.after: dict[Node, dict[Node, None]] = {}  # successors, in insertion order
        self.before: dict[Node, dict[Node, None]] = {}
        self._next = 0

    def add(self, node: Node) -> None:
        """Append a node."""
        self.position[node] = self._next
        self.after[node], self.before[node] = {}, {}
        self._next += 1

    def would_cycle(self, node: Node, early: Iterable[Node]) -> bool:
        """Whether making `node` come after all of `early` contradicts the edges so far."""
        targets = {e for e in early if e is not node and self.position[e] > self.position[node]}
        if not targets:
            return False
        limit = max(self.position[e] for e in targets)
        return any(n in targets for n in self._reach(node, limit))

    def depends(self, node: Node, early: Node) -> None:
        """Add the edge; the caller has made sure that it closes no cycle."""
        if early is node or early in self.before[node]:
            return
        self.after[early][node] = None
        self.before[node][early] = None
        if self.position[early] > self.position[node]:
            self._reorder(early, node)

    def path_avoiding_edge(self, first: Node, last: Node) -> bool:
        """Whether a path leads from `first` to `last` through some third node."""
        limit = self.position[last]
        steps = (s for s in self.after[first] if s is not last and self.position[s] < limit)
        return any(n is last for step in steps for n in self._reach(step, limit))

    def merge(self, kept: Node, gone: Node) -> None:
        """Make `gone` part of `kept`; no path may lead from one to the other through a third."""
        before, after = list(self.before.pop(gone)), list(self.after.pop(gone))
        for n in before:
            del self.after[n][gone]
        for n in after:
            del self.before[n][gone]
        del self.position[gone]
        for n in before:
            self.depends(kept, n)
        for n in after:
            if n is not kept:
                self.depends(n, kept)

    def sorted(self) -> list[Node]:
        """All nodes in order."""
        return sorted(self.position, key=self.position.__getitem__)

    def _reach(self, start: Node, limit: int) -> Iterable[Node]:
        """`start` and what comes after it, up to position `limit`."""
        seen = {start}
        stack = [start]
        while stack:
            node = stack.pop()
            yield node
            for n in self.after[node]:
                if n not in seen and self.position[n] <= limit:
                    seen.add(n)
                    stack.append(n)

    def _reorder(self, early: Node, node: Node) -> None:
        """Give the nodes between the two positions new places among the places they hold."""
        forward = list(self._reach(node, self.position[early]))
        floor = self.position[node]
        backward = {early}
        stack = [early]
        while stack:
            for n in self.before[stack.pop()]:
                if n not in backward and self.position[n] >= floor:
                    backward.add(n)
                    stack.append(n)
        key = self.position.__getitem__
        moved = sorted(backward, key=key) + sorted(forward, key=key)
        places = sorted(self.position[n] for n in moved)
        for n, place in zip(moved, places, strict=True):
            self.position[n] = place
