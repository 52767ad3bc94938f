"""Every statement of torch's autograd tutorial, one test each.

Source of the statements: "Automatic Differentiation with torch.autograd", in "Learn the Basics" of
the PyTorch tutorials. Names and printed forms are torch's, with `gradc` for `torch`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradc
from gradc.errors import GradientError


@pytest.fixture
def net():
    gradc.manual_seed(0)
    x = gradc.ones(5)  # input tensor
    y = gradc.zeros(3)  # expected output
    w = gradc.randn(5, 3, requires_grad=True)
    b = gradc.randn(3, requires_grad=True)
    z = gradc.matmul(x, w) + b
    loss = gradc.nn.functional.binary_cross_entropy_with_logits(z, y)
    return x, y, w, b, z, loss


def expected_gradient(x, w, b):
    z = x.numpy() @ w.detach().numpy() + b.detach().numpy()
    dz = 1 / (1 + np.exp(-z)) / 3
    return np.outer(x.numpy(), dz), dz


def test_network_of_one_layer(net):
    *_, z, loss = net
    assert z.shape == (3,)
    assert loss.shape == ()
    zn = z.detach().numpy()
    np.testing.assert_allclose(loss.item(), np.mean(np.log1p(np.exp(zn))), rtol=1e-6)


def test_matmul_operator_is_the_same(net):
    x, _, w, b, z, _ = net
    assert ((x @ w + b).detach().numpy() == z.detach().numpy()).all()


def test_parameters_require_gradients(net):
    x, y, w, b, z, loss = net
    assert w.requires_grad and b.requires_grad
    assert not x.requires_grad and not y.requires_grad
    assert z.requires_grad and loss.requires_grad


def test_requires_grad_can_be_set_later():
    w = gradc.randn(5, 3)
    assert not w.requires_grad
    assert w.requires_grad_(True) is w
    assert w.requires_grad


def test_grad_fn_holds_the_backward_function(net):
    *_, z, loss = net
    address = r" object at 0x[0-9a-f]+>$"
    assert re.match("<AddBackward0" + address, f"{z.grad_fn}")
    assert re.match("<BinaryCrossEntropyWithLogitsBackward0" + address, f"{loss.grad_fn}")


def test_printing_shows_grad_fn(net):
    *_, b, z, loss = net
    assert "grad_fn=<AddBackward0>" in repr(z)
    assert repr(loss).endswith("grad_fn=<BinaryCrossEntropyWithLogitsBackward0>)")
    assert repr(b).endswith("requires_grad=True)")


def test_next_functions_lead_to_the_leaves(net):
    *_, b, z, loss = net
    (first, _), *_ = loss.grad_fn.next_functions
    assert first == z.grad_fn
    names = [f.name() for f, _ in z.grad_fn.next_functions]
    assert names[0] == "SqueezeBackward0"  # torch numbers its overloads: SqueezeBackward4
    assert z.grad_fn.next_functions[1][0].variable is b


def test_backward_computes_the_gradients(net):
    x, _, w, b, _, loss = net
    loss.backward()
    dw, db = expected_gradient(x, w, b)
    np.testing.assert_allclose(w.grad.numpy(), dw, rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), db, rtol=1e-5)


def test_only_leaves_that_require_it_get_a_gradient(net):
    x, y, _, _, z, loss = net
    loss.backward()
    assert x.grad is None and y.grad is None
    assert z.grad is None


def test_backward_runs_once_per_graph(net):
    *_, loss = net
    loss.backward()
    with pytest.raises(GradientError, match="Trying to backward through the graph a second time"):
        loss.backward()


def test_retain_graph_allows_several(net):
    x, _, w, b, _, loss = net
    loss.backward(retain_graph=True)
    loss.backward()
    dw, _ = expected_gradient(x, w, b)
    np.testing.assert_allclose(w.grad.numpy(), 2 * dw, rtol=1e-5)


def test_no_grad_stops_tracking(net):
    x, _, w, b, _, _ = net
    z = gradc.matmul(x, w) + b
    assert z.requires_grad is True
    with gradc.no_grad():
        z = gradc.matmul(x, w) + b
    assert z.requires_grad is False
    assert z.grad_fn is None


def test_detach_gives_the_same(net):
    x, _, w, b, _, _ = net
    z = gradc.matmul(x, w) + b
    z_det = z.detach()
    assert z_det.requires_grad is False
    z_det[0] = 7.0  # it shares the memory
    assert z[0].item() == 7.0


def test_frozen_parameters_get_no_gradient(net):
    x, y, w, b, _, _ = net
    w.requires_grad_(False)
    loss = gradc.nn.functional.binary_cross_entropy_with_logits(gradc.matmul(x, w) + b, y)
    loss.backward()
    assert w.grad is None
    assert b.grad is not None


def test_the_graph_is_made_anew_by_every_call():
    w = gradc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for n in range(1, 4):  # other shape, other operations at every iteration
        x = w[:n]
        y = (x * x).sum() if n % 2 else x.exp().sum()
        w.grad = None
        y.backward()
        full = np.zeros(3, np.float32)
        values = w.detach().numpy()[:n]
        full[:n] = 2 * values if n % 2 else np.exp(values)
        np.testing.assert_allclose(w.grad.numpy(), full, rtol=1e-6)


def test_vector_jacobian_product_word_for_word():
    inp = gradc.eye(4, 5, requires_grad=True)
    out = (inp + 1).pow(2).t()
    out.backward(gradc.ones_like(out), retain_graph=True)
    first = (
        "tensor([[4., 2., 2., 2., 2.],\n"
        "        [2., 4., 2., 2., 2.],\n"
        "        [2., 2., 4., 2., 2.],\n"
        "        [2., 2., 2., 4., 2.]])"
    )
    assert f"{inp.grad}" == first
    out.backward(gradc.ones_like(out), retain_graph=True)
    assert f"{inp.grad}" == (
        "tensor([[8., 4., 4., 4., 4.],\n"
        "        [4., 8., 4., 4., 4.],\n"
        "        [4., 4., 8., 4., 4.],\n"
        "        [4., 4., 4., 8., 4.]])"
    )
    inp.grad.zero_()
    out.backward(gradc.ones_like(out), retain_graph=True)
    assert f"{inp.grad}" == first


def test_the_transpose_prints_with_its_grad_fn():
    inp = gradc.eye(4, 5, requires_grad=True)
    out = (inp + 1).pow(2).t()
    assert out.shape == (5, 4)
    assert out.grad_fn.name() == "TBackward0"
    assert out.grad_fn.next_functions[0][0].name() == "PowBackward0"
    assert out.grad_fn.next_functions[0][0].next_functions[0][0].name() == "AddBackward0"


def test_a_non_scalar_needs_a_vector():
    inp = gradc.eye(4, 5, requires_grad=True)
    out = (inp + 1).pow(2).t()
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar"):
        out.backward()


def test_backward_of_a_scalar_is_backward_of_one(net):
    x, _, w, b, _, loss = net
    loss.backward(gradc.tensor(1.0))
    dw, _ = expected_gradient(x, w, b)
    np.testing.assert_allclose(w.grad.numpy(), dw, rtol=1e-5)


def test_gradients_accumulate_over_graphs(net):
    x, y, w, b, _, loss = net
    loss.backward()
    again = gradc.nn.functional.binary_cross_entropy_with_logits(gradc.matmul(x, w) + b, y)
    again.backward()
    dw, _ = expected_gradient(x, w, b)
    np.testing.assert_allclose(w.grad.numpy(), 2 * dw, rtol=1e-5)
