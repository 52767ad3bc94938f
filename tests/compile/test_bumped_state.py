"""State that only the structure counter tells of: registries, optimizer state, hooks, flags."""

from __future__ import annotations

import pytest

import gradc
from gradc import nn, optim
from gradc.errors import CaptureError
from gradc.tracer.structure import STRUCTURE, StructureDict, StructureList


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(gradc.ones(1))

    def forward(self, x):
        return (x * self.w).detach()


def weight():
    return gradc.ones(1, requires_grad=True)


def outcome(scenario, wrap):
    steps = scenario()
    f = wrap(next(steps))
    f(gradc.ones(1))
    next(steps, None)
    found = f(gradc.ones(1))
    return found.tolist() if isinstance(found, gradc.Tensor) else found


def a_parameter_in_the_registry():
    net = Gain()
    yield net
    net._parameters["w"] = nn.Parameter(gradc.full((1,), 5.0))


def a_hook_of_a_tensor():
    w = weight()

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    yield f
    w.register_hook(lambda g: g * 5)


def a_tensor_that_comes_to_need_a_gradient():
    b, w = gradc.zeros(1), weight()
    yield lambda x: (x * b).requires_grad
    b.add_(w)


@pytest.mark.parametrize(
    "scenario",
    [a_parameter_in_the_registry, a_hook_of_a_tensor, a_tensor_that_comes_to_need_a_gradient],
    ids=lambda s: s.__name__,
)
def test_the_second_call_sees_the_change(scenario):
    expected = outcome(scenario, lambda fn: fn)
    assert outcome(scenario, lambda fn: gradc.compile(fn, backend="numpy")) == expected


def test_a_list_that_is_passed_and_appended_to_is_an_error():
    items = [gradc.ones(1)]

    def f(items):
        items.append(items[0] * 2)
        return items[0]

    with pytest.raises(CaptureError, match="passed"):
        gradc.compile(f, backend="numpy")(items)
    assert len(items) == 1


def test_the_state_of_an_optimizer_needs_no_check_of_its_own():
    w = weight()
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5)
    before = STRUCTURE.version
    optimizer.param_groups[0]["lr"] = 0.5
    assert STRUCTURE.version == before
    optimizer.state[w]["momentum_buffer"] = gradc.ones(1)
    assert STRUCTURE.version > before


def test_containers_of_modules_and_optimizers_bump_the_counter():
    d, items = StructureDict(a=1.0), StructureList([1])

    def bumps(change):
        before = STRUCTURE.version
        change()
        return STRUCTURE.version != before

    assert not bumps(lambda: d.update(a=2.0)) and d == {"a": 2.0}
    assert bumps(lambda: d.update(a=None)) and bumps(lambda: d.update(b=1))
    assert bumps(lambda: d.pop("b")) and bumps(lambda: d.setdefault("c", [])) and bumps(d.clear)
    assert bumps(lambda: items.append(2)) and bumps(lambda: items.__setitem__(0, 5))
    items += [3]
    assert items == [5, 2, 3] and isinstance(items, StructureList)
    assert bumps(items.reverse) and bumps(items.pop) and items == [3, 2]
