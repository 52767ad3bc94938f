"""Calls through the extension in C: the same as through Python, and when they are declined."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.codegen.c.extension import extension_source
from gradc.codegen.c.target import WARNING_FLAGS
from gradc.runtime import native
from gradc.runtime.memory import AREAS
from gradc.runtime.native import MISS
from gradc.tracer.config import config
from gradc.tracer.errors import CompilerNotFound, DonatedError, GradcError, IndexOutOfRange


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The extension from the first call on; without it there is nothing to test."""
    monkeypatch.setattr(native, "_extension", native._Extension())
    config.dispatch = "c"
    yield
    config.assigned.pop("dispatch", None)


def direct(f, *args):
    """What C says to a call."""
    (dispatch,) = f._dispatches
    return dispatch(args)


def compiled(fn, *args):
    """A compiled function that was called twice: C knows it."""
    f = gradc.compile(fn)
    f(*args), f(*args)
    assert len(f._dispatches) == 1
    return f


def test_the_extension_is_built_without_a_warning(tmp_path):
    compiler = native.find_compiler()
    source = tmp_path / "k.c"
    source.write_text(extension_source())
    flags = [word for folder in native._headers() for word in ("-isystem", folder)]
    command = [*compiler.argv, "-std=c11", *WARNING_FLAGS, "-fPIC", "-O1", *flags, "-c"]
    subprocess.run([*command, source, "-o", tmp_path / "k.o"], check=True)


def test_a_call_makes_a_tensor_like_any_other():
    f = compiled(lambda x: x * 2 + 1, gradc.ones(3))
    found, made = direct(f, gradc.tensor([1.0, 2.0, 3.0])), gradc.zeros(3)
    assert found.tolist() == [3.0, 5.0, 7.0]
    assert type(found) is gradc.Tensor and found.type == made.type and found._version == 0
    for name in native._slots(gradc.Tensor):
        if name not in ("_data", "_storage", "_type"):
            assert getattr(found, name) == getattr(made, name), name
    found.add_(1)
    assert found._version == 1 and found._storage.array is found._data
    assert direct(f, gradc.zeros(3)).tolist() == [1.0, 1.0, 1.0]


OTHERS = {
    "shape": lambda: gradc.ones(4),
    "rank": lambda: gradc.ones(3, 1),
    "dtype": lambda: gradc.ones(3, dtype=gradc.float64),
    "array": lambda: np.ones(3, "f4"),
    "number": lambda: 1.0,
    "gradient": lambda: gradc.ones(3, requires_grad=True),
    "column": lambda: gradc.ones(3, 3).T[0],
    "step": lambda: gradc.ones(6)[::2],
    "None": lambda: None,
}


@pytest.mark.parametrize("name", OTHERS)
def test_arguments_of_another_form_are_declined(name):
    other = OTHERS[name]()  # before: a new requires_grad is a change of structure
    f = compiled(lambda x: x * 2, gradc.ones(3))
    assert direct(f, other) is MISS
    assert direct(f, gradc.ones(3)) is not MISS
    assert direct(f) is MISS and direct(f, gradc.ones(3), gradc.ones(3)) is MISS


def test_numbers_arrays_and_static_values():
    def fn(x, scale, n, mode, a):
        y = x * scale + n + a
        return y.sum() if mode == "sum" else y

    args = (gradc.ones(2), 2.0, 3, "none", np.float32([10, 20]))
    f = compiled(fn, *args)
    assert direct(f, *args).tolist() == [15.0, 25.0]
    assert direct(f, gradc.ones(2), 0.5, -1, "none", np.float32([0, 0])).tolist() == [-0.5, -0.5]
    assert direct(f, gradc.ones(2), 2, 3, "none", args[4]) is MISS
    assert direct(f, gradc.ones(2), 2.0, 1 << 70, "none", args[4]) is MISS
    assert direct(f, gradc.ones(2), 2.0, 3, "sum", args[4]) is MISS
    assert f(gradc.ones(2), 2.0, 3, "sum", args[4]).item() == 40.0


def test_a_tensor_twice_is_declined():
    f = compiled(lambda a, b: a * 10 + b, gradc.ones(2), gradc.zeros(2))
    x = gradc.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert direct(f, x[0], x[1]) is MISS and direct(f, x[0], x[0]) is MISS
    assert f(x[0], x[1]).tolist() == [13.0, 24.0]
    many = [gradc.ones(2) for _ in range(40)]
    g = compiled(lambda *a: sum(a[1:], a[0]), *many)
    assert direct(g, *many).tolist() == [40.0, 40.0]
    assert direct(g, *many[:39], many[7]) is MISS


def test_results_come_in_their_containers():
    x, w = gradc.ones(2), gradc.full((2,), 5.0)

    def fn(x, s):
        y = x * 2
        return {"b": [y, x], "a": (y, None, {"w": w, "k": s}), "z": 3.5}

    f = compiled(fn, x, "text")
    found = direct(f, x, "text")
    assert list(found) == list(fn(x, "text")) and found["b"][0] is found["a"][0]
    assert found["b"][1] is x and found["a"][2]["w"] is w and found["a"][1] is None
    assert found["a"][2]["k"] == "text" and found["z"] == 3.5
    assert found["b"][0].tolist() == [2.0, 2.0]
    empty = compiled(lambda x: (), x)
    assert direct(empty, x) == ()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.scale = 2.0

    def forward(self, x):
        return self.fc(x) * self.scale


def training(keep_grads=False):
    gradc.manual_seed(0)
    model = Net()
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, opt, step


@pytest.mark.parametrize("keep_grads", [False, True])
def test_a_training_step_is_the_same_in_c_and_in_python(keep_grads):
    x, y = gradc.randn(8, 4), gradc.randn(8, 3)

    def run(how):
        config.dispatch = how
        model, opt, step = training()
        f = gradc.compile(step, keep_grads=keep_grads)
        losses = []
        for i in range(8):
            opt.param_groups[0]["lr"] = 0.1 / (i + 1)
            model.scale = 2.0 if i < 5 else 3.0
            losses.append(f(x, y).item())
        grads = [p.grad.tolist() for p in model.parameters()] if keep_grads else None
        return losses, [p.tolist() for p in model.parameters()], grads, len(f._dispatches)

    in_c, in_python = run("c"), run("python")
    assert in_c[:3] == in_python[:3] and in_c[3] >= 1 and in_python[3] == 0
    assert all(a != b for a, b in pairwise(in_c[0]))


def test_grads_are_dropped_kept_and_guarded_as_in_python():
    model, opt, step = training()
    f = gradc.compile(step)
    x, y = gradc.randn(8, 4), gradc.randn(8, 3)
    f(x, y), f(x, y)
    assert direct(f, x, y) is not MISS
    model.fc.weight.grad = gradc.ones(3, 4)
    f(x, y)
    with pytest.raises(GradcError, match="not kept"):
        _ = model.fc.weight.grad
    accumulate = gradc.compile(lambda x: model(x).sum().backward())
    for p in model.parameters():
        p.grad = None
    accumulate(x), accumulate(x), accumulate(x)
    once = model.fc.weight.grad.numpy() / 3
    accumulate(x)
    np.testing.assert_allclose(model.fc.weight.grad.numpy(), once * 4, rtol=1e-5)
    assert opt.param_groups[0]["lr"] == 0.1


def test_writes_are_counted():
    model, _, step = training()
    f = gradc.compile(step)
    x, y = gradc.randn(8, 4), gradc.randn(8, 3)
    f(x, y), f(x, y)
    before = model.fc.weight._version
    assert direct(f, x, y) is not MISS
    assert model.fc.weight._version == before + 1
    saved = model.fc.weight * model.fc.weight
    f(x, y)
    with pytest.raises(GradcError, match="modified"):
        saved.sum().backward()


def test_gradients_through_a_call():
    f = gradc.compile(lambda x, w: (x * w).sum())
    for _ in range(3):
        w = gradc.ones(3, requires_grad=True)
        f(gradc.tensor([1.0, 2.0, 3.0]), w).backward()
        assert w.grad.tolist() == [1.0, 2.0, 3.0]
    assert len(f._dispatches) == 1
    with gradc.no_grad():
        assert direct(f, gradc.ones(3), w) is MISS
        assert not f(gradc.ones(3), w).requires_grad


def test_gradients_of_functions_record_nothing():
    f = gradc.compile(gradc.func.value_and_grad(lambda w: (w * w).sum()))
    for _ in range(3):
        value, g = f(gradc.tensor([1.0, 2.0]))
    assert value.item() == 5.0 and g.tolist() == [2.0, 4.0] and not value.requires_grad
    assert f.last.staged.gradient is None and len(f._dispatches) == 1


SCALE, TABLE, NAMES = 2.0, {"k": 1.0}, [1.0, 2.0]


class Changing:
    offset = 0.0


def test_guards_are_asked(monkeypatch):
    box = Changing()

    def fn(x):
        return x * SCALE + TABLE["k"] + sum(NAMES) + box.offset + len(TABLE)

    f, x = compiled(fn, gradc.zeros(1)), gradc.zeros(1)
    assert direct(f, x).item() == 5.0
    changes = [
        lambda: monkeypatch.setitem(globals(), "SCALE", 3.0),
        lambda: monkeypatch.setitem(TABLE, "k", 4.0),
        lambda: monkeypatch.setitem(TABLE, "new", 4.0),
        lambda: NAMES.append(7.0),
        lambda: setattr(box, "offset", 9.0),
    ]
    for change in changes:
        change()
        assert all(dispatch((x,)) is MISS for dispatch in f._dispatches)
        for _ in range(2):
            assert f(x).item() == fn(x).item()
        assert any(dispatch((x,)) is not MISS for dispatch in f._dispatches)
    NAMES.pop()


def test_an_equal_number_in_another_object_is_followed(monkeypatch):
    f, x = compiled(lambda x: x * SCALE, gradc.ones(1)), gradc.ones(1)
    monkeypatch.setitem(globals(), "SCALE", float("2.0"))
    assert direct(f, x) is MISS
    assert f(x).item() == 2.0 and direct(f, x).item() == 2.0 and f.recompiles() == []


def test_default_dtype_and_thread_count_count():
    x = gradc.ones(2)
    f = compiled(lambda x: x + gradc.zeros(2), x)
    gradc.set_default_dtype(gradc.float64)
    try:
        assert direct(f, x) is MISS and f(x).dtype is gradc.float64
    finally:
        gradc.set_default_dtype(gradc.float32)
    before = gradc.get_num_threads()
    gradc.set_num_threads(before + 1)
    try:
        assert all(dispatch((x,)) is MISS for dispatch in f._dispatches)
        assert f(x).tolist() == [1.0, 1.0]
    finally:
        gradc.set_num_threads(before)


def test_inside_a_trace_it_is_part_of_the_outer_program():
    inner = compiled(lambda x: x + 1, gradc.ones(2))
    outer = gradc.compile(lambda x: inner(x) * 2)
    assert outer(gradc.ones(2)).tolist() == [4.0, 4.0]


def test_errors_are_those_of_the_long_way():
    state = gradc.zeros(3)

    def fn(x, i):
        state.add_(1)
        return x[i]

    f = compiled(fn, gradc.ones(3), gradc.tensor([1]))
    before = state.tolist()
    assert direct(f, gradc.ones(3), gradc.tensor([5])) is MISS
    with pytest.raises(IndexOutOfRange, match="5"):
        f(gradc.ones(3), gradc.tensor([5]))
    assert state.tolist() == before
    f(gradc.ones(3), gradc.tensor([2]))
    assert state.tolist() == [before[0] + 1] * 3


def test_donated_tensors_raise():
    give = gradc.compile(lambda x: x + 1, donate_argnames="x")
    use = compiled(lambda x: x * 2, gradc.ones(3))
    x = gradc.ones(3)
    give(x)
    with pytest.raises(DonatedError):
        use(x)


def test_large_results_are_aligned_and_not_reused_while_a_view_is_left():
    f = compiled(lambda x: x + 1, gradc.zeros(200, 300))
    first, second = direct(f, gradc.zeros(200, 300)), direct(f, gradc.ones(200, 300))
    place = first._data.ctypes.data
    row = first.numpy()[7]
    assert place % 64 == 0 == second._data.ctypes.data % 64
    assert first._data.flags.writeable and first._data.flags.c_contiguous
    assert (first.numpy() == 1).all() and (second.numpy() == 2).all()
    del first
    assert direct(f, gradc.ones(200, 300))._data.ctypes.data != place
    assert (row == 1).all()
    del row
    assert direct(f, gradc.ones(200, 300))._data.ctypes.data == place


def test_work_areas_are_kept_and_given_back():
    a = gradc.randn(150, 150)
    f = compiled(lambda a: (a @ a @ a).sum(), a)
    assert f.memory_analysis().work_bytes > 1 << 14
    expected = f(a).item()
    gradc.release_memory()
    assert direct(f, a).item() == expected
    (area,) = AREAS  # calls through Python use the same
    assert f.last.executable.bind([])([a._data])[0].item() == expected
    assert len(AREAS) == 1 and AREAS[0] is area


def test_threads_share_one_function():
    total = gradc.zeros(1)

    def add(x):
        total.add_(x)
        return x * 2

    f = compiled(add, gradc.ones(1))
    before, wrong = total.item(), []

    def work(value):
        for _ in range(300):
            if f(gradc.tensor([value])).item() != 2 * value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and total.item() == before + 300 * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_calls_on():
    f = compiled(lambda x: x * 2, gradc.ones(2))
    child = os.fork()
    if child == 0:
        os._exit(0 if f(gradc.ones(2)).tolist() == [2.0, 2.0] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_leaked():
    f, x = compiled(lambda x: (x * 2, {"a": x + 1}), gradc.ones(3)), gradc.ones(3)
    other = gradc.ones(4)
    before = sys.getrefcount(x._data), sys.getrefcount(x), sys.getrefcount(other)
    for _ in range(100):
        direct(f, x), direct(f, other)
    assert (sys.getrefcount(x._data), sys.getrefcount(x), sys.getrefcount(other)) == before
    found = direct(f, x)
    gone = weakref.ref(found[0]), weakref.ref(found[0]._storage)
    del found
    assert [r() for r in gone] == [None, None]


def test_a_function_that_is_dropped_is_collected():
    f = compiled(lambda x: x * 2, gradc.ones(3))
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_it_is_not_compiled_before_it_pays(tmp_path):
    config.dispatch = "auto"
    f, x = gradc.compile(lambda x: x * 2), gradc.ones(2)
    for _ in range(native.PATIENCE):
        f(x)
    assert f._dispatches == () and native._extension.module is None
    f(x)
    assert len(f._dispatches) == 1 and direct(f, x).tolist() == [2.0, 2.0]
    native._extension.module = None
    g = gradc.compile(lambda x: x * 3)
    g(x), g(x)
    assert len(g._dispatches) == 1, "what is in the cache is used at once"


def test_another_number_of_threads():
    x = gradc.ones(2)
    f = compiled(lambda x: x * 2, x)
    (before,) = f._dispatches
    threads = gradc.get_num_threads()
    gradc.set_num_threads(threads + 1)
    try:
        assert before((x,)) is MISS
        for _ in range(native.PATIENCE + 1):
            f(x)
        assert direct(f, x).tolist() == [2.0, 2.0]
    finally:
        gradc.set_num_threads(threads)


def test_python_is_enough():
    config.dispatch = "python"
    f = gradc.compile(lambda x: x * 2)
    for _ in range(native.PATIENCE + 2):
        assert f(gradc.ones(2)).tolist() == [2.0, 2.0]
    assert f._dispatches == ()


def test_without_a_compiler_or_headers_calls_go_through_python(monkeypatch):
    def none(*_):
        raise CompilerNotFound("none")

    f = gradc.compile(lambda x: x * 2)
    f(gradc.ones(2))
    monkeypatch.setattr(native, "find_compiler", none)
    assert f(gradc.ones(2)).tolist() == [2.0, 2.0]
    assert f._dispatches == () and native._extension.given_up
    monkeypatch.setattr(native, "_extension", native._Extension())
    monkeypatch.setattr(native, "_headers", lambda: ("nowhere", "nowhere"))
    g = gradc.compile(lambda x: x * 2)
    g(gradc.ones(2)), g(gradc.ones(2))
    assert g._dispatches == () and native._extension.given_up
