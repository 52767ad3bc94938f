"""What tracers get wrong, as a list: every body runs eagerly and compiled and must agree.

The decided behaviour of each is in docs/semantics.md.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn
from gradc.errors import CaptureError, GradcError, IndexOutOfRange, TraceError

MODES = ["eager", "numpy", "c", "jax"]


@pytest.fixture(params=MODES)
def wrap(request):
    if request.param == "eager":
        return lambda fn, **options: fn
    return lambda fn, **options: gradc.compile(fn, backend=request.param, **options)


@pytest.fixture(params=["numpy", "c"])
def compiled(request):
    return lambda fn, **options: gradc.compile(fn, backend=request.param, **options)


SCALE = 2.0


def test_a_global_that_changes(wrap):
    global SCALE
    f = wrap(lambda x: x * SCALE)
    SCALE = 2.0
    assert f(gradc.ones(2)).tolist() == [2.0, 2.0]
    SCALE = 3.0
    assert f(gradc.ones(2)).tolist() == [3.0, 3.0]


def test_a_closure_that_is_rebound(wrap):
    w = gradc.ones(2)

    def f(x):
        return x * w

    f = wrap(f)
    assert f(gradc.ones(2)).tolist() == [1.0, 1.0]
    w = gradc.full((2,), 5.0)
    assert f(gradc.ones(2)).tolist() == [5.0, 5.0]


def test_a_captured_tensor_is_read_at_every_call(wrap):
    w = gradc.ones(2)
    f = wrap(lambda x: x + w)
    f(gradc.zeros(2))
    w.add_(1)
    assert f(gradc.zeros(2)).tolist() == [2.0, 2.0]


def test_a_captured_array_is_read_at_every_call(wrap):
    a = np.ones(2, np.float32)
    f = wrap(lambda x: x + a)
    f(gradc.zeros(2))
    a += 1
    assert f(gradc.zeros(2)).tolist() == [2.0, 2.0]


class Holder:
    def __init__(self, value):
        self.value = value
        self.inner = {"list": [value]}


def test_state_in_a_list_in_a_dict_in_an_object(wrap):
    holder = Holder(gradc.ones(2))

    def f(x):
        return x * holder.inner["list"][0]

    f = wrap(f)
    assert f(gradc.ones(2)).tolist() == [1.0, 1.0]
    holder.inner["list"][0] = gradc.full((2,), 4.0)
    assert f(gradc.ones(2)).tolist() == [4.0, 4.0]
    holder.inner = {"list": [gradc.full((2,), 7.0)]}
    assert f(gradc.ones(2)).tolist() == [7.0, 7.0]


def test_a_method_and_an_attribute_of_self(wrap):
    class Model:
        def __init__(self):
            self.k = 2.0

        def run(self, x):
            return x * self.k

    model = Model()
    f = wrap(model.run)
    assert f(gradc.ones(1)).tolist() == [2.0]
    model.k = 5.0
    assert f(gradc.ones(1)).tolist() == [5.0]


def test_outputs_do_not_share_memory_between_calls(wrap):
    f = wrap(lambda x: x + 1)
    first = f(gradc.zeros(2))
    second = f(gradc.ones(2))
    assert first.tolist() == [1.0, 1.0] and second.tolist() == [2.0, 2.0]
    first.add_(10)
    assert f(gradc.ones(2)).tolist() == [2.0, 2.0]


def test_two_outputs_that_share_memory_do_so_compiled(wrap):
    def f(x):
        y = x * 2
        return y, y[0]

    whole, part = wrap(f)(gradc.ones(2, 2))
    part.add_(1)
    assert whole.tolist() == [[3.0, 3.0], [2.0, 2.0]]


def test_an_input_that_is_returned_is_the_input(wrap):
    x = gradc.ones(2)
    same, view = wrap(lambda x: (x, x.view(1, 2)))(x)
    assert same is x
    view.add_(1)
    assert x.tolist() == [2.0, 2.0]


def test_the_same_tensor_twice(wrap):
    f = wrap(lambda a, b: a * 2 + b)
    x, y = gradc.ones(2), gradc.full((2,), 5.0)
    assert f(x, x).tolist() == [3.0, 3.0]
    assert f(x, y).tolist() == [7.0, 7.0]


def test_an_argument_written_in_place(wrap):
    def f(x):
        x.mul_(3)
        return x.sum()

    x = gradc.ones(2)
    assert wrap(f)(x).item() == 6.0
    assert x.tolist() == [3.0, 3.0] and x._version == 1


def test_the_same_tensor_twice_and_written(wrap):
    def f(a, b):
        a.add_(1)
        return b * 1

    x = gradc.zeros(2)
    assert wrap(f)(x, x).tolist() == [1.0, 1.0]


def test_overlapping_views_written_in_place_are_an_error(compiled):
    def f(a, b):
        a.add_(1)
        return b * 1

    x = gradc.zeros(4)
    with pytest.raises(CaptureError, match="shares memory"):
        compiled(f)(x[:3], x[1:])
    assert x.tolist() == [0.0] * 4


def test_an_exception_in_the_middle_changes_nothing(wrap):
    w = gradc.ones(2)

    def f(x):
        w.add_(1)
        if x.shape == (3,):
            raise KeyError("mine")
        return x + w

    f = wrap(f)
    f(gradc.zeros(2))
    with pytest.raises(KeyError, match="mine"):
        f(gradc.zeros(3))
    expected = w.tolist()[0] + 1
    assert f(gradc.zeros(2)).tolist() == [expected, expected]


def test_a_failing_check_leaves_state_as_it_was(compiled):
    w = gradc.ones(2)

    def f(x, i):
        w.add_(1)
        return x[i]

    f = compiled(f)
    f(gradc.ones(3), gradc.tensor([1]))
    assert w.tolist() == [2.0, 2.0]
    with pytest.raises(IndexOutOfRange, match="index 7") as caught:
        f(gradc.ones(3), gradc.tensor([7]))
    assert "return x[i]" in str(caught.value)
    assert w.tolist() == [2.0, 2.0]


def test_nested_compiled_functions(wrap):
    inner = wrap(lambda x: x * 2)
    outer = wrap(lambda x: inner(x) + inner(x + 1))
    assert outer(gradc.ones(2)).tolist() == [6.0, 6.0]


def test_gradient_mode_is_part_of_the_signature(wrap):
    w = gradc.ones(2, requires_grad=True)
    f = wrap(lambda x: (x * w).sum())
    with gradc.no_grad():
        assert not f(gradc.ones(2)).requires_grad
    out = f(gradc.ones(2))
    assert out.requires_grad
    out.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_train_and_eval_mode(wrap):
    net = nn.Sequential(nn.Dropout(0.5))
    f = wrap(lambda x: net(x))
    gradc.manual_seed(0)
    assert 0.0 in f(gradc.ones(100)).tolist()
    net.eval()
    assert f(gradc.ones(100)).tolist() == [1.0] * 100


def test_random_state_goes_on(wrap):
    f = wrap(lambda x: x + gradc.rand(3))
    gradc.manual_seed(7)
    a, b = f(gradc.zeros(3)).tolist(), f(gradc.zeros(3)).tolist()
    gradc.manual_seed(7)
    expected = [gradc.rand(3).tolist() for _ in range(2)]
    assert [a, b] == expected and a != b


def test_a_counter_as_a_tensor(wrap):
    count = gradc.zeros(())

    def f(x):
        count.add_(1)
        return x * count

    f = wrap(f)
    assert [f(gradc.ones(1)).item() for _ in range(3)] == [1.0, 2.0, 3.0]


def test_a_python_counter_is_an_error_and_is_put_back(compiled):
    holder = Holder(gradc.ones(1))
    holder.t = 0

    def f(x):
        holder.t += 1
        return x * holder.t

    with pytest.raises(CaptureError, match="t"):
        compiled(f)(gradc.ones(1))
    assert holder.t == 0


def test_an_appended_list_is_an_error_and_is_put_back(compiled):
    losses = []

    def f(x):
        losses.append(x.sum())
        return x

    with pytest.raises(CaptureError, match="losses"):
        compiled(f)(gradc.ones(1))
    assert losses == []


def test_numpy_arguments_and_scalars(wrap):
    f = wrap(lambda x, k: gradc.as_tensor(x) * k)
    assert f(np.ones(2), 2.0).tolist() == [2.0, 2.0]
    assert f(np.ones(2), 3.5).tolist() == [3.5, 3.5]
    assert f(np.ones((2, 1)), 2.0).dtype is gradc.float64


def test_run_time_numbers_do_not_compile_again(compiled):
    f = compiled(lambda x, k: x * k)
    for k in (0.1, 0.2, 0.3):
        assert f(gradc.ones(1), k).item() == pytest.approx(k)
    assert f.recompiles() == []


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)])
def test_zero_size_and_zero_d(wrap, shape):
    f = wrap(lambda x: (x * 2, x.sum(), x.exp()))
    double, total, _ = f(gradc.ones(shape))
    assert double.shape == shape
    assert total.item() == float(np.prod(shape))


def test_dtype_and_shape_changes(wrap):
    f = wrap(lambda x: x * 2)
    assert f(gradc.ones(2)).dtype is gradc.float32
    assert f(gradc.ones(2, dtype=gradc.float64)).dtype is gradc.float64
    assert f(gradc.ones(3, 1)).shape == (3, 1)


def test_keyword_order_and_defaults(wrap):
    def f(x, *, a=1.0, b=2.0):
        return x * a - b

    f = wrap(f)
    assert f(gradc.ones(1), a=3.0, b=1.0).item() == f(gradc.ones(1), b=1.0, a=3.0).item() == 2.0
    assert f(gradc.ones(1)).item() == -1.0


def test_static_arguments(wrap):
    def f(x, mode, n):
        return x.sum() if mode == "sum" else x.reshape(n, -1)

    f = wrap(f, static_argnames=("n",))
    assert f(gradc.ones(4), "sum", 2).item() == 4.0
    assert f(gradc.ones(4), "shape", 2).shape == (2, 2)
    assert f(gradc.ones(4), "shape", 4).shape == (4, 1)


def test_an_int_used_as_a_shape_becomes_static(wrap):
    f = wrap(lambda x, n: x.reshape(n, -1))
    assert f(gradc.ones(6), 2).shape == (2, 3)
    assert f(gradc.ones(6), 3).shape == (3, 2)


def test_bool_none_and_containers(wrap):
    def f(batch, flip=False, extra=None):
        y = batch["x"] + batch["pair"][1]
        y = -y if flip else y
        return {"y": y, "n": None, "t": (y, 3)}

    f = wrap(f)
    batch = {"x": gradc.ones(1), "pair": (gradc.zeros(1), gradc.full((1,), 2.0))}
    found = f(batch)
    assert found["y"].tolist() == [3.0] and found["n"] is None and found["t"][1] == 3
    assert f(batch, flip=True)["y"].tolist() == [-3.0]


def test_recursion(wrap):
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    assert wrap(lambda x: power(x, 3))(gradc.full((1,), 2.0)).item() == 16.0


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * x.sum().item(),
        lambda x: x * float(x.sum()),
        lambda x: x[: int(x.sum())],
        lambda x: np.asarray(x) * 2,
        lambda x: x.tolist(),
        lambda x: x[x > 0],
    ],
)
def test_values_of_traced_tensors_are_errors(compiled, body):
    with pytest.raises(TraceError) as caught:
        compiled(body)(gradc.ones(3))
    assert "test_footguns.py" in str(caught.value) and "hint" in str(caught.value)


def test_a_tensor_that_leaked_from_a_trace(compiled):
    kept = {}

    def f(x):
        kept["y"] = x * 2
        return x

    with pytest.raises(CaptureError):
        compiled(f)(gradc.ones(1))
    assert "y" not in kept


def test_grad_of_a_parameter_after_a_step(wrap):
    w = gradc.ones(2, requires_grad=True)

    def f(x):
        (x * w).sum().backward()

    f = wrap(f)
    f(gradc.ones(2))
    f(gradc.ones(2))
    assert w.grad.tolist() == [2.0, 2.0]


def test_keep_grads(compiled):
    w = gradc.ones(2, requires_grad=True)

    def f(x):
        w.grad = None
        (x * w).sum().backward()

    compiled(f, keep_grads=True)(gradc.ones(2))
    assert w.grad.tolist() == [1.0, 1.0]
    compiled(f)(gradc.ones(2))
    with pytest.raises(GradcError, match="keep_grads"):
        _ = w.grad


def test_gradient_of_an_argument(wrap):
    x = gradc.ones(3, requires_grad=True)
    f = wrap(lambda x: (x * x).sum() + x.exp().sum())
    f(x * 2).backward()
    expected = 8 * 1.0 + 2 * np.exp(2.0)
    np.testing.assert_allclose(x.grad.tolist(), [expected] * 3, rtol=1e-6)


def test_a_frozen_parameter_compiles_again(compiled):
    w, v = gradc.ones(2, requires_grad=True), gradc.ones(2, requires_grad=True)

    def f(x):
        w.grad = v.grad = None
        F.mse_loss(x * w, v).backward()
        return w.grad is None

    f = compiled(f)
    assert f(gradc.zeros(2)) is False
    w.requires_grad_(False)
    assert f(gradc.zeros(2)) is True


def test_specializations_do_not_keep_arguments_alive(compiled):
    f = compiled(lambda x: x * 2)
    storage = gradc.ones(5)._storage
    del storage
    gc.collect()
    f(gradc.ones(5))
    assert len(f.recompiles()) == 0


def test_the_reason_for_compiling_again_is_told(compiled):
    f = compiled(lambda x: x * 2)
    f(gradc.ones(2, 3))
    f(gradc.ones(4, 3))
    (reason,) = f.recompiles()
    assert "x is float32[4,3]" in reason and "was float32[2,3]" in reason


def test_views_that_were_one_and_are_two_are_two_arguments():
    x = gradc.tensor([[1.0, 2.0], [3.0, 4.0]])
    f = gradc.compile(lambda a, b: a * 10 + b)
    assert f(x[0], x[0]).tolist() == [11.0, 22.0]
    assert f(x[0], x[1]).tolist() == [13.0, 24.0]
    assert f(x[1], x[1]).tolist() == [33.0, 44.0]
    assert len(f.recompiles()) == 1


def test_an_argument_is_returned_with_and_without_its_history(wrap):
    x = gradc.ones(2, requires_grad=True)

    def f(x):
        return x, x.detach(), x.detach()[:1], x.detach()

    same, plain, view, again = wrap(f)(x)
    assert same is x
    assert not any(t.requires_grad for t in (plain, view, again))
    plain[0] = 5.0
    assert x.tolist() == [5.0, 1.0] and view.tolist() == [5.0]
