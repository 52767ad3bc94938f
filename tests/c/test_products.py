"""Products of matrices as compiled C: every layout, odd sizes, register tiles of every width."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest
from ctools import FLAGS, STRICT, Build, Program

from gradc.codegen.pipeline import lower_c
from gradc.tracer import ops
from gradc.tracer.graph.types import DType, float32, float64

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
from small_programs import Maker

X86 = platform.machine() in ("x86_64", "AMD64")
TARGETS = [(), ("-march=native",), *([("-mavx2", "-mfma")] if X86 else [])]
SIZES = [(5, 7, 9), (33, 50, 47), (100, 65, 130), (64, 80, 10), (1, 60, 200), (9, 2500, 37)]


def product(m: int, k: int, n: int, turned: tuple[bool, bool], batch: int, dtype: DType):
    """A program for one product, and the shapes of its operands."""
    maker = Maker("product")
    lead = (batch,) if batch else ()
    shapes = [(*lead, *s) for s in (((k, m) if turned[0] else (m, k)),
                                    ((n, k) if turned[1] else (k, n)))]  # fmt: skip
    a, b = (maker.input(s, name, dtype) for s, name in zip(shapes, "ab", strict=True))
    first = len(lead)
    contract = ((first + (not turned[0]),), (first + turned[1],))
    axes = tuple(range(first))
    out = maker.b.op(ops.dot_general, a, b, contract=contract, batch=(axes, axes))
    return lower_c(maker.b.finish([out])), shapes


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: " ".join(t) or "baseline")
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda t: t.name)
@pytest.mark.parametrize("turned", [(i, j) for i in (False, True) for j in (False, True)])
def test_small_integers_are_exact(
    build: Build, turned: tuple[bool, bool], dtype: DType, target: tuple[str, ...]
) -> None:
    for seed, (m, k, n) in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        module, shapes = product(m, k, n, turned, 2 if seed % 2 else 0, dtype)
        a, b = (rng.integers(-9, 10, s).astype(dtype.numpy) for s in shapes)
        want = np.matmul(
            a.swapaxes(-1, -2) if turned[0] else a, b.swapaxes(-1, -2) if turned[1] else b
        )
        out = np.full(want.shape, np.nan, dtype.numpy)
        library = build(module.source, *FLAGS, *STRICT, *target)
        assert Program(module, library).call([a, b], [out]) == 0
        np.testing.assert_array_equal(out, want)
