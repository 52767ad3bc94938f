"""Programs with threads: they compile strictly with and without OpenMP, and give the same bits,
whoever runs their threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cffi
import numpy as np
import pytest
from ctools import STRICT, Build, Program

from gradc.codegen.c.module import CModule
from gradc.codegen.pipeline import lower_c

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
from small_programs import mlp_step

CONFIGURATIONS = {
    "c11": ("cc", "-std=c11", "-O1"),
    "c11 openmp": ("cc", "-std=c11", "-O2", "-fopenmp"),
    "c++17": ("cxx", "-std=c++17", "-O1"),
    "c++17 openmp": ("cxx", "-std=c++17", "-O1", "-fopenmp"),
}


@pytest.fixture(scope="module")
def module() -> CModule:
    found = lower_c(mlp_step(128, 128, 128, 16))
    assert found.threads > 1
    return found


Runner = Callable[[object, int, int, Callable[..., int], object], None]


def alone(pool, n, ns, part, call) -> None:
    """Threads other than the first may be left out."""
    part(call, zeros(pool), 0, n)


def together(pool, n, ns, part, call) -> None:
    shared = zeros(pool)
    started = [threading.Thread(target=part, args=(call, shared, t, n)) for t in range(1, n)]
    for thread in started:
        thread.start()
    part(call, shared, 0, n)
    for thread in started:
        thread.join()


def behind(pool, n, ns, part, call) -> None:
    """Those that come when all is done have nothing to do."""
    shared = zeros(pool)
    for t in range(n):
        assert part(call, shared, t, n) == 1


def zeros(pool: object) -> object:
    return FFI.new("int64_t[16]")


FFI = cffi.FFI()


def run(
    module: CModule, library: Path, threads: int, runner: Runner | None = None
) -> list[np.ndarray]:
    program = Program(module, library)
    rng = np.random.default_rng(0)
    inputs = []
    for port in module.inputs:
        shape = tuple(map(int, port.type.shape))
        whole = port.type.dtype.is_integer
        values = rng.integers(0, 16, shape) if whole else rng.normal(size=shape) / 8
        inputs.append(np.ascontiguousarray(values, port.type.dtype.numpy))
    outputs = [np.zeros(tuple(p.type.shape), p.type.dtype.numpy) for p in module.outputs]
    options = program.ffi.new(f"{module.name}_options *", {"threads": threads})
    options.size = program.ffi.sizeof(f"{module.name}_options")
    if runner is not None:
        function = f"{module.name}_thread_function"
        kind = f"void(void *, int64_t, int64_t, {function} *, const void *)"
        options.run = made = program.ffi.callback(kind, runner)
        assert made is not None
    assert program.function("work_bytes")(options) <= program.function("work_bytes")(
        program.ffi.NULL
    )
    assert program.call(inputs, outputs, options=options) == 0
    assert program.call(inputs, outputs) == 0
    return outputs


def test_everywhere_the_same(build: Build, module: CModule, request: pytest.FixtureRequest) -> None:
    expected = None
    for tool, *flags in CONFIGURATIONS.values():
        library = build(
            module.source, *STRICT, "-fno-math-errno", "-ffp-contract=off", *flags,
            tool=request.getfixturevalue(tool), suffix=".c" if tool == "cc" else ".cpp",
        )  # fmt: skip
        for n in (1, 2):
            found = run(module, library, n)
            expected = expected or found
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_array_equal(a, b)


def test_another_runner(build: Build, module: CModule) -> None:
    library = build(module.source, "-std=c11", "-O1", "-fno-math-errno", "-ffp-contract=off")
    expected = run(module, library, 1)
    for runner in (alone, together, behind):
        for n in (2, 5):
            for a, b in zip(expected, run(module, library, n, runner), strict=True):
                np.testing.assert_array_equal(a, b)
