"""What users do wrong with functions is an error of gradc, with their line."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn
from gradc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AssertionFailed,
    DTypeError,
    IndexOutOfRange,
    ShapeError,
    StateError,
    TraceError,
)

X = gradc.arange(12, dtype=gradc.float32).reshape(3, 4)
T = gradc.tensor([1, 0, 3])
MASK = gradc.ones(3, 3, dtype=gradc.bool)

MISTAKES = {
    "expand_new_axis": (lambda: X.expand(-1, 3, 4), ShapeError, "-1 keeps the size"),
    "repeat_negative": (lambda: X.repeat(-1, 2), ShapeError, "negative"),
    "roll_lengths": (lambda: X.roll((1, 2), 0), ArgumentError, "must align"),
    "chunk_0": (lambda: X.chunk(0), ArgumentError, "greater than 0"),
    "tensor_split_0": (lambda: X.tensor_split(0), ArgumentError, "larger than 0"),
    "unbind_0d": (lambda: gradc.tensor(1.0).unbind(), IndexOutOfRange, "no dimensions"),
    "select_0d": (lambda: gradc.tensor(1.0).select(0, 0), IndexOutOfRange, "no dimensions"),
    "select_outside": (lambda: X.select(1, 4), IndexOutOfRange, "dimension 1 with size 4"),
    "diff_0d": (lambda: gradc.tensor(1.0).diff(), ShapeError, "one-dimensional"),
    "trace_vector": (lambda: gradc.ones(3).trace(), ShapeError, "matrix"),
    "glu_odd": (lambda: F.glu(gradc.ones(3)), ShapeError, "must be even"),
    "relu_bool": (lambda: F.relu(MASK), DTypeError, "does not take bool"),
    "hardtanh_order": (lambda: F.hardtanh(X, 1.0, -1.0), ArgumentError, "greater than max_val"),
    "softshrink": (lambda: F.softshrink(X, -1.0), ArgumentError, "greater or equal to 0"),
    "celu_0": (lambda: F.celu(X, 0.0), ArgumentError, "cannot be 0"),
    "prelu_channels": (lambda: F.prelu(X, gradc.ones(3)), ShapeError, "1 or 4 elements"),
    "pad_reflect": (lambda: F.pad(X, (4, 0), mode="reflect"), ArgumentError, "do not fit"),
    "pad_circular": (lambda: F.pad(X, (0, 5), mode="circular"), ArgumentError, "do not fit"),
    "pad_mode": (lambda: F.pad(X, (1, 1), mode="mirror"), ArgumentError, "not known"),
    "pad_value": (
        lambda: F.pad(X, (1, 1), mode="reflect", value=1.0), ArgumentError, "takes no value",
    ),
    "scatter_both": (
        lambda: X.scatter(0, T[None], X, value=1.0), ArgumentError, "either src or value",
    ),
    "scatter_none": (lambda: X.scatter(0, T[None]), ArgumentError, "either src or value"),
    "where_one": (lambda: gradc.where(MASK, 1.0), ArgumentError, "must both be given"),
    "index_ragged": (lambda: X[[[0], [1, 2]]], ArgumentTypeError, "rows of one length"),
    "index_select_0d": (
        lambda: gradc.tensor(1.0).index_select(0, T), ShapeError, "only have 1 value",
    ),
    "addmm_shape": (lambda: gradc.addmm(gradc.ones(2, 4, 4), X.t(), X, beta=0), ShapeError,
                    "does not broadcast"),
    "where_shapes": (lambda: gradc.where(MASK, X, X), ShapeError, "do not broadcast"),
    "matmul_batches": (lambda: gradc.ones(2, 3, 4) @ gradc.ones(3, 4, 2), ShapeError, "broadcast"),
    "expand_size": (lambda: X.expand(3, 5), ShapeError, "does not broadcast"),
    "inner_sizes": (lambda: gradc.inner(X, gradc.ones(3)), ShapeError, "4 and 3"),
    "einsum_sizes": (lambda: gradc.einsum("ij,ij->", X, gradc.ones(2, 4)), ShapeError, "3 and 2"),
    "smoothing_above": (
        lambda: F.cross_entropy(X, T, label_smoothing=2.0), ArgumentError, "between 0.0 and 1.0",
    ),
    "smoothing_below": (
        lambda: F.cross_entropy(X, T, label_smoothing=-0.1), ArgumentError, "between 0.0 and 1.0",
    ),
    "huber_delta": (lambda: F.huber_loss(X, X, delta=0.0), ArgumentError, "non-positive"),
    "smooth_l1_beta": (lambda: F.smooth_l1_loss(X, X, beta=-1.0), ArgumentError, "negative"),
    "attention_both": (
        lambda: F.scaled_dot_product_attention(X, X, X, MASK, is_causal=True), ArgumentError,
        "must not be given when is_causal",
    ),
    "attention_heads": (
        lambda: F.scaled_dot_product_attention(
            gradc.ones(3, 2, 2), gradc.ones(2, 2, 2), gradc.ones(2, 2, 2), enable_gqa=True
        ),
        ShapeError, "2 heads",
    ),
    "layer_norm": (lambda: F.layer_norm(X, 3), ShapeError, "normalized_shape"),
    "state": (lambda: nn.Linear(2, 2).load_state_dict({}), StateError, "does not fit Linear"),
    "object_array": (
        lambda: gradc.tensor(np.array([None, 1], dtype=object)), ArgumentTypeError, "object",
    ),
    "object_argument": (
        lambda: gradc.compile(lambda x: x)(np.array([None, 1], dtype=object)), ArgumentTypeError,
        "argument `x`",
    ),
    "repeat_traced": (
        lambda: gradc.compile(lambda n: X.repeat_interleave(n, 0))(T), TraceError, "repeats",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_the_error_names_the_line(name):
    call, error, text = MISTAKES[name]
    with pytest.raises(error, match=text) as caught:
        call()
    assert "test_mistakes.py:" in str(caught.value)


def test_layer_norm_takes_an_int():
    assert F.layer_norm(X, 4).tolist() == F.layer_norm(X, (4,)).tolist()


def embedded(weight, index):
    return F.embedding(index, weight)


def picked(x, index):
    return x[index]


LOOKUPS = {
    "embedding": (embedded, (gradc.ones(3, 4), gradc.tensor([1, 5])), ("f32[3,4]", "i64[2]")),
    "cross_entropy": (F.cross_entropy, (gradc.ones(1, 4), gradc.tensor([7])), ("i64[1]",)),
    "index": (picked, (gradc.ones(3), gradc.tensor([3])), ("f32[3]", "i64[1]")),
}


@pytest.mark.parametrize("backend", ["eager", "c", "numpy", "jax"])
@pytest.mark.parametrize("name", LOOKUPS)
def test_a_failed_lookup_names_the_function_and_the_operands(name, backend):
    function, arguments, operands = LOOKUPS[name]
    if backend == "jax":
        pytest.importorskip("jax")
    if backend != "eager":
        function = gradc.compile(lambda *a, f=function: f(*a), backend=backend)
    with pytest.raises(IndexOutOfRange, match=rf"^{name}: index \d is out of range for axis") as e:
        function(*arguments)
    assert "test_mistakes.py:" in str(e.value)
    for operand in operands:
        assert operand in str(e.value)


@pytest.mark.parametrize("backend", ["eager", "c", "numpy"])
def test_one_hot_checks_its_classes(backend):
    def function(i):
        return F.one_hot(i, 3)

    call = function if backend == "eager" else gradc.compile(function, backend=backend)
    assert call(gradc.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(AssertionFailed, match=r"smaller than 3\n  test_mistakes\.py:"):
            call(gradc.tensor(bad))
