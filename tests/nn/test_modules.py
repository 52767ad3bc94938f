"""Modules: registration, state, modes, printing, and layers against their functions."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn
from gradc.data import DataLoader, TensorDataset, random_split
from gradc.errors import ArgumentError, IndexOutOfRange, ShapeError, StateError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.head = nn.Linear(3, 2, bias=False)
        self.register_buffer("count", gradc.zeros(()))

    def forward(self, x):
        return self.head(self.body(x))


def test_names_of_parameters_and_buffers():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["body.0.weight", "body.0.bias", "head.weight"]
    assert [n for n, _ in net.named_buffers()] == ["count"]
    assert list(net.state_dict()) == ["count", "body.0.weight", "body.0.bias", "head.weight"]
    assert all(p.requires_grad and p.is_leaf for p in net.parameters())


def test_shared_parameters_count_once():
    net = Net()
    net.again = net.head
    assert len(list(net.parameters())) == 3


def test_forward_and_gradients():
    net, x = Net(), gradc.randn(5, 4)
    w0, b0 = net.body[0].weight, net.body[0].bias
    expected = np.maximum(x.numpy() @ w0.detach().numpy().T + b0.detach().numpy(), 0)
    expected = expected @ net.head.weight.detach().numpy().T
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_dict_round_trip_and_its_mistakes(tmp_path):
    a, b = Net(), Net()
    gradc.save(a.state_dict(), tmp_path / "m.safetensors")
    result = b.load_state_dict(gradc.load(tmp_path / "m.safetensors"))
    assert repr(result) == "<All keys matched successfully>"
    for (_, p), (_, q) in zip(a.named_parameters(), b.named_parameters()):
        assert (p.detach().numpy() == q.detach().numpy()).all()
    before = b.head.weight.tolist()
    wrong = {**a.state_dict(), "head.weight": gradc.zeros(7, 7)}
    with pytest.raises(StateError, match="does not fit") as caught:
        b.load_state_dict(wrong)
    assert "head.weight" in str(caught.value)
    assert b.head.weight.tolist() == before
    with pytest.raises(StateError, match="does not fit"):
        b.load_state_dict({})


def test_save_and_load_keep_structure(tmp_path):
    path = tmp_path / "s.safetensors"
    state = {"a": [gradc.ones(2), (1, "x", None)], 3: {"b": 2.5, "c": True}}
    gradc.save(state, path)
    found = gradc.load(path)
    assert found["a"][0].tolist() == [1.0, 1.0]
    assert found["a"][1] == (1, "x", None)
    assert found[3] == {"b": 2.5, "c": True}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArgumentError, match="no whole safetensors file"):
        gradc.load(path)


def test_modes():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
    assert net.training and net[0].training
    net.eval()
    assert not net[0].training
    x = gradc.ones(3, 2)
    assert net[0](x).tolist() == x.tolist()


def test_dropout_scales_what_it_keeps():
    gradc.manual_seed(3)
    y = nn.Dropout(0.25)(gradc.ones(4000))
    np.testing.assert_allclose(np.unique(y.numpy()), [0.0, 1 / 0.75], rtol=1e-6)
    assert abs(float((y == 0).float().mean()) - 0.25) < 0.03


def test_printing_is_torchs():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (head): Linear(in_features=3, out_features=2, bias=False)\n"
        ")"
    )


def test_embedding_and_layer_norm():
    emb = nn.Embedding(5, 3, padding_idx=0)
    out = emb(gradc.tensor([[1, 0], [4, 1]]))
    assert out.shape == (2, 2, 3)
    out.sum().backward()
    assert emb.weight.grad.sum(1).tolist() == [0.0, 6.0, 0.0, 0.0, 3.0]
    with pytest.raises(IndexOutOfRange, match="5"):
        emb(gradc.tensor([5]))
    norm = nn.LayerNorm(4)
    x = gradc.randn(3, 4)
    assert norm(x).tolist() == F.layer_norm(x, (4,), norm.weight, norm.bias).tolist()
    with pytest.raises(ShapeError):
        norm(gradc.ones(3, 5))


def test_hooks():
    net, seen = nn.Linear(2, 2), []
    handle = net.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    net(gradc.ones(1, 2))
    handle.remove()
    net(gradc.ones(1, 2))
    assert seen == [(1, 2)]


def test_module_mistakes():
    class Early(nn.Module):
        def __init__(self):
            self.fc = 1

    with pytest.raises(ArgumentError, match="super"):
        Early()
    net = Net()
    with pytest.raises(AttributeError, match="nothing"):
        _ = net.nothing
    with pytest.raises(TypeError, match="cannot assign"):
        net.head.weight = 3


def test_data_loader():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    batches = list(DataLoader(TensorDataset(x, y), batch_size=4))
    assert [len(b[0]) for b in batches] == [4, 4, 2]
    gradc.manual_seed(0)
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True, drop_last=True)
    order = [int(i) for _, b in loader for i in b]
    assert len(loader) == 2 and len(set(order)) == 8
    assert order != [int(i) for _, b in loader for i in b]  # another order in the next pass
    for bx, by in loader:
        assert (bx.numpy()[:, 0] == 2 * by.numpy()).all()
    parts = random_split(TensorDataset(x, y), [7, 3])
    assert sorted(int(p[i][1]) for p in parts for i in range(len(p))) == list(range(10))
    with pytest.raises(ArgumentError, match="Size mismatch"):
        TensorDataset(x, y[:3])


ACTIVATIONS = {
    nn.ReLU6: F.relu6, nn.SELU: F.selu, nn.CELU: F.celu, nn.Hardsigmoid: F.hardsigmoid,
    nn.Hardswish: F.hardswish, nn.Mish: F.mish, nn.Softsign: F.softsign,
    nn.Tanhshrink: F.tanhshrink, nn.Hardtanh: F.hardtanh, nn.Softshrink: F.softshrink,
    nn.Hardshrink: F.hardshrink, nn.GLU: F.glu,
}  # fmt: skip


@pytest.mark.parametrize("module", ACTIVATIONS, ids=lambda m: m.__name__)
def test_activations_are_their_functions(module):
    x = gradc.linspace(-7, 7, 8)
    assert module()(x).tolist() == ACTIVATIONS[module](x).tolist()


def test_activations_with_parameters():
    x = gradc.tensor([[-2.0, 2.0], [4.0, -4.0]])
    assert nn.Threshold(1.0, 9.0)(x).tolist() == [[9.0, 2.0], [4.0, 9.0]]
    prelu = nn.PReLU(2)
    prelu.weight.data[1] = 0.5
    assert prelu(x).tolist() == [[-0.5, 2.0], [4.0, -2.0]]
    prelu(x).sum().backward()
    assert prelu.weight.grad.tolist() == [-2.0, -4.0]
    assert repr(nn.ReLU(inplace=True)) == "ReLU(inplace=True)" and repr(nn.ReLU()) == "ReLU()"


@pytest.mark.parametrize("compiled", [False, True])
def test_activations_in_place(compiled):
    def f(x):
        h = x * 1.0
        out = nn.ReLU(inplace=True)(h)
        F.leaky_relu(h, 0.5, inplace=True)
        (g,) = gradc.autograd.grad((h * h).sum(), x)
        return h, out, g

    x = gradc.tensor([-1.0, 3.0], requires_grad=True)
    h, out, g = (gradc.compile(f) if compiled else f)(x)
    assert h.tolist() == out.tolist() == [0.0, 3.0] and g.tolist() == [0.0, 6.0]
