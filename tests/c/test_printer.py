"""Loop IR as C text: precedence, literals, statements, wrapping."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from ctools import STRICT, Build
from hypothesis import given, settings
from hypothesis import strategies as st

from gradc.codegen.c.module import PREAMBLE
from gradc.codegen.c.names import Names
from gradc.codegen.c.printer import WIDTH, Printer, literal, wrap, wrap_list
from gradc.codegen.c.snippets import needed
from gradc.codegen.loops import index as ix
from gradc.codegen.loops import ir
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Bitcast,
    Buffer,
    Call,
    Cast,
    Check,
    Comment,
    Const,
    For,
    Func,
    If,
    Let,
    LetCall,
    Load,
    Local,
    Mode,
    Note,
    Read,
    Select,
    Space,
    Store,
    call,
)
from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.types import (
    BY_NAME,
    DTYPES,
    DType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)

NOTE = Note(0, Phase.FORWARD, (), "", "")
X = Buffer("x", float32, (8,))
Y = Buffer("y", float32, (8,), written=True)
I = ix.var("i", 8)  # noqa: E741
ZERO = ix.const(0)


def printed(*body: ir.Stmt, params: tuple[Buffer, ...] = (), fails: bool = False) -> str:
    func = Func("k0", params, body, NOTE, fails)
    return Printer(Names()).function(func, "k0")


def body_of(*body: ir.Stmt, params: tuple[Buffer, ...] = ()) -> list[str]:
    lines = printed(*body, params=params).splitlines()
    return [line.strip() for line in lines[lines.index("{") + 1 : -1]]


def expression(e: ir.Expr) -> str:
    """The text of `e` as the right side of an assignment."""
    out = Buffer("out", e.dtype, (1,), written=True)
    line = body_of(Store(out, ZERO, e), params=(out,))[-1]
    return line.removeprefix("out[0] = ").removesuffix(";")


def v(name: str, dtype: DType = float32) -> Load:
    """A variable of this name."""
    return Load(Buffer(name, dtype, (), Space.LOCAL), ZERO)


a, b, c = v("a"), v("b"), v("c")
i, j = v("i", int32), v("j", int32)
s, t = v("s", int8), v("t", int8)
p, q = v("p", bool_), v("q", bool_)


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (call("add", call("mul", a, b), c), "a * b + c"),
        (call("mul", call("add", a, b), c), "(a + b) * c"),
        (call("add", call("add", a, b), c), "a + b + c"),
        (call("add", a, call("add", b, c)), "a + (b + c)"),
        (call("sub", a, call("sub", b, c)), "a - (b - c)"),
        (call("div", a, call("mul", b, c)), "a / (b * c)"),
        (call("neg", call("neg", a)), "-(-a)"),
        (call("neg", call("add", a, b)), "-(a + b)"),
        (call("sub", a, Const(-1.0, float32)), "a - -1.0f"),
        (call("neg", Const(-1.0, float32)), "-(-1.0f)"),
        (call("exp", call("add", a, b)), "gradc_exp_f32_apart(a + b)"),
        (call("maximum", a, b), "gradc_maximum_f32(a, b)"),
        (Select(call("gt", a, b), a, b), "a > b ? a : b"),
        (call("add", Select(p, a, b), c), "(p ? a : b) + c"),
        (Select(p, a, Select(q, b, c)), "p ? a : (q ? b : c)"),
        (Select(call("bitwise_and", p, q), a, b), "(p & q) ? a : b"),
        (call("add", i, j), "gradc_add_i32(i, j)"),
        (call("bitwise_and", i, call("bitwise_or", i, j)), "i & (i | j)"),
        (call("bitwise_or", call("bitwise_or", i, j), i), "i | j | i"),
        (call("bitwise_xor", s, t), "(int8_t)(s ^ t)"),
        (call("bitwise_not", s), "gradc_bitwise_not_i8(s)"),
        (call("bitwise_not", i), "~i"),
        (Select(p, s, t), "(int8_t)(p ? s : t)"),
        (call("bitwise_not", p), "(uint8_t)!p"),
        (call("bitwise_and", p, call("lt", a, b)), "(uint8_t)(p & (a < b))"),
        (call("maximum", p, q), "(uint8_t)(p | q)"),
        (call("lt", a, b), "a < b"),
        (call("eq", call("add", a, b), c), "a + b == c"),
        (call("eq", call("lt", a, b), p), "(a < b) == p"),
        (call("isnan", a), "(uint8_t)gradc_isnan_f32(a)"),
        (Cast(a, int32), "gradc_f32_to_i32(a)"),
        (Cast(call("add", a, b), float64), "(double)(a + b)"),
        (Cast(i, int8), "(int8_t)i"),
        (Cast(a, bool_), "a != 0.0f"),
        (Cast(p, float32), "(float)p"),
        (Cast(call("lt", a, b), float32), "(float)(a < b)"),
        (Cast(a, float32), "a"),
        (Bitcast(a, uint32), "gradc_bits_f32(a)"),
        (Bitcast(a, int32), "(int32_t)gradc_bits_f32(a)"),
        (Bitcast(i, float32), "gradc_from_bits_f32((uint32_t)i)"),
        (At(I * 4 + 1), "i * 4 + 1"),
        (Cast(At(I + 1), float32), "(float)(i + 1)"),
        (call("mul", At(I + 1), Const(2, int64)), "gradc_mul_i64(i + 1, 2)"),
    ],
)  # fmt: skip
def test_expression(e: ir.Expr, text: str) -> None:
    # Index variables and locals of one name are one thing; here `i` is both, on purpose apart.
    assert expression(e).replace("i_2", "i") == text


def test_index() -> None:
    r, k = ix.var("r", 10), ix.symbol("k", -3, 9)

    def text(e: ix.Index) -> str:
        return expression(At(e))

    assert text(ix.const(-5)) == "-5"
    assert text(r * 64 + 3) == "r * 64 + 3"
    assert text(r * -2 + 1) == "-r * 2 + 1" or text(r * -2 + 1) == "-(r * 2) + 1"
    assert text(k * 4 - r * 2 - 1) == "k * 4 - r * 2 - 1"
    assert text((r * 3 + 1) // 4) == "(r * 3 + 1) / 4"
    assert text((r * 3 + 1) % 4 * 5) == "(r * 3 + 1) % 4 * 5"
    assert text(k // 4) == "gradc_floor_divide_i64(k, 4)"
    assert text(k % 4) == "gradc_remainder_i64(k, 4)"
    assert text(ix.minimum(r + 4, k)) == "gradc_minimum_i64(r + 4, k)"
    assert text(ix.value(v("n", int64)) * 8) == "n * 8"


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.0, float32, "1.0f"),
        (0.1, float32, "0.1f"),
        (-0.0, float32, "-0.0f"),
        (1e-5, float32, "1e-05f"),
        (1e20, float64, "1e+20"),
        (1 / 3, float64, "0.3333333333333333"),
        (math.inf, float32, "GRADC_INF_F32"),
        (-math.inf, float64, "-GRADC_INF_F64"),
        (math.nan, float32, "GRADC_NAN_F32"),
        (3, float32, "3.0f"),
        (True, bool_, "1"),
        (-128, int8, "-128"),
        (-(2**31), int32, "INT32_MIN"),
        (-(2**63), int64, "INT64_MIN"),
        (2**63 - 1, int64, "9223372036854775807"),
        (2**64 - 1, uint64, "UINT64_C(18446744073709551615)"),
        (7, uint8, "7"),
        (7, uint32, "7u"),
    ],
)
def test_literal(value: Any, dtype: DType, text: str) -> None:
    assert literal(value, dtype)[0] == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back(value: float) -> None:
    text = literal(value, float64)[0]
    assert struct.pack("d", float(text)) == struct.pack("d", value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_read_back(value: float) -> None:
    text = literal(value, float32)[0].removesuffix("f")
    assert np.float32(text).tobytes() == np.float32(value).tobytes()


KERNEL = """\
GRADC_KERNEL void k0(float *restrict y, const float *restrict x, const int64_t *rows,
                     gradc_record *record)
{
    float lanes[16] GRADC_ALIGNED = {0};
    for (int64_t i = 0; i < 8; i++) {
        const int64_t r = rows[i];
        if (!((r >= 0) & (r < 64))) gradc_fail(record, 1, 12, i, r, 64, 0);
        float sum = 0.0f;
        GRADC_SIMD
        for (int64_t k = 0; k < 16; k++) {
            lanes[k] = gradc_mad_f32(x[i * 16 + k], 2.0f, lanes[k]);
        }
        sum += lanes[3];
        if (sum > 0.0f) {
            y[i] = sum;
        } else {
            /* nothing to see * / here */
            y[i] = -sum;
        }
    }
}"""


def test_kernel() -> None:
    rows = Buffer("rows", int64, (8,), shared=True)
    lanes = Buffer("lanes", float32, (16,), Space.LOCAL)
    total = Buffer("sum", float32, (), Space.LOCAL)
    k, r = ix.var("k", 16), Local("r", int64)
    inside = call(
        "bitwise_and",
        call("ge", Read(r), Const(0, int64)),
        call("lt", Read(r), Const(64, int64)),
    )
    now = Load(total, ZERO)
    product = (Load(X, I * 16 + k), Const(2.0, float32))
    body = (
        Alloc(lanes, Const(0.0, float32)),
        For("i", ZERO, ix.const(8), 1, (
            Let(r, Load(rows, I)),
            Check("index", 12, inside, I, Read(r), 64, 0),
            Alloc(total, Const(0.0, float32)),
            For("k", ZERO, ix.const(16), 1, (Accumulate(lanes, k, "fma", product),), Mode.SIMD),
            Accumulate(total, ZERO, "add", (Load(lanes, ix.const(3)),)),
            If(call("gt", now, Const(0.0, float32)),
               (Store(Y, I, now),),
               (Comment("nothing to see */ here"), Store(Y, I, call("neg", now)))),
        )),
    )  # fmt: skip
    assert printed(*body, params=(Y, X, rows), fails=True) == KERNEL


def test_several_results() -> None:
    out = Buffer("bits", uint32, (2,), written=True)
    first, second = Local("r0", uint32), Local("r1", uint32)
    word = Const(5, uint32)
    body = LetCall((first, second), "threefry2x32", (word, word, word, word))
    assert body_of(body, Store(out, ZERO, Read(second)), params=(out,)) == [
        "const gradc_threefry_block block = gradc_threefry2x32(5u, 5u, 5u, 5u);",
        "const uint32_t r1 = block.r1;",
        "bits[0] = r1;",
    ]


def test_what_is_not_used_is_not_declared() -> None:
    lost = Let(Local("lost", float32), Const(1.0, float32))
    dead = Alloc(Buffer("dead", float32, (4,), Space.LOCAL))
    assert body_of(lost, dead, params=(X,)) == ["(void)x;"]


def test_accumulate() -> None:
    total = Buffer("n", int8, (), Space.LOCAL)
    flag = Buffer("any", bool_, (4,), Space.LOCAL)
    one = Const(1, int8)
    assert body_of(
        Accumulate(total, ZERO, "add", (one,)),
        Accumulate(total, ZERO, "fma", (one, one)),
        Accumulate(flag, ix.const(2), "bitwise_or", (call("lt", a, b),)),
        Accumulate(Y, ZERO, "maximum", (a,)),
        Accumulate(Y, ZERO, "mul", (call("add", a, b),)),
        params=(Y,),
    ) == [
        "n = gradc_add_i8(n, 1);",
        "n = gradc_add_i8(n, gradc_mul_i8(1, 1));",
        "any[2] = (uint8_t)(any[2] | (a < b));",
        "y[0] = gradc_maximum_f32(y[0], a);",
        "y[0] *= a + b;",
    ]


def test_names_of_users_do_not_clash() -> None:
    read = [Buffer(name, float32, (1,)) for name in ("int", "α*/", "x")]
    buffers = (*read, Buffer("x", float32, (1,), written=True))
    store = Store(buffers[3], ZERO, call("add", Load(buffers[0], ZERO), Load(buffers[1], ZERO)))
    assert body_of(store, params=buffers) == ["(void)x;", "x_2[0] = int_[0] + alpha[0];"]


def test_deep_expressions_are_cut() -> None:
    deep: ir.Expr = Load(X, I)
    for _ in range(3000):
        deep = call("add", Const(1.0, float32), call("sqrt", deep))
    loop = For("i", ZERO, ix.const(8), 1, (Store(Y, I, deep),))
    text = printed(loop, params=(Y, X))
    depth = max(line.count("(") for line in text.splitlines())
    assert depth <= 64
    assert max(map(len, text.splitlines())) <= 2 * WIDTH


def test_wrapping() -> None:
    line = "    x = " + " + ".join(f"value_{n}" for n in range(40)) + ";"
    wrapped = wrap(line)
    assert max(map(len, wrapped)) <= WIDTH
    assert " ".join(part.strip() for part in wrapped) == line.strip()
    assert wrap_list("f(", ["a", "b"], ");") == ["f(a, b);"]


# ---- random expressions: the text means what the tree does ---------------------------------------


@st.composite
def trees(draw: Any, dtype: DType, depth: int = 4) -> ir.Expr:
    """An expression over `a`, `b` (of the dtype) without helpers that C and Python differ in."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            return Load(Buffer(draw(st.sampled_from("ab")), dtype, (), Space.LOCAL), ZERO)
        return Const(draw(st.integers(0, 3) if dtype.kind != "i" else st.integers(-3, 3)), dtype)
    sub = trees(dtype, depth - 1)
    ops = ["add", "sub", "mul"] if dtype.is_float else ["add", "mul", "bitwise_and", "bitwise_xor",
           "bitwise_or", "sub"]  # fmt: skip
    which = draw(st.integers(0, 4))
    if which == 0:
        return call("bitwise_not" if dtype.is_integer else "neg", draw(sub))
    if which == 1:
        p = call(draw(st.sampled_from(["lt", "eq", "ge"])), draw(sub), draw(sub))
        return Select(p, draw(sub), draw(sub))
    return call(draw(st.sampled_from(ops)), draw(sub), draw(sub))


def value(e: ir.Expr, variables: dict[str, Any]) -> Any:
    t = e.dtype.numpy.type
    match e:
        case Load():
            return t(variables[e.buffer.name])
        case Const():
            return t(e.value)
        case Select():
            return value(e.a if value(e.p, variables) else e.b, variables)
    assert isinstance(e, Call)
    args = [value(x, variables) for x in e.args]
    names = {
        "sub": "subtract", "mul": "multiply", "neg": "negative", "bitwise_not": "invert",
        "lt": "less", "eq": "equal", "ge": "greater_equal",
    }  # fmt: skip
    with np.errstate(over="ignore"):
        return getattr(np, names.get(e.op, e.op))(*args)


@pytest.mark.parametrize("name", ["float32", "int8", "int32", "uint8", "uint64", "int64"])
def test_random_expressions(build: Build, name: str) -> None:
    dtype = BY_NAME[name]
    drawn: list[ir.Expr] = []

    @settings(derandomize=True, database=None)
    @given(trees(dtype))
    def draw(e: ir.Expr) -> None:
        drawn.append(e)

    draw()
    out = Buffer("out", dtype, (len(drawn),), written=True)
    variables = [Buffer(n, dtype, (), Space.LOCAL) for n in "ab"]

    def bound(e: ir.Expr) -> ir.Expr:
        """The tree over the function's own two variables."""
        if isinstance(e, Load):
            return Load(variables["ab".index(e.buffer.name)], ZERO)
        return ir.with_children(e, tuple(bound(x) for x in ir.children(e)))

    values = {"a": 3, "b": 2}
    body = [Alloc(x, Const(values[x.name], dtype)) for x in variables]
    stores = [Store(out, ix.const(n), bound(e)) for n, e in enumerate(drawn)]
    printer = Printer(Names())
    text = printer.function(Func("k", (out,), (*body, *stores), NOTE), "k")
    text += f"\nvoid run({dtype.c_storage} *out) {{ k(out); }}\n"
    source = "\n\n".join(["#include <stdint.h>", *PREAMBLE, *needed(printer.helpers), text])
    strict = [w for w in STRICT if w != "-Wpedantic"]
    library = load(build(source, "-std=c11", "-O0", "-ffp-contract=off", *strict), dtype)
    got = library(len(drawn))
    want = np.array([value(e, values) for e in drawn], dtype.numpy)
    np.testing.assert_array_equal(got, want)


def load(path: Any, dtype: DType) -> Any:
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(f"void run({dtype.c_storage} *out);")
    library = ffi.dlopen(str(path))

    def run(n: int) -> Any:
        out = np.zeros(n, dtype.numpy)
        library.run(ffi.cast(f"{dtype.c_storage} *", out.ctypes.data))
        return out

    return run


def test_every_primitive_has_c() -> None:
    """Whatever op a dtype takes prints, and its helpers exist."""
    for dtype in DTYPES:
        printer = Printer(Names())
        x = Buffer("x", dtype, (), Space.LOCAL)
        for op, n in [(o, 1) for o in ir.UNARY] + [(o, 2) for o in (*ir.BINARY, *ir.TESTS)]:
            if takes(op, dtype):
                e = call(op, *[Load(x, ZERO)] * n)
                out = Buffer("out", e.dtype, (1,), written=True)
                printer.function(Func("k", (out,), (Store(out, ZERO, e),), NOTE), "k")
        needed(printer.helpers)


def takes(op: str, dtype: DType) -> bool:
    from gradc.tracer import ops
    from gradc.tracer.errors import GradcError
    from gradc.tracer.graph.types import TensorType

    prim = getattr(ops, op)
    try:
        prim.infer(*[TensorType((), dtype)] * (2 if op in (*ir.BINARY, *ir.TESTS[:6]) else 1))
    except GradcError:
        return False
    return True


def test_long_functions_are_copied_into_loops_and_called_elsewhere() -> None:
    x, y = (Buffer(n, float32, (64,), written=n == "y") for n in "xy")
    n = ix.var("n", 64)
    inside = For("n", ix.const(0), ix.const(64), 1, (Store(y, n, call("exp", Load(x, n))),))
    short = For("n", ix.const(0), ix.const(2), 1, (Store(y, ix.var("n", 2), call("exp", a)),))
    once = Store(y, ix.const(0), call("exp", a))
    assert body_of(inside, params=(y, x))[1] == "y[n] = gradc_exp_f32(x[n]);"
    assert "y[n] = gradc_exp_f32_apart(a);" in body_of(short, params=(y,))
    assert body_of(once, params=(y,)) == ["y[0] = gradc_exp_f32_apart(a);"]
    around = For("i", ix.const(0), ix.const(9), 1, (once, inside))
    lines = body_of(around, params=(y, x))
    assert lines[1] == "y[0] = gradc_exp_f32_apart(a);"
    assert lines[3] == "y[n] = gradc_exp_f32(x[n]);"
