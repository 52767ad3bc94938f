"""Small things users do in the first hour, eager and compiled."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import gradc
from gradc import nn, optim
from gradc.errors import ArgumentTypeError, GradientError

MODES = pytest.mark.parametrize("backend", [None, "c", "numpy"], ids=str)


def run(fn, backend, *args):
    return (fn if backend is None else gradc.compile(fn, backend=backend))(*args)


@MODES
def test_heads_are_joined_with_contiguous_and_view(backend):
    x = gradc.arange(24, dtype=gradc.float32).reshape(2, 3, 4)
    found = run(lambda x: x.transpose(1, 2).contiguous().view(2, 12), backend, x)
    np.testing.assert_array_equal(found.numpy(), x.numpy().swapaxes(1, 2).reshape(2, 12))


@MODES
def test_strides_of_views_are_told(backend):
    def look(x):
        views = (x, x.t(), x[:, 1:], x.t().contiguous(), x[:1].t())
        return [(v.stride(), v.is_contiguous()) for v in views]

    assert run(look, backend, gradc.ones(2, 3)) == [
        ((3, 1), True), ((1, 3), False), ((3, 1), False), ((2, 1), True), ((1, 3), True),
    ]  # fmt: skip


def scaled(y, w):
    return y.mul_(w)


def powered(y, w):
    return y.pow_(w)


def assigned(y, w):
    y[gradc.tensor([2, 0, 1])] = w
    return y


def added(y, w):
    return y.index_add_(0, gradc.tensor([0, 0, 2]), w)


def scattered(y, w):
    return y.scatter_(0, gradc.tensor([1, 2, 0]), w)


def masked(y, w):
    y[gradc.tensor([True, False, True])] = w[1]
    return y


@MODES
@pytest.mark.parametrize(
    ("write", "expected"),
    [(scaled, [2, 2, 2]), (assigned, [1, 1, 1]), (added, [1, 1, 1]), (scattered, [1, 1, 1]),
     (powered, [2 * np.log(2)] * 3), (masked, [0, 2, 0])],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_writing_what_needs_a_gradient_into_what_needs_none(write, expected, backend):
    def step(w):
        y = gradc.full((3,), 2.0)
        write(y, w)
        return gradc.autograd.grad(y.sum(), w)[0]

    found = run(step, backend, gradc.ones(3, requires_grad=True))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6)


def test_the_first_draw_of_a_process_is_not_frozen():
    code = (
        "import numpy as np, gradc\n"
        "f = gradc.compile(lambda x: x * np.random.rand(), backend='numpy')\n"
        "try:\n    f(gradc.ones(1))\nexcept gradc.errors.CaptureError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "refused", done.stderr


@dataclasses.dataclass
class Output:
    loss: object


class Slotted:
    __slots__ = ("loss",)

    def __init__(self, loss):
        self.loss = loss


@pytest.mark.parametrize(
    "hide",
    [Output, Slotted, lambda t: {t}, lambda t: (u for u in (t,)), lambda t: lambda: t,
     lambda t: Output([{"a": t}])],
    ids=["dataclass", "slots", "set", "generator", "closure", "nested"],
)  # fmt: skip
def test_no_traced_tensor_leaves_inside_an_object(hide):
    f = gradc.compile(lambda x: hide(x.sum()), backend="numpy")
    with pytest.raises(ArgumentTypeError, match="a compiled function returned a"):
        f(gradc.ones(2))


def test_objects_that_hold_nothing_of_the_trace_are_returned():
    kept = Output(loss=gradc.ones(1))
    f = gradc.compile(lambda x: (x.sum(), kept), backend="numpy")
    assert f(gradc.ones(2))[1] is kept


def trained():
    gradc.manual_seed(0)
    model = nn.Linear(2, 1)
    opt = optim.SGD(model.parameters(), lr=0.1)

    @gradc.compile(backend="numpy")
    def step(x):
        opt.zero_grad()
        loss = model(x).sum()
        loss.backward()
        opt.step()
        return loss

    step(gradc.ones(3, 2))
    return model, opt


def test_what_does_not_read_a_gradient_works_when_it_was_not_kept():
    model, opt = trained()
    opt.zero_grad(set_to_none=False)
    model(gradc.ones(1, 2)).sum().backward()
    assert model.weight.grad.tolist() == [[1.0, 1.0]]
    model, _ = trained()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad is None
    model, _ = trained()
    model.double()
    assert model.weight.dtype is gradc.float64
    with pytest.raises(GradientError, match="zero_grad"):
        model(gradc.ones(1, 2, dtype=gradc.float64)).sum().backward()


def test_optimizer_state_that_was_cleared_begins_anew():
    model = nn.Linear(2, 1)
    opt = optim.Adam(model.parameters(), lr=0.1)
    opt.state.clear()
    model(gradc.ones(1, 2)).sum().backward()
    before = model.weight.detach().clone()
    opt.step()
    np.testing.assert_allclose(model.weight.detach().numpy(), before.numpy() - 0.1, rtol=1e-5)


class Scaled(gradc.autograd.Function):
    @staticmethod
    def forward(ctx, x, k=2.0):
        ctx.result = k
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return GIVE(g), None


GIVE = None


@pytest.mark.parametrize(
    ("give", "expected"),
    [(lambda g: g * 2, 2.0), (lambda g: (g * 2).double(), 2.0),
     (lambda g: gradc.stack([g, g]), 2.0)],
    ids=["plain", "float64", "broadcast"],
)  # fmt: skip
def test_gradients_of_a_function_fit_its_inputs(give, expected, monkeypatch):
    monkeypatch.setitem(globals(), "GIVE", give)
    x = gradc.ones(3, requires_grad=True)
    Scaled.apply(x).sum().backward()
    assert x.grad.dtype is gradc.float32 and x.grad.tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("give", "words"),
    [(lambda g: gradc.ones(7), r"ScaledBackward returned an invalid gradient at index 0"),
     (lambda g: 3.0, r"ScaledBackward returned float as gradient 0")],
    ids=["shape", "number"],
)  # fmt: skip
def test_gradients_that_do_not_fit_name_the_function(give, words, monkeypatch):
    monkeypatch.setitem(globals(), "GIVE", give)
    x = gradc.ones(3, requires_grad=True)
    with pytest.raises(GradientError, match=words):
        Scaled.apply(x).sum().backward()


@MODES
@pytest.mark.parametrize("number", [2.5, 3, -0.0, 2**40])
def test_a_number_that_is_returned_is_that_number(number, backend):
    found = run(lambda x, k: (x * k, {"k": k}, k), backend, gradc.ones(1), number)
    assert found[1]["k"] is number and found[2] is number


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize(("number", "dtype"), [(2.5, gradc.float64), (3, gradc.int64)])
def test_a_number_computed_from_numbers_is_a_tensor(number, dtype, backend):
    found = run(lambda x, k: (x + k * 2, k * 2, k), backend, gradc.ones(1), number)
    assert found[0].dtype is gradc.float32
    assert found[1].dtype is dtype and found[1].shape == () and found[1].item() == 2 * number


def test_a_view_of_a_number_is_a_tensor():
    found = gradc.compile(lambda k: k.reshape(1), backend="numpy")(2.0)
    assert found.tolist() == [2.0]


@MODES
@pytest.mark.parametrize(("number", "expected"), [(2.5, 7.5), (3, 9)])
def test_augmented_assignment_gives_a_number_another_value(number, expected, backend):
    def step(x, k):
        kept = k
        k += 1
        k *= 2
        k = k + kept - 2
        return x * k, kept

    found, kept = run(step, backend, gradc.ones(2), number)
    assert found.tolist() == [expected] * 2 and kept is number


def test_exported_functions_return_numbers_as_they_are(tmp_path):
    gradc.aot.export(lambda x, k: (x * k, k), (gradc.ones(1), 2.0), tmp_path, name="scaled")
    found = gradc.aot.load(tmp_path)(gradc.ones(1), 4.0)
    assert found[0].tolist() == [4.0] and found[1] == 4.0 and type(found[1]) is float
