"""Whole files: they compile strictly everywhere, run, refuse bad calls, and describe themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import FLAGS, STRICT, Build, Program, undefined

from gradc.codegen.c.module import CModule, emit_module, strip_comments
from gradc.codegen.c.target import COMPILER_SUPPORT
from gradc.codegen.c.target import FLAGS as TARGET_FLAGS
from gradc.codegen.loops import index as ix
from gradc.codegen.loops import ir
from gradc.codegen.loops.ir import (
    Buffer,
    Check,
    Const,
    For,
    Func,
    Invoke,
    Let,
    Load,
    Local,
    Mode,
    Module,
    Note,
    Place,
    Read,
    Slot,
    Store,
    call,
)
from gradc.codegen.pipeline import lower_c
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.ir import NO_PARAMS, Eqn, Graph, Phase, Var
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import DType, TensorType, float32, int64
from gradc.tracer.ops import indexing

N = 24


def here(line: int) -> Location:
    return Location(test_it_runs.__code__, line)


def type_of(dtype: DType, *shape: int) -> TensorType:
    return TensorType(shape, dtype)


def kernel(name: str, params: tuple[Buffer, ...], value: ir.Expr, note: Note) -> Func:
    loop = For("i", ix.const(0), ix.const(N), 1, (Store(params[0], I, value),), Mode.SIMD)
    return Func(name, params, (loop,), note)


I = ix.var("i", N)  # noqa: E741


def program(line: int = 40, *, name: str = "step", user: str = "w", fill: float = 0.5) -> CModule:
    """loss = w[rows] * table, w' = w - 0.5 loss: a check, a constant, work, state that is written.

    rows: int64[N] indexes w; the table is a constant of the file.
    """
    taken = Buffer("taken", float32, (N,), written=True)
    weight, rows = Buffer("weight", float32, (N,)), Buffer("rows", int64, (N,))
    r = Local("r", int64)
    first = Note(0, Phase.FORWARD, (here(line),), "gather", f"{N}", 100, 0)
    inside = call(
        "bitwise_and", call("ge", Read(r), Const(0, int64)), call("lt", Read(r), Const(N, int64))
    )
    safe = ir.Select(inside, Read(r), Const(0, int64))
    s = Local("s", int64)
    gather = Func("k0_gather", (taken, weight, rows), (
        For("i", ix.const(0), ix.const(N), 1, (
            Let(r, Load(rows, I)),
            Check("index", 7, inside, I, Read(r), N, 0),
            Let(s, safe),
            Store(taken, I, Load(weight, ix.symbol("s", 0, N - 1))),
        )),
    ), first, fails=True)  # fmt: skip
    out, x, y = (Buffer(n, float32, (N,), written=n == "out") for n in ("out", "x", "y"))
    second = Note(1, Phase.BACKWARD, (here(line + 1),), "mul", f"{N}", 300, N)
    product = kernel("k1_mul", (out, x, y), call("mul", Load(x, I), Load(y, I)), second)
    state, g = Buffer("state", float32, (N,), written=True), Buffer("g", float32, (N,))
    third = Note(2, Phase.UPDATE, (here(line + 2),), "mul + sub", f"{N}", 300, 2 * N)
    moved = call("sub", Load(state, I), call("mul", Load(g, I), Const(fill, float32)))
    update = kernel("k2_sub", (state, g), moved, third)

    table = np.arange(N, dtype=np.float32) / 8
    slots = {
        "rows": Slot("rows", int64, (N,), Place.INPUT, 0),
        "w": Slot(user, float32, (N,), Place.INPUT, 1),
        "new": Slot(f"{user}_new", float32, (N,), Place.OUTPUT, 1),
        "loss": Slot("loss", float32, (N,), Place.OUTPUT, 0),
        "taken": Slot("taken", float32, (N,), Place.WORK, offset=64),
        "table": Slot("table", float32, (N,), Place.CONSTANT, data=table),
    }
    calls = (
        Invoke(gather, (slots["taken"], slots["new"], slots["rows"]), first),
        Invoke(product, (slots["loss"], slots["taken"], slots["table"]), second),
        Invoke(update, (slots["new"], slots["loss"]), third),
    )
    module = Module(name, tuple(slots.values()), (gather, product, update), calls, 1, ((1, 1),),
                    ((1, 1),), 64 + 4 * N)  # fmt: skip
    w, index = Var(type_of(float32, N), user), Var(type_of(int64, N), "rows")
    loss, taken_var, new = (Var(type_of(float32, N)) for _ in range(3))
    eqn = Eqn(indexing.gather, (w, index), NO_PARAMS, (taken_var,), here(line), id=7)
    graph = Graph(name, (index, w), (eqn,), (loss, new), 1, ("loss",), ((1, 1),))
    return emit_module(module, graph)


@pytest.fixture(scope="module")
def built(build: Build) -> Program:
    module = program()
    return Program(module, build(module.source, *FLAGS))


def arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, N, N), rng.normal(size=N).astype(np.float32)


def expected(rows: Any, w: Any) -> tuple[Any, Any]:
    loss = w[rows] * (np.arange(N, dtype=np.float32) / 8)
    return loss, w - loss * np.float32(0.5)


def test_it_runs(built: Program) -> None:
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    assert built.call([rows, w], [loss, new]) == 0
    for got, want in zip((loss, new), expected(rows, w), strict=True):
        np.testing.assert_array_equal(got, want)


def test_it_runs_in_place(built: Program) -> None:
    rows, w = arrays()
    want = expected(rows, w)
    loss = np.zeros_like(w)
    assert built.call([rows, w], [loss, w]) == 0
    np.testing.assert_array_equal(loss, want[0])
    np.testing.assert_array_equal(w, want[1])


@pytest.mark.parametrize("bad", [N, -1, 2**62, -(2**63)])
def test_a_failed_check_writes_no_state(built: Program, bad: int) -> None:
    rows, w = arrays()
    rows[5], rows[9] = bad, N + 3
    before, loss = w.copy(), np.zeros_like(w)
    assert built.call([rows, w], [loss, w]) == 1
    np.testing.assert_array_equal(w, before)
    record = built.work[:64].view(np.int64)
    assert record[:6].tolist() == [7, 5, bad, N, 0, 1]
    site = built.module.checks[7]
    assert (site.kind, site.prim, site.loc) == ("index", "gather", here(40))
    rows[5] = rows[9] = 0
    assert built.call([rows, w], [loss, w]) == 0


def test_bad_pointers(built: Program) -> None:
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    shifted = np.zeros(4 * N + 1, np.uint8)[1:]
    assert built.call([None, w], [loss, new]) == 2
    assert built.call([rows, w], [None, new]) == 2
    assert built.call([rows, shifted], [loss, new]) == 2
    assert built.call([rows, w], [loss, shifted]) == 2
    assert built.call([rows, w], [loss, new], built.work.ctypes.data + 8) == 2
    assert built.call([rows, w], [loss, new], 0) == 2


def test_overlaps(built: Program) -> None:
    rows, w = arrays()
    both, loss = np.zeros(2 * N, np.float32), np.zeros_like(w)
    assert built.call([rows, w], [w, loss]) == 3
    assert built.call([rows, w], [loss, loss]) == 3
    assert built.call([rows, both[:N]], [loss, both[1 : N + 1]]) == 3
    assert built.call([rows, both[:N]], [loss, both[N:]]) == 0
    assert built.call([rows, both[:N]], [both[N:], both[:N]]) == 0
    inside_work = built.work[64:].view(np.float32)
    assert built.call([rows, w], [loss, inside_work]) == 3
    assert built.call([rows, inside_work], [loss, w]) == 3


@pytest.mark.parametrize("n", [3, 40])
def test_overlaps_of_many(build: Build, n: int) -> None:
    """Few pairs of arrays are compared one by one, many by vectorised code."""
    names = [f"x{i}" for i in range(n)]
    eqns = [f"y{i}: f32[4] = neg({x})" for i, x in enumerate(names)]
    results = ", ".join(f"y{i}: f32[4]" for i in range(n))
    head = f"graph f({', '.join(f'{x}: f32[4]' for x in names)})"
    module = lower_c(parse_graph("\n".join([head, "forward", *eqns, f"return {results}"])))
    assert ("gradc_overlaps_of_many" in module.source) == (n == 40)
    many = Program(module, build(module.source, *FLAGS))
    memory = np.zeros((2 * n, 16), np.float32)
    given, made = [*memory[:n, :4]], [*memory[n:, :4]]
    assert many.call(given, made) == 0
    for other in (given[0], given[n - 1], made[0], memory[0, 3:7]):
        assert many.call(given, [*made[:-1], other]) == 3
    assert many.call(given, [*made[:-1], memory[0, 4:8]]) == 0


def test_options(built: Program) -> None:
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    options = built.ffi.new("step_options *", {"size": built.ffi.sizeof("step_options")})
    assert built.call([rows, w], [loss, new], options=options) == 0
    options.threads = -1
    assert built.call([rows, w], [loss, new], options=options) == 4
    options.threads, options.size = 2, 8
    assert built.call([rows, w], [loss, new], options=options) == 4


def test_it_describes_itself(built: Program) -> None:
    string, f = built.ffi.string, built.function
    assert f("abi_version")() == 2
    assert (f("n_in")(), f("n_out")()) == (2, 2)
    assert [string(f("name_in")(i)) for i in range(2)] == [b"rows", b"w"]
    assert [string(f("name_out")(i)) for i in range(2)] == [b"loss", b"w"]
    assert [string(f("dtype_in")(i)) for i in range(2)] == [b"int64", b"float32"]
    assert string(f("dtype_out")(0)) == b"float32"
    assert [f("ndim_in")(0), f("ndim_out")(1), f("ndim_in")(9)] == [1, 1, -1]
    assert [f("shape_in")(0)[0], f("shape_out")(1)[0]] == [N, N]
    for what in ("name_in", "name_out", "dtype_in", "dtype_out", "shape_in", "shape_out"):
        assert f(what)(2) == f(what)(-1) == built.ffi.NULL
    assert f("work_bytes")(built.ffi.NULL) == built.module.work_bytes == 64 + 4 * N
    texts = {string(f("strerror")(s)) for s in range(-1, 6)}
    assert len(texts) == 6
    assert [p.name for p in built.module.inputs] == ["rows", "w"]
    assert [k.phase for k in built.module.kernels] == list(Phase)


@pytest.mark.parametrize("user", ["model.0.weight", "int", "α*/", "step", "out", "k1_mul", 'a"b\\'])
def test_names_of_users(build: Build, user: str) -> None:
    module = program(user=user)
    library = Program(module, build(module.source, *FLAGS, *STRICT))
    assert library.ffi.string(library.function("name_in")(1)).decode() == user
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    assert library.call([rows, w], [loss, new]) == 0
    np.testing.assert_array_equal(new, expected(rows, w)[1])


def test_same_program_same_bytes() -> None:
    assert program().source == program().source
    assert program(name="other").source != program().source


def test_lines_stand_only_in_comments() -> None:
    moved, first = program(90), program(40)
    assert moved.source != first.source
    assert moved.key_text == first.key_text
    assert program(fill=0.25).key_text != first.key_text
    assert "/*" not in first.key_text


def test_comments_are_stripped_not_strings() -> None:
    text = 'a = "/* kept \\" */"; /* gone "x" */ b /* two\nlines */ c'
    assert strip_comments(text) == 'a = "/* kept \\" */";   b   c'


def test_text_is_readable() -> None:
    source = program().source
    assert max(map(len, source.splitlines())) <= 100
    phases = re.findall(r"/\* -+ (\w+) -+ \*/", source)
    assert phases == ["forward", "backward", "update"]
    assert "/* kernel 0  forward   test_module.py:40   " in source
    assert "k1_mul(loss, taken, table);" in source
    assert all(c.isascii() for c in source)
    assert str(Path(__file__).parent) not in source


def test_unexportable_names() -> None:
    made = program(name="<lambda>")
    assert made.name == "lambda"
    assert program(name="main").name == "main_"
    module, graph = Module("f", (), (), (), 0, (), (), 64), Graph("f", (), (), ())
    with pytest.raises(ArgumentError, match="exported"):
        emit_module(module, graph, name="class")


def test_empty_program(build: Build) -> None:
    module = emit_module(
        Module("nothing", (), (), (), 0, (), (), 0), Graph("nothing", (), (), ()), name="nothing"
    )
    library = Program(module, build(module.source, *FLAGS, *STRICT))
    assert module.work_bytes == 64
    assert library.call([], []) == 0


CONFIGURATIONS = {
    "c99": ("cc", "-std=c99", "-O2"),
    "c11": ("cc", "-std=c11", "-O0"),
    "c11 native": ("cc", "-std=c11", "-O3", "-march=native"),
    "production": ("cc", *TARGET_FLAGS, "-march=native"),
    "c++17": ("cxx", "-std=c++17", "-O2"),
    "c++17 gnu": ("cxx", "-std=gnu++17", "-O3", "-march=native"),
}


@pytest.mark.parametrize("which", CONFIGURATIONS)
def test_it_compiles_without_a_warning(
    build: Build, which: str, request: pytest.FixtureRequest
) -> None:
    tool, *flags = CONFIGURATIONS[which]
    suffix = ".c" if tool == "cc" else ".cpp"
    module = program()
    library = build(
        module.source, *STRICT, "-fno-math-errno", *flags,
        tool=request.getfixturevalue(tool), suffix=suffix,
    )  # fmt: skip
    assert undefined(library) <= COMPILER_SUPPORT
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    assert Program(module, library).call([rows, w], [loss, new]) == 0
    np.testing.assert_array_equal(new, expected(rows, w)[1])


def test_it_compiles_with_clang(build: Build, tmp_path: Path) -> None:
    """zig's clang, for this machine and as an object for others."""
    pytest.importorskip("ziglang")
    module = program()
    zig = [sys.executable, "-m", "ziglang", "cc"]
    library = build(module.source, *TARGET_FLAGS, *STRICT, "-march=native", tool=zig)
    assert undefined(library) <= COMPILER_SUPPORT
    rows, w = arrays()
    loss, new = np.zeros_like(w), np.zeros_like(w)
    assert Program(module, library).call([rows, w], [loss, new]) == 0
    np.testing.assert_array_equal(new, expected(rows, w)[1])
    source = tmp_path / "step.c"
    source.write_text(module.source, "ascii")
    for target in ("aarch64-linux-gnu", "wasm32-freestanding"):
        command = [*zig, "-target", target, *TARGET_FLAGS, *STRICT, "-c", str(source)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("tool", ["cc", "cxx"])
def test_a_program_uses_it_by_its_header(
    tool: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A main that is C or C++ beside the C file, with nothing of Python."""
    module, command = program(), request.getfixturevalue(tool)
    (tmp_path / "step.c").write_text(module.source, "ascii")
    (tmp_path / "step.h").write_text(module.header, "ascii")
    main = tmp_path / ("main.c" if tool == "cc" else "main.cpp")
    main.write_text(MAIN, "ascii")
    cc, program_file = request.getfixturevalue("cc"), tmp_path / "run"
    steps = [
        [cc, *FLAGS, "-c", "step.c", "-o", "step.o"],
        [command, *STRICT, "-c", main.name, "-o", "main.o"],
        [cc, "-o", str(program_file), "main.o", "step.o"],
        [str(program_file)],
    ]
    for step in steps:
        done = subprocess.run(step, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (step, done.stderr[:3000])


MAIN = """
#include "step.h"
#include "step.h"
static int64_t rows[24];
static float w[24], loss[24];
int main(void)
{
    union { unsigned char bytes[STEP_WORK_BYTES + 64]; double align; } memory;
    unsigned char *const work = memory.bytes + (64 - (uintptr_t)memory.bytes % 64);
    const void *in[2];
    void *out[2];
    for (int i = 0; i < 24; i++) w[i] = 1.0f;
    in[0] = rows;
    in[1] = w;
    out[0] = loss;
    out[1] = w;
    if (step(in, out, work, NULL) != 0) return 1;
    return w[8] == 0.5f && loss[8] == 1.0f ? 0 : 2;
}
"""


def test_fused_only_where_meant(build: Build) -> None:
    """a * b - c * d keeps both roundings under flags that would fuse them."""
    out, x = Buffer("out", float32, (N,), written=True), Buffer("x", float32, (N,))
    square = call("mul", Load(x, I), Load(x, I))
    note = Note(0, Phase.FORWARD, (), "square", "")
    func = kernel("k", (out, x), call("sub", square, square), note)
    slots = (Slot("x", float32, (N,), Place.INPUT, 0), Slot("y", float32, (N,), Place.OUTPUT, 0))
    module = Module("f", slots, (func,), (Invoke(func, (slots[1], slots[0]), note),), 1, (), (), 64)
    v, r = Var(type_of(float32, N), "x"), Var(type_of(float32, N))
    made = emit_module(module, Graph("f", (v,), (), (r,), 1))
    fusing = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno")
    library = Program(made, build(made.source, *fusing))
    x_values, y = np.full(N, 0.1, np.float32), np.ones(N, np.float32)
    assert library.call([x_values], [y]) == 0
    assert not y.any()
