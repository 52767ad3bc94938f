"""User text on its way into C."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradc.codegen.c.names import (
    MAX_EXPORTED,
    Names,
    c_comment,
    c_name,
    c_string,
    check_exported,
    is_reserved,
)
from gradc.tracer.errors import ArgumentError

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
NASTY = st.one_of(
    st.text(),
    st.text(alphabet="*/\\?\n\r\"'%_ aI0."),
    st.sampled_from(
        ["linux", "unix", "I", "int", "class", "α", "Ω_1", "0", "", "__x", "_", "é", "model.0.w"]
    ),
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x", "x"),
        ("model.0.weight", "model_0_weight"),
        ("int", "int_"),
        ("class", "class_"),
        ("linux", "linux_"),
        ("I", "I_"),
        ("restrict", "restrict_"),
        ("int64_t", "int64_t_"),
        ("α", "alpha"),
        ("Δt", "Deltat"),
        ("é", "e"),
        ("0.bias", "v0_bias"),
        ("", "v"),
        ("__init__", "init"),
        ("sqrt", "sqrt_"),
        ("sinf", "sinf_"),
        ("gradc_exp_f32", "v_gradc_exp_f32"),
        ("日本", "v"),
    ],
)
def test_name(text: str, name: str) -> None:
    assert c_name(text) == name


@given(NASTY)
def test_names_are_identifiers(text: str) -> None:
    name = c_name(text)
    assert IDENTIFIER.fullmatch(name)
    assert len(name) < 63
    assert not is_reserved(name)


@given(st.lists(NASTY, max_size=12))
def test_names_in_a_scope_differ(texts: list[str]) -> None:
    outer = Names(taken=("taken",))
    outer.pick("outer", "x")
    scope = Names(outer=outer)
    names = [scope.pick(i, t) for i, t in enumerate(texts)]
    assert len(set(names)) == len(names)
    assert not {"taken", "x"} & set(names)
    assert [scope.pick(i, "other") for i in range(len(texts))] == names


@given(NASTY, NASTY)
def test_comments_cannot_end(before: str, after: str) -> None:
    text = f"/*{c_comment(before)}*/ /* {c_comment(after)} */"
    assert text.count("*/") == 2
    assert text.count("/*") == 2
    assert "??" not in text
    assert "\\*" not in text or "\\ " in text or not before.endswith("\\")
    assert "\n" not in text
    assert text.isascii()


@pytest.mark.parametrize("end", ["\\", "*", "/", "?", "??/"])
def test_comment_ends_are_kept_apart(end: str) -> None:
    assert c_comment("x" + end)[-1] == "."


def test_comment_that_closes() -> None:
    assert "*/" not in c_comment("*/ int evil(void) { return 1; } /*")


def _read_string(literal: str) -> bytes:
    """What a C compiler makes of a string literal."""
    out, i, body = bytearray(), 0, literal[1:-1]
    while i < len(body):
        if body[i] != "\\":
            out += body[i].encode("ascii")
            i += 1
        elif body[i + 1].isdigit():
            out.append(int(body[i + 1 : i + 4], 8))
            i += 4
        else:
            out += body[i + 1].encode("ascii")
            i += 2
    return bytes(out)


@given(NASTY)
def test_strings_read_back(text: str) -> None:
    literal = c_string(text)
    assert literal.isascii()
    assert "??" not in literal
    assert literal[0] == literal[-1] == '"'
    assert _read_string(literal) == text.encode("utf-8", "replace").split(b"\0")[0]


@pytest.mark.parametrize("name", ["train", "f", "step_2", "x" * MAX_EXPORTED])
def test_exported(name: str) -> None:
    assert check_exported(name) == name


@pytest.mark.parametrize(
    "name", ["", "2x", "_f", "a-b", "α", "int", "class", "unix", "main", "x" * 64, "f\n", "sin"]
)
def test_not_exported(name: str) -> None:
    with pytest.raises(ArgumentError, match="cannot be the name"):
        check_exported(name)
