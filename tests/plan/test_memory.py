"""The arena: arrays that live at the same time never share bytes."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.codegen.plan.memory import Lifetime, _by_size, _sweep, aligned, assign


def overlap(lifetimes: list[Lifetime], offsets: list[int]) -> bool:
    for i, a in enumerate(lifetimes):
        for j, b in enumerate(lifetimes[:i]):
            apart = (
                offsets[i] + a.nbytes <= offsets[j] or offsets[j] + b.nbytes <= offsets[i]
            )
            if a.meets(b) and not apart and a.nbytes and b.nbytes:
                return True
    return False


@pytest.mark.parametrize("method", [assign, _by_size, _sweep])
@pytest.mark.parametrize("seed", range(20))
def test_no_overlap(method: object, seed: int) -> None:
    assert callable(method)
    rng = np.random.default_rng(seed)
    lifetimes = []
    for _ in range(40):
        first = int(rng.integers(0, 30))
        last = first + int(rng.integers(0, 8))
        lifetimes.append(Lifetime(int(rng.integers(0, 900)), first, last))
    offsets, total = method(lifetimes)
    assert not overlap(lifetimes, offsets)
    assert all(o % 64 == 0 for o in offsets)
    assert all(o + t.nbytes <= total for o, t in zip(offsets, lifetimes, strict=True))


def test_arrays_of_different_times_share() -> None:
    chain = [Lifetime(400, n, n + 1) for n in range(20)]
    offsets, total = assign(chain)
    assert total == 2 * aligned(400)
    assert set(offsets) == {0, aligned(400)}


def test_ten_thousand_arrays_take_seconds_at_most() -> None:
    lifetimes = [Lifetime(64 * (1 + n % 9), n, n + 1 + n % 5) for n in range(10_000)]
    offsets, _ = assign(lifetimes)
    assert not overlap(lifetimes[:300], offsets[:300])
