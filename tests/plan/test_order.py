"""The order kept while kernels are formed agrees with a plain search."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.codegen.plan.order import DynamicOrder


def reaches(edges: set[tuple[int, int]], start: int, goal: int) -> bool:
    seen, stack = {start}, [start]
    while stack:
        n = stack.pop()
        if n == goal:
            return True
        for a, b in edges:
            if a == n and b not in seen:
                seen.add(b)
                stack.append(b)
    return False


@pytest.mark.parametrize("seed", range(10))
def test_random_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order: DynamicOrder[int] = DynamicOrder()
    for n in range(20):
        order.add(n)
    edges: set[tuple[int, int]] = set()
    for _ in range(120):
        early, late = (int(x) for x in rng.integers(0, 20, 2))
        if early == late:
            continue
        closes = reaches(edges, late, early)
        assert order.would_cycle(late, [early]) == closes
        if not closes:
            order.depends(late, early)
            edges.add((early, late))
        assert all(order.position[a] < order.position[b] for a, b in edges)


def test_merging_keeps_the_edges() -> None:
    order: DynamicOrder[str] = DynamicOrder()
    for n in "abcd":
        order.add(n)
    order.depends("b", "a")
    order.depends("d", "c")
    order.depends("c", "a")
    assert order.path_avoiding_edge("a", "d")
    assert not order.path_avoiding_edge("a", "c")
    order.merge("d", "b")
    assert order.sorted() == ["a", "c", "d"]
