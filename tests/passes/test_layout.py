"""layout: permutes move into contractions."""

from __future__ import annotations

from golden import check

from gradc.codegen.passes.layout import layout


def test_a_transposed_operand() -> None:
    check(
        layout,
        "x: f32[5,3], w: f32[4,3]",
        """
        forward
        t: f32[3,4] = permute(w, axes=(1,0))
        r: f32[5,4] = dot_general(x, t, contract=((1,),(0,)), batch=((),()))
        return r: f32[5,4]""",
        """
        forward
        r: f32[5,4] = dot_general(x, w, contract=((1,),(1,)), batch=((),()))
        return r: f32[5,4]""",
    )


def test_batch_axes_are_renamed() -> None:
    check(
        layout,
        "x: f32[2,5,3], w: f32[3,2,4]",
        """
        forward
        t: f32[2,3,4] = permute(w, axes=(1,0,2))
        r: f32[2,5,4] = dot_general(x, t, contract=((2,),(1,)), batch=((0,),(0,)))
        return r: f32[2,5,4]""",
        """
        forward
        r: f32[2,5,4] = dot_general(x, w, contract=((2,),(0,)), batch=((0,),(1,)))
        return r: f32[2,5,4]""",
    )


def test_free_axes_that_change_order_stay() -> None:
    text = """
        forward
        t: f32[5,4,3] = permute(x, axes=(1,0,2))
        r: f32[5,4,6] = dot_general(t, w, contract=((2,),(0,)), batch=((),()))
        return r: f32[5,4,6]"""
    check(layout, "x: f32[4,5,3], w: f32[3,6]", text, text)


def test_a_transposed_result() -> None:
    check(
        layout,
        "x: f32[2,5,3], g: f32[2,5,4]",
        """
        backward
        a: f32[2,3,4] = dot_general(x, g, contract=((1,),(1,)), batch=((0,),(0,)))
        r: f32[2,4,3] = permute(a, axes=(0,2,1))
        return r: f32[2,4,3]""",
        """
        backward
        r: f32[2,4,3] = dot_general(g, x, contract=((1,),(1,)), batch=((0,),(0,)))
        return r: f32[2,4,3]""",
    )


def test_a_result_that_others_read_stays() -> None:
    text = """
        backward
        a: f32[3,4] = dot_general(x, g, contract=((0,),(0,)), batch=((),()))
        r: f32[4,3] = permute(a, axes=(1,0))
        return a: f32[3,4], r: f32[4,3]"""
    check(layout, "x: f32[5,3], g: f32[5,4]", text, text)
