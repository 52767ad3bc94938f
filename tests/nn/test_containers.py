"""Containers, attribute writes and scope names of modules."""

from __future__ import annotations

import copy

import pytest

import gradc
from gradc import nn
from gradc.errors import ArgumentError, ArgumentTypeError, GradientError, IndexOutOfRange


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(
            nn.Linear(2, 3), nn.GELU(), nn.GELU(approximate="tanh"), nn.Flatten(),
            nn.Softmax(dim=1), nn.LogSoftmax(dim=-1),
        )  # fmt: skip
        self.b = nn.ModuleList(
            [nn.Embedding(3, 4, padding_idx=1), nn.LayerNorm((2, 4), bias=False), nn.Identity()]
        )
        self.c = nn.ModuleDict({"k": nn.LeakyReLU(0.2), "m": nn.Softplus(), "e": nn.ELU()})
        self.loss = nn.CrossEntropyLoss()


# What torch 2.13 prints for the same module.
PRINTED = """Everything(
  (a): Sequential(
    (0): Linear(in_features=2, out_features=3, bias=True)
    (1): GELU(approximate='none')
    (2): GELU(approximate='tanh')
    (3): Flatten(start_dim=1, end_dim=-1)
    (4): Softmax(dim=1)
    (5): LogSoftmax(dim=-1)
  )
  (b): ModuleList(
    (0): Embedding(3, 4, padding_idx=1)
    (1): LayerNorm((2, 4), eps=1e-05, elementwise_affine=True, bias=False)
    (2): Identity()
  )
  (c): ModuleDict(
    (k): LeakyReLU(negative_slope=0.2)
    (m): Softplus(beta=1.0, threshold=20.0)
    (e): ELU(alpha=1.0)
  )
  (loss): CrossEntropyLoss()
)"""


def test_printing_is_torchs():
    assert repr(Everything()) == PRINTED


def test_a_replaced_part_keeps_its_place():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0] = nn.Linear(2, 2, bias=False)
    assert list(net.state_dict()) == ["0.weight", "1.weight", "1.bias"]
    net[1].weight = nn.Parameter(gradc.ones(3, 2))
    assert [n for n, _ in net[1].named_parameters()] == ["weight", "bias"]
    net[1].bias = None
    assert list(net.state_dict()) == ["0.weight", "1.weight"]
    assert net(gradc.ones(1, 2)).shape == (1, 3)


def test_sequential_changes_like_a_list():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert list(net.insert(1, c)) == [a, c, b]
    assert net.pop(0) is a and list(net) == [c, b]
    assert list(net.extend([a])) == [c, b, a] and len(net) == 3
    del net[0]
    assert list(net) == [b, a] and list(net._modules) == ["0", "1"]
    assert net[-1] is a and list(net[:1]) == [b]
    with pytest.raises(IndexOutOfRange, match="size 2"):
        net[2]


def test_sequential_with_names():
    net = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.ReLU()})
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert net.first is net[0]


def test_module_lists_and_dicts():
    items = nn.ModuleList([nn.Linear(1, 1)]) + nn.ModuleList([nn.Linear(1, 2)])
    assert [n for n, _ in items.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    names = nn.ModuleDict({"a": nn.ReLU()})
    names["b"] = nn.Tanh()
    del names["a"]
    assert list(names) == ["b"] and "a" not in names
    params = nn.ParameterList([gradc.zeros(2)]).append(gradc.ones(1))
    params[0] = gradc.ones(3)
    assert [n for n, _ in params.named_parameters()] == ["0", "1"]
    assert params[0].shape == (3,) and len(params[:1]) == 1


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_a_compiled_function_sees_changed_containers(backend):
    net = nn.Sequential(nn.Identity(), nn.Identity())

    @gradc.compile(backend=backend)
    def f(x):
        return net(x)

    x = gradc.tensor([-1.0, 2.0])
    assert f(x).tolist() == [-1.0, 2.0]
    net[1] = nn.ReLU()
    assert f(x).tolist() == [0.0, 2.0]
    net.pop()
    assert f(x).tolist() == [-1.0, 2.0]
    net.insert(0, nn.ReLU())
    assert f(x).tolist() == [0.0, 2.0]


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(gradc.ones(1))

    def forward(self, x):
        return x * self.factor


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(Scale(), Scale())])
        self.blocks.append(Scale())
        self.head = Scale()

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_scopes_are_paths():
    net = Stack()
    graph = gradc.compile(lambda x: net(x)).trace(gradc.ones(1)).graph
    scopes = [".".join(e.scope) for e in graph.eqns if e.prim.name == "mul"]
    assert scopes == ["Stack.blocks.0.0", "Stack.blocks.0.1", "Stack.blocks.1", "Stack.head"]


def test_a_deep_copy_shares_nothing():
    net = Stack()
    other = copy.deepcopy(net)
    with gradc.no_grad():
        other.head.factor.fill_(5.0)
    assert net.head.factor.item() == 1.0
    assert isinstance(other.head.factor, nn.Parameter) and other.head.factor.requires_grad
    assert repr(other) == repr(net)


def test_train_and_eval_reach_overridden_methods():
    class Frozen(nn.Dropout):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(Frozen(), nn.Dropout()).train()
    assert not net[0].training and net[1].training


def test_properties_of_modules_work():
    class Net(nn.Module):
        width = 3

        @property
        def size(self):
            return self.width

        @size.setter
        def size(self, value):
            self.width = value

    net = Net()
    net.size = 5
    assert net.width == 5


def test_state_dicts_with_prefix_and_from_numpy():
    net = nn.Linear(2, 1)
    assert list(net.state_dict(prefix="m.")) == ["m.weight", "m.bias"]
    assert net.state_dict(keep_vars=True)["weight"] is net.weight
    arrays = {name: t.numpy() + 1 for name, t in net.state_dict().items()}
    net.load_state_dict(arrays)
    assert net.weight.tolist() == arrays["weight"].tolist()
    assert net.get_parameter("bias") is net.bias


def test_to_another_dtype_takes_gradients_along():
    net = nn.Linear(2, 1)
    net(gradc.ones(1, 2)).sum().backward()
    net.double()
    assert net.weight.dtype is gradc.float64 and net.weight.grad.dtype is gradc.float64
    assert net.float().weight.dtype is gradc.float32


def test_mistakes_are_errors():
    net = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ArgumentTypeError, match="as module '0'"):
        net[0] = 3
    with pytest.raises(ArgumentTypeError, match="as parameter 'q'"):
        net.register_parameter("q", gradc.ones(1))
    with pytest.raises(ArgumentTypeError, match="as buffer 'q'"):
        net.register_buffer("q", 3)
    with pytest.raises(ArgumentError, match="already exists"):
        net[0].register_buffer("weight", gradc.ones(1))
    with pytest.raises(ArgumentError, match="has a dot"):
        net.add_module("a.b", nn.ReLU())
    with pytest.raises(GradientError):
        nn.Parameter(gradc.ones(2, dtype=gradc.int64))
    with pytest.raises(ArgumentError, match="padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)
