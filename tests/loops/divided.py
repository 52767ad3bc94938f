"""Small programs divided as if they were large: every kernel into tasks of a few elements."""

from __future__ import annotations

import pytest

from gradc.codegen.loops import axes, lanes, prefetch, rows, structured
from gradc.codegen.passes import recompute, stack
from gradc.codegen.plan import chain, kernel_gradient, panels, tiling, work


def divide_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every kernel be worth several tasks, and a task be as small as can be."""
    for name, value in (("KERNEL_NS", 0.3), ("TASK_NS", 0.2), ("THREAD_NS", 0.5)):
        monkeypatch.setattr(work, name, value)
    for module, name, value in (
        (rows, "GRAIN", 1), (rows, "TILE", 2), (axes, "TILE", 2), (rows, "BLOCK", 32),
        (lanes, "PARTS_SHARE", 1), (lanes, "LONG_LINE", 1), (lanes, "CHAINS", 2),
        (structured, "GRAIN", 1), (structured, "WINDOW", 1),
        (tiling, "ROWS", 2), (tiling, "BLOCK_ROWS", 2), (tiling, "LEAST_ROWS", 1),
        (tiling, "SWEPT_BYTES", 512), (tiling, "SWEPT_ROWS", 3), (tiling, "PARTED_BYTES", 1),
        (prefetch, "TILED_BYTES", 256),
        (kernel_gradient, "LEAST_SUMMED", 1), (kernel_gradient, "LEAST_TILE", 1),
        (chain, "LEAST_CELLS", 2), (chain, "NEAR_BYTES", 64), (chain, "LEAST_ROWS", 1),
        (panels, "LEAST_PRODUCTS", 2), (panels, "LEAST_BYTES", 1), (recompute, "LARGE_BYTES", 1),
        (stack, "ENOUGH", 5),
        (tiling, "K_BLOCK", 3), (tiling, "LANE_BYTES", 8), (tiling, "MAX_LANE_GROUPS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
