"""simplify, rule by rule: the text before and after, and what must stay as it is."""

from __future__ import annotations

import pytest
from golden import check

from gradc.codegen.passes.simplify import RULES, simplify


def becomes(inputs: str, before: str, result: str) -> None:
    """One line of `a = ...` whose `a` is returned, and the lines or the atom it becomes."""
    check(simplify, inputs, before, result)


def arithmetic(expression: str, result: str, type: str = "f32[3]") -> None:
    """`expression` of x and y (c is written for a literal repeated everywhere)."""
    lines, names = [], {}
    for word in expression.replace("(", " ").replace(")", " ").replace(",", " ").split():
        if word.startswith("#"):
            names[word] = f"k{len(names)}"
            lines.append(f"{names[word]}: {type} = broadcast({word[1:]}, shape=(3,), axes=())")
    for word, name in names.items():
        expression = expression.replace(word, name)
    text = "\n".join(["forward", *lines, f"r: {type} = {expression}", f"return r: {type}"])
    check(simplify, f"x: {type}, y: {type}", text, result)


@pytest.mark.parametrize(
    ("expression", "atom"),
    [
        ("mul(x, #1.0)", "x"), ("mul(#1.0, x)", "x"), ("div(x, #1.0)", "x"),
        ("sub(x, #0.0)", "x"), ("add(x, #-0.0)", "x"), ("add(#-0.0, x)", "x"),
        ("pow(x, #1.0)", "x"), ("maximum(x, x)", "x"), ("minimum(x, x)", "x"),
    ],
)  # fmt: skip
def test_neutral_operands(expression: str, atom: str) -> None:
    arithmetic(expression, f"return {atom}: f32[3]")


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("mul(x, #-1.0)", "neg(x)"), ("sub(#-0.0, x)", "neg(x)"), ("pow(x, #2.0)", "mul(x, x)"),
    ],
)  # fmt: skip
def test_other_operations(expression: str, result: str) -> None:
    arithmetic(expression, f"forward\nr: f32[3] = {result}\nreturn r: f32[3]")


@pytest.mark.parametrize(
    "expression",
    [
        "add(x, #0.0)", "sub(x, #-0.0)", "sub(#0.0, x)", "mul(x, #0.0)", "sub(x, x)",
        "div(x, x)", "div(x, #3.0)", "pow(x, #0.5)", "pow(x, #3.0)", "floor_divide(x, #1.0)",
        "div(x, #0.0)", "div(x, #inf)", "fmod(x, #1.0)",
    ],
)  # fmt: skip
def test_what_is_not_exact_stays(expression: str) -> None:
    word = next((w for w in expression.replace(")", " ").split() if w.startswith("#")), None)
    if word is None and "#" in expression:
        word = expression[expression.index("#") :].partition(",")[0]
    kept = [f"k0: f32[3] = broadcast({word[1:]}, shape=(3,), axes=())"] if word else []
    line = expression.replace(word, "k0") if word else expression
    text = "\n".join(["forward", *kept, f"r: f32[3] = {line}", "return r: f32[3]"])
    check(simplify, "x: f32[3], y: f32[3]", text, text)


def test_division_by_a_power_of_two() -> None:
    arithmetic(
        "div(x, #4.0)",
        """
        forward
        a: f32[3] = broadcast(0.25, shape=(3,), axes=())
        r: f32[3] = mul(x, a)
        return r: f32[3]""",
    )


def test_reciprocal_power() -> None:
    arithmetic(
        "pow(x, #-1.0)",
        """
        forward
        a: f32[3] = broadcast(1.0, shape=(3,), axes=())
        r: f32[3] = div(a, x)
        return r: f32[3]""",
    )


@pytest.mark.parametrize(
    ("before", "result"),
    [
        ("n: f32[3] = neg(x)\nr: f32[3] = neg(n)", "return x: f32[3]"),
        ("n: f32[3] = neg(y)\nr: f32[3] = add(x, n)",
         "forward\nr: f32[3] = sub(x, y)\nreturn r: f32[3]"),
        ("n: f32[3] = neg(x)\nr: f32[3] = add(n, y)",
         "forward\nr: f32[3] = sub(y, x)\nreturn r: f32[3]"),
        ("n: f32[3] = neg(y)\nr: f32[3] = sub(x, n)",
         "forward\nr: f32[3] = add(x, y)\nreturn r: f32[3]"),
        ("n: f32[3] = neg(x)\nm: f32[3] = neg(y)\nr: f32[3] = mul(n, m)",
         "forward\nr: f32[3] = mul(x, y)\nreturn r: f32[3]"),
        ("n: f32[3] = neg(x)\nr: f32[3] = abs(n)",
         "forward\nr: f32[3] = abs(x)\nreturn r: f32[3]"),
        ("n: f32[3] = floor(x)\nr: f32[3] = round(n)",
         "forward\nn: f32[3] = floor(x)\nreturn n: f32[3]"),
    ],
)  # fmt: skip
def test_signs(before: str, result: str) -> None:
    check(simplify, "x: f32[3], y: f32[3]", f"forward\n{before}\nreturn r: f32[3]", result)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("add(x, #0)", "return x: i32[3]"), ("shift_left(x, #0)", "return x: i32[3]"),
        ("bitwise_and(x, #-1)", "return x: i32[3]"), ("bitwise_or(x, #0)", "return x: i32[3]"),
        ("trunc_divide(x, #1)", "return x: i32[3]"), ("bitwise_and(x, x)", "return x: i32[3]"),
        ("mul(x, #0)",
         "forward\nk0: i32[3] = broadcast(0, shape=(3,), axes=())\nreturn k0: i32[3]"),
        ("sub(x, x)", "forward\nr: i32[3] = broadcast(0, shape=(3,), axes=())\nreturn r: i32[3]"),
        ("sub(#0, x)", "forward\nr: i32[3] = neg(x)\nreturn r: i32[3]"),
    ],
)  # fmt: skip
def test_integers(expression: str, result: str) -> None:
    arithmetic(expression, result, "i32[3]")


def test_integer_division_by_a_literal_zero_stays() -> None:
    text = """
        forward
        k: i32[3] = broadcast(0, shape=(3,), axes=())
        r: i32[3] = floor_divide(x, k)
        return x: i32[3]"""
    check(simplify, "x: i32[3]", text, text)


def test_unsigned_minus_one_is_no_literal() -> None:
    text = """
        forward
        k: u8[3] = broadcast(255, shape=(3,), axes=())
        r: u8[3] = mul(x, k)
        return r: u8[3]"""
    check(simplify, "x: u8[3]", text, text)


# -- logic ----------------------------------------------------------------------------------------

LOGIC = "p: bool[3], x: f32[3], y: f32[3], i: i64[3], j: i64[3]"


@pytest.mark.parametrize(
    ("before", "result"),
    [
        ("r: f32[3] = select(p, x, x)", "return x: f32[3]"),
        ("t: bool[3] = broadcast(True, shape=(3,), axes=())\nr: f32[3] = select(t, x, y)",
         "return x: f32[3]"),
        ("n: bool[3] = bitwise_not(p)\nr: f32[3] = select(n, x, y)",
         "forward\nr: f32[3] = select(p, y, x)\nreturn r: f32[3]"),
        ("a: f32[3] = select(p, x, y)\nr: f32[3] = select(p, a, x)",
         "return x: f32[3]"),
        ("a: bool[3] = lt(x, y)\nb: bool[3] = bitwise_not(a)\nr: f32[3] = select(b, x, y)",
         "forward\na: bool[3] = lt(x, y)\nr: f32[3] = select(a, y, x)\nreturn r: f32[3]"),
    ],
)  # fmt: skip
def test_select(before: str, result: str) -> None:
    check(simplify, LOGIC, f"forward\n{before}\nreturn r: f32[3]", result)


@pytest.mark.parametrize(
    ("before", "result"),
    [
        ("a: bool[3] = eq(x, y)\nr: bool[3] = bitwise_not(a)", "r: bool[3] = ne(x, y)"),
        ("a: bool[3] = lt(i, j)\nr: bool[3] = bitwise_not(a)", "r: bool[3] = ge(i, j)"),
        ("a: bool[3] = lt(x, y)\nr: bool[3] = bitwise_not(a)",
         "a: bool[3] = lt(x, y)\nr: bool[3] = bitwise_not(a)"),
        ("r: bool[3] = ne(x, x)", "r: bool[3] = isnan(x)"),
        ("r: bool[3] = eq(x, x)", "r: bool[3] = eq(x, x)"),
        ("r: bool[3] = le(i, i)", "r: bool[3] = broadcast(True, shape=(3,), axes=())"),
        ("t: bool[3] = broadcast(False, shape=(3,), axes=())\nr: bool[3] = eq(p, t)",
         "r: bool[3] = bitwise_not(p)"),
    ],
)  # fmt: skip
def test_comparisons(before: str, result: str) -> None:
    after = f"forward\n{result}\nreturn r: bool[3]"
    check(simplify, LOGIC, f"forward\n{before}\nreturn r: bool[3]", after)


@pytest.mark.parametrize(
    ("source", "middle", "last", "one"),
    [
        ("f32", "f64", "f32", None), ("bool", "i32", "f32", "f32"), ("i8", "f32", "f64", "f64"),
        ("i32", "i64", "i8", "i8"), ("f32", "f64", "i32", "i32"), ("i32", "f64", "i64", "i64"),
        ("i32", "f64", "i8", "two"), ("f64", "f32", "f64", "two"), ("i64", "f64", "f32", "two"),
        ("f32", "i32", "f32", "two"), ("i32", "f32", "f64", "two"), ("u8", "i8", "u8", "two"),
    ],
)  # fmt: skip
def test_casts(source: str, middle: str, last: str, one: str | None) -> None:
    first, second = f"a: {middle}[3] = cast(x, dtype={middle})", f"cast(a, dtype={last})"
    before = f"forward\n{first}\nr: {last}[3] = {second}\nreturn r: {last}[3]"
    if one is None:
        after = f"return x: {last}[3]"
    elif one == "two":
        after = before
    else:
        after = f"forward\nr: {last}[3] = cast(x, dtype={one})\nreturn r: {last}[3]"
    check(simplify, f"x: {source}[3]", before, after)


# -- movement -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "before", "after"),
    [
        ("x: f32[2,3]", "a: f32[6] = reshape(x, shape=(6,))\nr: f32[2,3] = reshape(a, shape=(2,3))",
         "return x: f32[2,3]"),
        ("x: f32[2,3]",
         "a: f32[3,2] = permute(x, axes=(1,0))\nr: f32[2,3] = permute(a, axes=(1,0))",
         "return x: f32[2,3]"),
        ("x: f32[2,3,4]",
         "a: f32[3,4,2] = permute(x, axes=(1,2,0))\nr: f32[4,2,3] = permute(a, axes=(1,2,0))",
         "forward\nr: f32[4,2,3] = permute(x, axes=(2,0,1))\nreturn r: f32[4,2,3]"),
        ("x: f32[2,1,3]", "r: f32[1,2,3] = permute(x, axes=(1,0,2))",
         "forward\nr: f32[1,2,3] = reshape(x, shape=(1,2,3))\nreturn r: f32[1,2,3]"),
        ("x: f32[3]",
         "a: f32[2,3] = broadcast(x, shape=(2,3), axes=(1,))\n"
         "r: f32[2,3,4] = broadcast(a, shape=(2,3,4), axes=(0,1))",
         "forward\nr: f32[2,3,4] = broadcast(x, shape=(2,3,4), axes=(1,))\nreturn r: f32[2,3,4]"),
        ("x: f32[3]",
         "a: f32[3,1] = reshape(x, shape=(3,1))\n"
         "r: f32[3,4] = broadcast(a, shape=(3,4), axes=(0,1))",
         "forward\nr: f32[3,4] = broadcast(x, shape=(3,4), axes=(0,))\nreturn r: f32[3,4]"),
        ("x: f32[3]", "r: f32[1,3] = broadcast(x, shape=(1,3), axes=(1,))",
         "forward\nr: f32[1,3] = reshape(x, shape=(1,3))\nreturn r: f32[1,3]"),
        ("x: f32[20]",
         "a: f32[6] = slice(x, start=(2,), stop=(19,), step=(3,))\n"
         "r: f32[2] = slice(a, start=(1,), stop=(5,), step=(2,))",
         "forward\nr: f32[2] = slice(x, start=(5,), stop=(17,), step=(6,))\nreturn r: f32[2]"),
        ("x: f32[4]", "a: f32[4] = flip(x, axes=(0,))\nr: f32[4] = flip(a, axes=(0,))",
         "return x: f32[4]"),
        ("x: f32[1,4]", "r: f32[1,4] = flip(x, axes=(0,))", "return x: f32[1,4]"),
        ("x: f32[4]", "r: f32[4] = pad(x, 0.0, low=(0,), high=(0,), interior=(0,))",
         "return x: f32[4]"),
        ("x: f32[4]",
         "a: f32[7] = pad(x, 0.0, low=(1,), high=(2,), interior=(0,))\n"
         "r: f32[4] = slice(a, start=(1,), stop=(5,), step=(1,))",
         "return x: f32[4]"),
        ("x: f32[4], y: f32[3]",
         "a: f32[7] = concat(x, y, axis=0)\nr: f32[3] = slice(a, start=(4,), stop=(7,), step=(1,))",
         "return y: f32[3]"),
        ("x: f32[4], y: f32[0]",
         "a: f32[4] = concat(x, y, axis=0)\nr: f32[8] = concat(a, x, axis=0)",
         "forward\nr: f32[8] = concat(x, x, axis=0)\nreturn r: f32[8]"),
        ("x: f32[4]",
         "a: f32[5,4] = broadcast(x, shape=(5,4), axes=(1,))\n"
         "r: f32[2,2] = slice(a, start=(0,0), stop=(2,4), step=(1,2))",
         "forward\na: f32[2] = slice(x, start=(0,), stop=(4,), step=(2,))\n"
         "r: f32[2,2] = broadcast(a, shape=(2,2), axes=(1,))\nreturn r: f32[2,2]"),
        ("x: f32[4,1,3]", "r: f32[4] = reduce_sum(x, axes=(1,2))",
         "forward\na: f32[4,3] = reshape(x, shape=(4,3))\nr: f32[4] = reduce_sum(a, axes=(1,))\n"
         "return r: f32[4]"),
        ("x: f32[4,1]", "r: f32[4] = reduce_sum(x, axes=(1,))",
         "forward\nr: f32[4] = reshape(x, shape=(4,))\nreturn r: f32[4]"),
        ("x: f32[4,5,6]",
         "a: f32[4,6] = reduce_max(x, axes=(1,))\nr: f32[4] = reduce_max(a, axes=(1,))",
         "forward\nr: f32[4] = reduce_max(x, axes=(1,2))\nreturn r: f32[4]"),
        ("x: f32[4]",
         "a: f32[4,5] = broadcast(x, shape=(4,5), axes=(0,))\nr: f32[4] = reduce_max(a, axes=(1,))",
         "return x: f32[4]"),
        ("x: f32[4]",
         "a: f32[4,5] = broadcast(x, shape=(4,5), axes=(0,))\nr: f32[4] = reduce_sum(a, axes=(1,))",
         "forward\na: f32[4,5] = broadcast(x, shape=(4,5), axes=(0,))\n"
         "r: f32[4] = reduce_sum(a, axes=(1,))\nreturn r: f32[4]"),
    ],
)  # fmt: skip
def test_movement(inputs: str, before: str, after: str) -> None:
    type = before.rpartition("r: ")[2].partition(" =")[0]
    check(simplify, inputs, f"forward\n{before}\nreturn r: {type}", after)


def test_computing_before_broadcasting() -> None:
    check(
        simplify,
        "x: f32[3], y: f32[3]",
        """
        forward
        a: f32[3,4] = broadcast(x, shape=(3,4), axes=(0,))
        b: f32[3,4] = broadcast(y, shape=(3,4), axes=(0,))
        c: f32[3,4] = broadcast(2.0, shape=(3,4), axes=())
        d: f32[3,4] = mul(a, b)
        e: f32[3,4] = mul(d, c)
        g: f32[3,4] = exp(e)
        return g: f32[3,4]""",
        """
        forward
        a: f32[3] = mul(x, y)
        b: f32[3] = broadcast(2.0, shape=(3,), axes=())
        c: f32[3] = mul(a, b)
        d: f32[3] = exp(c)
        g: f32[3,4] = broadcast(d, shape=(3,4), axes=(0,))
        return g: f32[3,4]""",
    )


def test_division_that_may_fail_is_not_moved() -> None:
    text = """
        forward
        a: i32[3,4] = broadcast(x, shape=(3,4), axes=(0,))
        b: i32[3,4] = broadcast(y, shape=(3,4), axes=(0,))
        r: i32[3,4] = floor_divide(a, b)
        return r: i32[3,4]"""
    check(simplify, "x: i32[3], y: i32[3]", text, text)


# -- indexing -------------------------------------------------------------------------------------


def test_gather_at_a_literal() -> None:
    check(
        simplify,
        "x: f32[5,3]",
        """
        forward
        r: f32[3] = gather(x, -1, axes=(0,), batch=0, wrap=True)
        return r: f32[3]""",
        """
        forward
        a: f32[1,3] = slice(x, start=(4,0), stop=(5,3), step=(1,1))
        r: f32[3] = reshape(a, shape=(3,))
        return r: f32[3]""",
    )


def test_gather_at_a_literal_out_of_range_stays() -> None:
    text = """
        forward
        r: f32[3] = gather(x, 5, axes=(0,), batch=0, wrap=True)
        return r: f32[3]"""
    check(simplify, "x: f32[5,3]", text, text)


def test_rows_in_order_become_a_batch_axis() -> None:
    check(
        simplify,
        "x: f32[5,3], i: i64[5]",
        """
        forward
        a: i64[5] = iota(shape=(5,), axis=0, dtype=i64)
        r: f32[5] = gather(x, a, i, axes=(0,1), batch=0, wrap=True)
        return r: f32[5]""",
        """
        forward
        r: f32[5] = gather(x, i, axes=(1,), batch=1, wrap=True)
        return r: f32[5]""",
    )


CROSS_ENTROPY = """
    forward
    a: f32[5] = gather(x, i, axes=(1,), batch=1, wrap=False)
    backward
    z: f32[5,3] = broadcast(0.0, shape=(5,3), axes=())
    r: f32[5,3] = scatter(z, g, i, axes=(1,), batch=1, wrap=False, combiner=add)
    return a: f32[5], r: f32[5,3]"""


def test_scatter_of_one_a_row_becomes_a_select() -> None:
    check(
        simplify,
        "x: f32[5,3], i: i64[5], g: f32[5]",
        CROSS_ENTROPY,
        """
        forward
        a: f32[5] = gather(x, i, axes=(1,), batch=1, wrap=False)
        backward
        z: f32[5,3] = broadcast(0.0, shape=(5,3), axes=())
        b: i64[5,3] = iota(shape=(5,3), axis=1, dtype=i64)
        c: i64[5,3] = broadcast(i, shape=(5,3), axes=(0,))
        d: bool[5,3] = eq(b, c)
        e: f32[5] = broadcast(0.0, shape=(5,), axes=())
        f: f32[5] = add(g, e)
        h: f32[5,3] = broadcast(f, shape=(5,3), axes=(0,))
        r: f32[5,3] = select(d, h, z)
        return a: f32[5], r: f32[5,3]""",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gather(x, i", "gather(x, j"),
        ("f32[5] = gather(x, i, axes=(1,), batch=1, wrap=False)",
         "f32[5] = gather(x, i, axes=(1,), batch=1, wrap=True)"),
        ("combiner=add", "combiner=mul"),
        ("broadcast(0.0", "broadcast(-0.0"),
    ],
)  # fmt: skip
def test_scatter_stays_where_it_is_the_only_check_or_not_of_zeros(old: str, new: str) -> None:
    assert old in CROSS_ENTROPY
    text = CROSS_ENTROPY.replace(old, new)
    check(simplify, "x: f32[5,3], i: i64[5], g: f32[5], j: i64[5]", text, text)


# -- the driver -----------------------------------------------------------------------------------


def test_every_rule_says_its_equation() -> None:
    for rule in RULES.all():
        assert rule.__doc__, rule.__name__


def test_keepdim_chains_lose_their_unit_axes() -> None:
    check(
        simplify,
        "x: f32[4,3]",
        """
        forward
        a: f32[4] = reduce_sum(x, axes=(1,))
        b: f32[4,1] = reshape(a, shape=(4,1))
        c: f32[4,1] = broadcast(0.5, shape=(4,1), axes=())
        d: f32[4,1] = mul(b, c)
        e: f32[4,1] = rsqrt(d)
        r: f32[4,3] = broadcast(e, shape=(4,3), axes=(0,1))
        return r: f32[4,3]""",
        """
        forward
        a: f32[4] = reduce_sum(x, axes=(1,))
        b: f32[4] = broadcast(0.5, shape=(4,), axes=())
        c: f32[4] = mul(a, b)
        d: f32[4] = rsqrt(c)
        r: f32[4,3] = broadcast(d, shape=(4,3), axes=(0,))
        return r: f32[4,3]""",
    )
