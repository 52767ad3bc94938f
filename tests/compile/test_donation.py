"""`donate_argnames`: results take over the memory of arguments, and nobody sees it afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gradc
from gradc.errors import (
    ArgumentError,
    ArgumentTypeError,
    CaptureError,
    DonatedError,
    IndexOutOfRange,
)

BACKENDS = ["numpy", "c", "jax"]


@pytest.fixture(params=BACKENDS)
def donating(request):
    def wrap(fn, *names, **options):
        return gradc.compile(fn, backend=request.param, donate_argnames=names, **options)

    return wrap


def address(t):
    return t.numpy().ctypes.data


def advance(x, dt):
    return x + dt * (1.0 - x)


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("size", [4, 40_000])
def test_the_result_lies_where_the_argument_lay(backend, size):
    f = gradc.compile(advance, backend=backend, donate_argnames="x")
    x = gradc.zeros(size)
    place = address(x)
    for _ in range(3):
        x = f(x, 0.5)
        assert address(x) == place
    assert x.tolist()[:2] == [0.875, 0.875]


def test_results_are_those_of_a_call_without_donation(donating):
    def f(a, b, c):
        return a @ b, b.T.exp(), (a * 2).sum(), c + 1

    args = [gradc.randn(5, 5), gradc.randn(5, 5), gradc.arange(4)]
    expected = f(*args)
    found = donating(f, "a", "b", "c")(*[t.clone() for t in args])
    for t, e in zip(found, expected):
        assert np.allclose(t.numpy(), e.numpy(), rtol=1e-5)


def test_a_donated_tensor_cannot_be_used_again(donating):
    f = donating(advance, "x")
    x = gradc.zeros(3)
    view, detached = x[1:], x.detach()
    f(x, 0.5)  # the call
    assert x.shape == (3,)
    assert repr(x) == "tensor(<donated f32[3]>)"
    compiled = gradc.compile(lambda y: y + x, backend="numpy")
    for use in (
        lambda: x + 1, lambda: x.numpy(), lambda: x.tolist(), lambda: x.add_(1), lambda: view * 2,
        lambda: detached.sum(), lambda: view.fill_(0.0), lambda: compiled(gradc.ones(3)),
        lambda: f(x, 0.5), lambda: np.asarray(x), lambda: x[0].item(),
    ):  # fmt: skip
        with pytest.raises(DonatedError) as caught:
            use()
        assert "# the call" in str(caught.value)
        assert "advance" in str(caught.value)


def test_state_that_was_donated_elsewhere_is_an_error(donating):
    w = gradc.ones(3)
    f = donating(advance, "x")
    g = donating(lambda y: y * w)
    assert g(gradc.ones(3)).tolist() == [1.0, 1.0, 1.0]
    f(w, 0.5)
    with pytest.raises(DonatedError):
        g(gradc.ones(3))


def test_a_failed_call_gives_the_tensor_back(donating):
    table = gradc.arange(4.0)
    f = donating(lambda x, i: (x.exp() + 1, table[i]), "x")
    x = gradc.ones(3)
    with pytest.raises(IndexOutOfRange):
        f(x, gradc.tensor([9]))
    assert x.tolist() == [1.0, 1.0, 1.0]
    f(x, gradc.tensor([1]))
    with pytest.raises(DonatedError):
        x.sum()


def test_a_tensor_of_no_use_is_taken_all_the_same(donating):
    f = donating(lambda x: x.sum(), "x")
    x = gradc.ones(3)
    assert f(x).item() == 3.0
    with pytest.raises(DonatedError):
        f(x)


def test_returned_as_it_is(donating):
    f = donating(lambda x, y: (x, x[0], y + 1), "x")
    x = gradc.ones(2, 2)
    place = address(x)
    same, row, other = f(x, gradc.zeros(2, 2))
    assert address(same) == place
    assert other.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    row.zero_()
    assert same.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    with pytest.raises(DonatedError):
        x.sum()


def test_written_in_place_and_returned(donating):
    def f(x):
        x.mul_(3.0)
        return x, x[1:]

    x = gradc.ones(3)
    whole, tail = donating(f, "x")(x)
    assert whole.tolist() == [3.0, 3.0, 3.0]
    tail.zero_()
    assert whole.tolist() == [3.0, 0.0, 0.0]
    with pytest.raises(DonatedError):
        x.sum()


def test_inside_containers(donating):
    f = donating(lambda state, x: {k: v + x for k, v in state.items()}, "state")
    state = {"a": gradc.zeros(2), "b": gradc.ones(2)}
    old = dict(state)
    for _ in range(2):
        state = f(state, gradc.ones(2))
    assert state["a"].tolist() == [2.0, 2.0]
    assert state["b"].tolist() == [3.0, 3.0]
    with pytest.raises(DonatedError):
        old["a"].sum()


def test_numbers_are_not_donated(donating):
    f = donating(lambda state: (state["x"] * state["n"], state["n"] + 1), "state")
    doubled, n = f({"x": gradc.ones(2), "n": 2})
    assert doubled.tolist() == [2.0, 2.0]
    assert n.item() == 3


def test_values_that_are_swapped(donating):
    f = donating(lambda x, y: (y * 1.0, x * 1.0), "x", "y")
    first, second = f(gradc.zeros(1000), gradc.ones(1000))
    assert first.sum().item() == 1000.0
    assert second.sum().item() == 0.0


def test_old_values_that_are_read_later(donating):
    def f(x):
        return x.flip(0) + 1, x.cumsum(0), x * 2

    expected = f(gradc.arange(5.0))
    for t, e in zip(donating(f, "x")(gradc.arange(5.0)), expected):
        assert t.tolist() == e.tolist()


# -- what is refused ------------------------------------------------------------------------------


def test_the_same_tensor_twice(donating):
    f = donating(lambda x, y: x + y, "x")
    x = gradc.ones(2)
    with pytest.raises(ArgumentError, match="`x` shares memory with `y`"):
        f(x, x)
    with pytest.raises(ArgumentError, match="shares memory"):
        f(x, x.detach())
    with pytest.raises(ArgumentError, match="shares memory"):
        f(x, x[:])
    assert x.tolist() == [1.0, 1.0]


def test_a_view(donating):
    f = donating(lambda x: x + 1, "x")
    base = gradc.ones(2, 2)
    for view in (base[0], base.T, base.reshape(4)):
        with pytest.raises(ArgumentError, match="is a view"):
            f(view)
    assert base.sum().item() == 4.0


def test_read_only_memory(donating):
    data = np.ones(3, np.float32)
    data.flags.writeable = False
    f = donating(lambda x: x + 1, "x")
    with pytest.raises(ArgumentError, match="read-only"):
        f(gradc.from_numpy(data))


def test_a_numpy_array(donating):
    f = donating(lambda x: x + 1, "x")
    with pytest.raises(ArgumentTypeError, match="NumPy array"):
        f(np.ones(3, np.float32))


def test_a_tensor_that_requires_a_gradient(donating):
    f = donating(lambda x: x * 2, "x")
    x = gradc.ones(2, requires_grad=True)
    with pytest.raises(ArgumentError, match="requires a gradient"):
        f(x)
    with gradc.no_grad():
        assert f(x).tolist() == [2.0, 2.0]


def test_state_of_the_function(donating):
    w = gradc.ones(2)
    f = donating(lambda x: x + w, "x")
    with pytest.raises(CaptureError, match="also reached as state"):
        f(w)
    f(gradc.ones(2))
    with pytest.raises(ArgumentError, match="is state that the function uses"):
        f(w)
    assert w.tolist() == [1.0, 1.0]


def test_names_are_checked():
    with pytest.raises(ArgumentError, match="no parameter 'z'"):
        gradc.compile(advance, donate_argnames="z")
    with pytest.raises(ArgumentError, match="static_argnames and in donate_argnames"):
        gradc.compile(advance, donate_argnames="x", static_argnames="x")


# -- what else looks at it ------------------------------------------------------------------------


def test_gradients_do_not_need_the_memory(donating):
    w = gradc.tensor([2.0, 3.0], requires_grad=True)
    f = donating(lambda x: w * x, "x")
    y = f(gradc.tensor([5.0, 7.0]))
    y.add_(0.0)
    y.sum().backward()
    assert w.grad.tolist() == [5.0, 7.0]


def test_an_eager_gradient_that_saved_the_memory(donating):
    w = gradc.ones(2, requires_grad=True)
    x = gradc.ones(2)
    y = (w * x).sum()
    donating(lambda x: x + 1, "x")(x)
    with pytest.raises(DonatedError):
        y.backward()


def test_memory_analysis_shows_it():
    f = gradc.compile(advance, donate_argnames="x")
    plain = gradc.compile(advance)
    f(gradc.zeros(1000), 0.5)
    plain(gradc.zeros(1000), 0.5)
    donated, kept = f.memory_analysis(), plain.memory_analysis()
    assert (donated.donated_bytes, donated.output_bytes) == (4000, 0)
    assert (kept.donated_bytes, kept.output_bytes) == (0, 4000)
    assert donated.peak_bytes == kept.peak_bytes - 4000
    assert "4,000 of them taken over" in str(donated)


def test_odd_memory(donating):
    """What C cannot be handed is copied, and the result is right all the same."""
    f = donating(lambda x: x * 2, "x")
    transposed = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert f(gradc.from_numpy(transposed)).tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    raw = np.zeros(4 * 6 + 1, np.uint8)[1:].view(np.float32).reshape(2, 3)
    raw[...] = 3.0
    assert f(gradc.from_numpy(raw)).tolist() == [[6.0] * 3] * 2


def test_arrays_that_overlap_unseen():
    f = gradc.compile(lambda x, y: (x + 1, y * 10), donate_argnames="x")
    shared = np.ones(3, np.float32)
    x, y = gradc.from_numpy(shared), gradc.from_numpy(shared)
    more, ten = f(x, y)
    assert more.tolist() == [2.0, 2.0, 2.0]
    assert ten.tolist() == [10.0, 10.0, 10.0]
    assert y.tolist() == [1.0, 1.0, 1.0]


def test_two_threads_cannot_donate_one_tensor(donating):
    f = donating(advance, "x")
    f(gradc.zeros(8), 0.5)
    for _ in range(20):
        x, won, lost = gradc.zeros(8), [], []
        gate = threading.Barrier(4)

        def call(x=x, won=won, lost=lost, gate=gate):
            gate.wait()
            try:
                won.append(f(x, 0.5))
            except DonatedError as error:
                lost.append(error)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert (len(won), len(lost)) == (1, 3)
        assert won[0].tolist() == [0.5] * 8


def test_a_compiled_function_inside_another_donates_nothing(donating):
    inner = donating(advance, "x")
    outer = gradc.compile(lambda x: inner(x, 0.5) + x, backend="numpy")
    x = gradc.zeros(2)
    assert outer(x).tolist() == [0.5, 0.5]
    assert x.tolist() == [0.0, 0.0]


def test_a_plain_trace_shows_what_is_replaced():
    f = gradc.compile(advance, donate_argnames="x")
    assert f.trace(gradc.zeros(3), 0.5).graph.aliases == ((0, 0),)
    assert gradc.compile(advance).trace(gradc.zeros(3), 0.5).graph.aliases == ()
