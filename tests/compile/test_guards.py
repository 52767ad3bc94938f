"""Watch and Guards alone: what is found, named, explained, put back."""

from __future__ import annotations

import cProfile
import gc
import importlib
import sys
import types

import numpy as np
import pytest

import gradc
from gradc import nn, optim
from gradc.errors import CaptureError
from gradc.runtime.checks import LARGE, same_value
from gradc.runtime.guards import Watch
from gradc.runtime.mentions import is_library_file, mentions
from gradc.tracer.structure import STRUCTURE

SCALE = 2.0


def guards_of(fn, *arguments):
    watch = Watch(fn)
    with watch:
        fn(*arguments)
    return watch.finish([], [])


def test_a_global_is_explained():
    global SCALE
    guards = guards_of(lambda: SCALE)
    assert guards.holds()
    SCALE = 3.0
    try:
        assert not guards.holds()
        assert guards.explain() == "global `SCALE` is 3.0 and was 2.0"
    finally:
        SCALE = 2.0
    assert guards.holds()


def test_a_closure_variable_is_explained():
    model = object()
    guards = guards_of(lambda: model)
    model = object()
    assert guards.explain() == "closure variable `model` is another object"


def test_items_are_explained():
    layers, config = [1, 2], {"lr": 0.1}
    guards = guards_of(lambda: (layers, config))
    layers.append(3)
    assert guards.explain() == "`layers` has 3 items and had 2"
    layers.pop()
    config["lr"] = 0.2
    assert guards.explain() == "`config['lr']` is 0.2 and was 0.1"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (0.0, -0.0, False), (float("nan"), float("nan"), True), (1, True, False), (1, 1.0, False),
        (10**9, int("1000000000"), True), ("ab", "".join(["a", "b"]), True), (None, 0, False),
        (1j, 1j, True), (complex(0.0, -0.0), 0j, False), (b"a", "a", False),
    ],
)  # fmt: skip
def test_plain_values_compare_by_type_and_value(before, after, same):
    assert same_value(before, after) is same
    holder = types.SimpleNamespace(value=before)
    guards = guards_of(lambda: holder.value)
    holder.value = after
    assert guards.holds() is same
    assert guards.holds() is same


def test_a_tensor_is_named_by_its_path():
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    holder = types.SimpleNamespace(table={"a": [gradc.ones(1)]})
    watch = Watch(lambda: (model, optimizer, holder.table))
    assert watch.name_of(model[0].weight) == "model.0.weight"
    assert watch.name_of(model[0].weight.detach()) == "model.0.weight"
    state = optimizer.state[model[0].weight]
    assert watch.name_of(state["momentum_buffer"]) == "model.0.weight.momentum_buffer"
    assert watch.name_of(holder.table["a"][0]) == "holder.table.a[0]"
    assert watch.name_of(gradc.ones(1)) is None


def test_paths_are_kept():
    w = gradc.ones(1)
    assert guards_of(lambda: w).paths[id(w)] == "w"


def test_a_method_names_its_object_self():
    class Trainer:
        def __init__(self):
            self.scale = gradc.ones(1)

        def step(self):
            return self.scale

    trainer = Trainer()
    assert Watch(trainer.step).name_of(trainer.scale) == "self.scale"


def test_the_structure_counter_alone_guards_modules():
    model = nn.Linear(2, 2)
    guards = guards_of(lambda: model.weight)
    STRUCTURE.bump()
    assert guards.holds()
    model.weight = nn.Parameter(gradc.ones(2, 2))
    assert not guards.holds() and not guards.holds()
    assert guards.explain() == "`model.weight` is another object"


def test_modes_of_a_module_alternate():
    model = nn.Dropout(0.5)
    guards = guards_of(lambda: model(gradc.ones(1)))
    for _ in range(2):
        model.eval()
        assert not guards.holds()
        assert guards.explain() == "`model.training` is False and was True"
        model.train()
        assert guards.holds()


# -- what the trace changes ---------------------------------------------------------------------


def change_attribute(o):
    o.t += 1


def make_attribute(o):
    o.fresh = 1


def delete_attribute(o):
    del o.t


def change_item(o):
    o.d["k"] = 2


def append_item(o):
    o.items.append(1)


def add_member(o):
    o.members.add(1)


def change_global(o):
    global SCALE
    SCALE = 9.0


def change_class(o):
    type(o).shared = 5


def change_function(o):
    change_function.calls = 1


class Owner:
    shared = 4

    def __init__(self):
        self.t = 0
        self.d = {"k": 1}
        self.items = []
        self.members = set()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (change_attribute, "`o.t` changed from 0 to 1"),
        (make_attribute, "`o.fresh` was made"),
        (delete_attribute, "`o.t` was deleted"),
        (change_item, "`o.d['k']` changed from 1 to 2"),
        (append_item, "`o.items` had 0 items and got 1"),
        (add_member, "`o.members` had 0 items and got 1"),
        (change_global, "global `SCALE` changed from 2.0 to 9.0"),
        (change_class, "`Owner.shared` changed from 4 to 5"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_change_by_the_trace_is_put_back(body, text, fails):
    o = Owner()

    def step():
        body(o)
        if fails:
            raise KeyError

    watch = Watch(step)
    if fails:
        with pytest.raises(KeyError), watch:
            step()
    else:
        with watch:
            step()
        with pytest.raises(CaptureError, match="hint") as caught:
            watch.finish([], [])
        assert str(caught.value).startswith(f"{text} while `step` was traced")
    assert (o.t, o.d, o.items, o.members) == (0, {"k": 1}, [], set())
    assert not hasattr(o, "fresh") and SCALE == 2.0 and Owner.shared == 4
    assert sys.getprofile() is None


def test_a_closure_variable_is_put_back():
    count = 0

    def step():
        nonlocal count
        count += 1

    watch = Watch(step)
    with watch:
        step()
    with pytest.raises(CaptureError, match="closure variable `count` changed from 0 to 1"):
        watch.finish([], [])
    assert count == 0


def test_the_line_of_the_change_is_told():
    o = Owner()

    def step():
        change_attribute(o)

    watch = Watch(step)
    with watch:
        step()
    with pytest.raises(CaptureError) as caught:
        watch.finish([], [])
    assert "o.t += 1" in str(caught.value)


def test_a_tensor_put_into_an_attribute_is_told_apart():
    o = Owner()

    def step():
        o.t = gradc.ones(1)

    watch = Watch(step)
    with watch:
        step()
    with pytest.raises(CaptureError, match="copy_"):
        watch.finish([], [])


# -- the hook -------------------------------------------------------------------------------------


def test_a_profile_function_goes_on():
    seen = []

    def profile(frame, event, argument):
        seen.append(frame.f_code.co_name)

    def step():
        return None

    sys.setprofile(profile)
    try:
        guards_of(step)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert "step" in seen


def test_a_profiler_goes_on():
    profiler = cProfile.Profile()
    profiler.enable()
    guards_of(lambda: None)
    gradc.ones(1)
    profiler.disable()
    names = {entry.code.co_name for entry in profiler.getstats() if hasattr(entry.code, "co_name")}
    assert "ones" in names


def test_code_that_nothing_leads_to_is_found_when_it_runs():
    scale = [2.0]

    def hidden():
        return scale[0]

    watch = Watch(lambda: None)
    with watch:
        hidden()
    guards = watch.finish([], [])
    scale[0] = 3.0
    assert not guards.holds()


# -- arrays and limits ----------------------------------------------------------------------------


def test_a_large_list_is_watched_by_its_length():
    items = [0.0] * (LARGE + 1)
    guards = guards_of(lambda: items)
    items[5] = 1.0
    assert guards.holds()
    items.pop()
    assert not guards.holds()


def test_an_array_held_elsewhere_is_an_error_and_a_temporary_is_not():
    def trace(make):
        f = gradc.compile(lambda x: x * make(), backend="numpy")
        return f(gradc.ones(2)).tolist()

    assert trace(lambda: np.full(2, 3.0, np.float32)) == [3.0, 3.0]
    kept = {}
    hidden = types.MethodType(lambda self: kept["a"], object())
    kept["a"] = np.full(2, 4.0, np.float32)
    assert trace(hidden) == [4.0, 4.0]


def test_the_contents_of_an_array_are_compared_only_if_python_may_read_them():
    read, operand = np.ones(1), np.ones(1, np.float32)
    f = gradc.compile(lambda x: x * read[0] + operand, backend="numpy")
    f(gradc.ones(1))
    operand[0] = 5
    assert f(gradc.ones(1)).tolist() == [6.0] and f.recompiles() == []
    read[0] = 2
    assert f(gradc.ones(1)).tolist() == [7.0] and len(f.recompiles()) == 1


# -- names in code --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "attributes", "reflective"),
    [
        (lambda o: getattr(o, "k"), {"k"}, False),  # noqa: B009
        (lambda o: getattr(o.a[0], "k", None), {"a", "k"}, False),
        (lambda o: getattr(o, "k" + o.s), {"s"}, True),
        (lambda o, n: getattr(o, n), set(), True),
        (lambda o, d: getattr(o, "k", d + 1), {"k"}, False),
        (lambda o: hasattr(o, "k") and o.j, {"k", "j"}, False),
        (lambda o: vars(o), set(), True),
        (lambda o: [x.k for x in o], {"k"}, False),
    ],
)  # fmt: skip
def test_attributes_that_code_mentions(function, attributes, reflective):
    found = mentions(function.__code__)
    assert found.attributes == attributes and found.reflective is reflective


COLLECTIONS = 0


def count_collections(phase, info):
    global COLLECTIONS
    COLLECTIONS += 1


def test_a_garbage_collection_during_the_trace_is_not_watched():
    gc.callbacks.append(count_collections)
    try:

        @gradc.compile(backend="numpy")
        def f(x):
            gc.collect()
            return x * 2

        before = COLLECTIONS
        f(gradc.ones(2))
        assert before < COLLECTIONS
        gc.collect()
        f(gradc.ones(2))
        assert f.recompiles() == []
    finally:
        gc.callbacks.remove(count_collections)


@pytest.mark.parametrize("package", ["hypothesis", "pytest", "numpy", "cffi"])
def test_installed_packages_are_not_the_users_program(package):
    file = importlib.import_module(package).__file__
    assert is_library_file(file)
    assert not is_library_file(__file__)
