"""torch's autograd semantics: accumulation, in-place, views, versions, hooks, Function, modes."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gradc
from gradc.autograd import Function, detect_anomaly, grad, gradcheck, gradgradcheck
from gradc.errors import GradientError


def leaf(*values):
    return gradc.tensor(list(values), dtype=gradc.float64, requires_grad=True)


# -- accumulation and graphs ----------------------------------------------------------------------


def test_create_graph_to_third_order():
    x = leaf(2.0)
    y = (x**4).sum()
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    assert [first.item(), second.item(), third.item()] == [32.0, 48.0, 48.0]


def test_grad_touches_no_grad_and_honours_allow_unused():
    x, z = leaf(1.0), leaf(1.0)
    y = (x * 3).sum()
    assert grad(y, x)[0].item() == 3.0
    assert x.grad is None
    y = (x * 3).sum()
    with pytest.raises(GradientError, match="not have been used"):
        grad(y, [x, z], retain_graph=True)
    assert grad(y, [x, z], allow_unused=True, retain_graph=True)[1] is None
    assert grad(y, [x, z], materialize_grads=True)[1].tolist() == [0.0]


def test_backward_with_inputs_adds_only_there():
    x, z = leaf(1.0), leaf(2.0)
    (x * z).sum().backward(inputs=[x])
    assert x.grad.tolist() == [2.0] and z.grad is None


def test_gradient_of_an_intermediate():
    x = leaf(3.0)
    h = x * x
    (g,) = grad((h * 5).sum(), h)
    assert g.tolist() == [5.0]


def test_two_leaves_do_not_share_one_gradient():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    x.grad.add_(10)
    assert y.grad.tolist() == [1.0, 1.0]


def test_the_graph_is_freed_without_the_collector():
    gc.disable()
    try:
        x = leaf(1.0)
        y = x.exp()
        node = weakref.ref(y.grad_fn.node)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_nothing_to_differentiate():
    with pytest.raises(GradientError, match="does not require grad"):
        gradc.ones(2).sum().backward()


def test_integers_cannot_require_gradients():
    with pytest.raises(GradientError, match="floating point"):
        gradc.tensor([1, 2]).requires_grad_()


# -- modes ----------------------------------------------------------------------------------------


def test_modes_nest_and_decorate():
    x = leaf(1.0)
    with gradc.no_grad():
        assert not (x * 2).requires_grad
        with gradc.enable_grad():
            assert (x * 2).requires_grad
        assert not gradc.is_grad_enabled()

    @gradc.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad and gradc.is_grad_enabled()
    with gradc.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


# -- in place, views, versions --------------------------------------------------------------------


def test_in_place_on_a_leaf_is_an_error():
    x = leaf(1.0)
    with pytest.raises(GradientError, match="a leaf Variable that requires grad"):
        x += 1
    with pytest.raises(GradientError, match="a view of a leaf"):
        x[0] = 1
    with gradc.no_grad():
        x += 1
    assert x.tolist() == [2.0]


def test_in_place_on_an_intermediate():
    x = leaf(1.0, 2.0)
    y = x * 1
    y.mul_(3)
    y.add_(x)
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_saved_value_that_was_written_is_an_error():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        z.sum().backward()


def test_what_is_not_saved_may_be_written():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y + 1
    y.add_(1)
    z.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_the_version_counts_writes():
    x = gradc.zeros(3)
    assert x._version == 0
    x.add_(1)
    x[0] = 5
    assert x._version == 2 and x.detach()._version == 2


def test_writing_through_a_view_changes_the_base():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    v = y[1:]
    v.mul_(10)
    assert y.tolist() == [1.0, 20.0, 30.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 10.0, 10.0]
    assert y.grad_fn.name() == "CopySlices"


def test_a_view_sees_a_write_to_the_base():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    v = y[::2]
    y.mul_(x)
    assert v.tolist() == [1.0, 9.0]
    v.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 6.0]


def test_views_of_views_and_transposes():
    x = gradc.arange(6.0).reshape(2, 3)
    x.t()[1].zero_()
    assert x.tolist() == [[0.0, 0.0, 2.0], [3.0, 0.0, 5.0]]
    x[0, 1:].view(2)[:] = gradc.tensor([7.0, 8.0])
    assert x.tolist() == [[0.0, 7.0, 8.0], [3.0, 0.0, 5.0]]


def test_assignment_by_index_and_its_gradient():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 2
    y[1] = v[0] * 3
    y[[0, 2]] = gradc.tensor([0.0, 0.0], dtype=gradc.float64)
    y.sum().backward()
    assert y.tolist() == [0.0, 15.0, 0.0]
    assert x.grad.tolist() == [0.0, 0.0, 0.0] and v.grad.tolist() == [3.0]


def test_masked_assignment():
    x = leaf(-1.0, 2.0, -3.0)
    y = x * 1
    y[y < 0] = 0.0
    y.sum().backward()
    assert y.tolist() == [0.0, 2.0, 0.0] and x.grad.tolist() == [0.0, 1.0, 0.0]


def test_writing_to_an_expanded_tensor_is_an_error():
    with pytest.raises(GradientError, match="single memory location"):
        gradc.zeros(1).expand(3).add_(1)


def test_detach_and_data_share_memory():
    x = leaf(1.0, 2.0)
    x.detach()[0] = 9.0
    x.data[1] = 8.0
    assert x.tolist() == [9.0, 8.0]
    array = np.zeros(2)
    gradc.from_numpy(array).add_(1)
    assert array.tolist() == [1.0, 1.0]


def test_in_place_needs_a_fitting_type_and_shape():
    with pytest.raises(TypeError, match="can't be cast"):
        gradc.zeros(2, dtype=gradc.int64).add_(0.5)
    with pytest.raises(ValueError, match="does not fit"):
        gradc.zeros(2).add_(gradc.zeros(3, 2))


# -- hooks ----------------------------------------------------------------------------------------


def test_tensor_hooks():
    x = leaf(1.0)
    h = x * 2
    seen = []
    h.register_hook(lambda g: seen.append(g.item()))
    handle = h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (h * 3).sum().backward()
    assert seen == [3.0] and x.grad.tolist() == [61.0]
    handle.remove()


def test_retain_grad_and_post_accumulate():
    x = leaf(1.0)
    h = x * 2
    h.retain_grad()
    called = []
    x.register_post_accumulate_grad_hook(lambda t: called.append(t.grad.item()))
    (h * 3).sum().backward()
    assert h.grad.tolist() == [3.0] and called == [6.0]


def test_node_hooks():
    x = leaf(1.0)
    y = x.exp()
    seen = []
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append(len(inputs)))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.sum().backward()
    assert seen == [1]
    np.testing.assert_allclose(x.grad.tolist(), [2 * np.e])


# -- Function -------------------------------------------------------------------------------------


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Split(Function):
    @staticmethod
    def forward(x, k):
        return x * k, x + k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, g1, g2):
        assert ctx.needs_input_grad == (True, False)
        return g1 * ctx.k + g2, None


def test_function_with_gradgradcheck():
    x = leaf(1.0, -2.0)
    assert Cube.apply(x).grad_fn.name() == "CubeBackward"
    assert gradcheck(Cube.apply, x) and gradgradcheck(Cube.apply, x)


def test_function_with_setup_context_and_two_outputs():
    x = leaf(1.0, 2.0)
    a, b = Split.apply(x, 5.0)
    (a.sum() + 2 * b.sum()).backward()
    assert x.grad.tolist() == [7.0, 7.0]
    (a2, _) = Split.apply(x, 5.0)
    x.grad = None
    a2.sum().backward()  # the unused output counts as zeros
    assert x.grad.tolist() == [5.0, 5.0]


def test_a_function_that_returns_too_few_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(GradientError, match="incorrect number of gradients"):
        Wrong.apply(leaf(1.0), leaf(1.0)).sum().backward()


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2.001 * 1.01

    with pytest.raises(GradientError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, leaf(1.0))
    assert not gradcheck(Wrong.apply, leaf(1.0), raise_exception=False)


# -- anomaly mode ---------------------------------------------------------------------------------


def test_anomaly_mode_names_the_forward_line():
    x = leaf(-1.0)
    with detect_anomaly():
        y = x.sqrt() * 0  # the line that makes the NaN
        with pytest.raises(GradientError, match="returned nan values") as caught:
            y.sum().backward()
    assert "the line that makes the NaN" in str(caught.value)


# -- NumPy ----------------------------------------------------------------------------------------


def test_numpy_arrays_mix_and_keep_gradients():
    x = leaf(1.0, 2.0)
    array = np.array([3.0, 4.0])
    for y in (x * array, array * x):
        assert isinstance(y, gradc.Tensor) and y.requires_grad
    assert (np.eye(2) @ x).tolist() == [1.0, 2.0]
    with pytest.raises(GradientError, match="detach"):
        np.asarray(x)
    assert np.asarray(x.detach()).tolist() == [1.0, 2.0]
    assert np.sum(x.detach()).item() == 3.0
