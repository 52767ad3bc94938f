"""Convolution, pooling and normalisation layers: names, initial values, state, how they print."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.errors import ArgumentError, ShapeError


def test_state_dict_names_and_shapes():
    def shapes(module):
        return {k: tuple(v.shape) for k, v in module.state_dict().items()}

    assert shapes(nn.Conv2d(4, 6, (3, 2), groups=2)) == {"weight": (6, 2, 3, 2), "bias": (6,)}
    assert shapes(nn.Conv1d(3, 5, 4, bias=False)) == {"weight": (5, 3, 4)}
    assert shapes(nn.ConvTranspose2d(4, 6, 3, groups=2)) == {"weight": (4, 3, 3, 3), "bias": (6,)}
    statistics = {"running_mean": (3,), "running_var": (3,), "num_batches_tracked": ()}
    assert shapes(nn.BatchNorm2d(3)) == {"weight": (3,), "bias": (3,), **statistics}
    assert shapes(nn.BatchNorm1d(3, affine=False)) == statistics
    assert list(shapes(nn.BatchNorm1d(3, track_running_stats=False))) == ["weight", "bias"]


def test_initial_values_are_torchs():
    gradc.manual_seed(0)
    layer = nn.Conv2d(8, 64, 3)
    bound = 1 / np.sqrt(8 * 9)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
    assert abs(float(layer.weight.detach().numpy().std()) - bound / np.sqrt(3)) < 0.02 * bound


# As torch 2.13 prints them, but for BatchNorm's new `bias=True`.
PRINTED = {
    "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=same, bias=False)":
        lambda: nn.Conv2d(3, 4, 3, padding="same", bias=False),
    "Conv2d(3, 4, kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), dilation=(2, 2))":
        lambda: nn.Conv2d(3, 4, (3, 2), 2, 1, 2),
    "Conv1d(1, 2, kernel_size=(3,), stride=(1,))": lambda: nn.Conv1d(1, 2, 3),
    "ConvTranspose2d(3, 4, kernel_size=(2, 2), stride=(1, 1))": lambda: nn.ConvTranspose2d(3, 4, 2),
    "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)":
        lambda: nn.MaxPool2d(2),
    "AvgPool2d(kernel_size=2, stride=2, padding=0)": lambda: nn.AvgPool2d(2),
    "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))": lambda: nn.AvgPool1d(2),
    "AdaptiveAvgPool2d(output_size=3)": lambda: nn.AdaptiveAvgPool2d(3),
}  # fmt: skip


@pytest.mark.parametrize("text", PRINTED)
def test_layers_print_as_in_torch(text):
    assert repr(PRINTED[text]()) == text


def test_layers_are_their_functions():
    x = gradc.randn(2, 4, 6, 6)
    conv = nn.Conv2d(4, 6, 3, 2, 1, groups=2)
    expected = F.conv2d(x, conv.weight, conv.bias, 2, 1, 1, 2)
    assert conv(x).tolist() == expected.tolist()
    back = nn.ConvTranspose2d(4, 2, 3, 2, 1, 1)
    expected = F.conv_transpose2d(x, back.weight, back.bias, 2, 1, 1)
    assert back(x).tolist() == expected.tolist()
    assert nn.MaxPool2d(3, 1, 1)(x).tolist() == F.max_pool2d(x, 3, 1, 1).tolist()
    assert nn.AvgPool2d(3, 1, 1)(x).tolist() == F.avg_pool2d(x, 3, 1, 1).tolist()
    assert nn.MaxPool1d(2)(x[0]).tolist() == F.max_pool1d(x[0], 2).tolist()
    values, indices = nn.MaxPool2d(2, return_indices=True)(x)
    flat = x.reshape(2, 4, 36).numpy()
    found = np.take_along_axis(flat, indices.numpy().reshape(2, 4, 9), 2)
    np.testing.assert_array_equal(found.reshape(2, 4, 3, 3), values.numpy())
    assert nn.AdaptiveAvgPool2d((None, 2))(x).shape == (2, 4, 6, 2)


MISTAKES = {
    "in_channels must be divisible by groups": lambda: nn.Conv2d(3, 4, 3, groups=2),
    "out_channels must be divisible by groups": lambda: nn.Conv2d(4, 3, 3, groups=2),
    "groups must be a positive integer": lambda: nn.Conv2d(4, 4, 3, groups=0),
    "Invalid padding string 'full'": lambda: nn.Conv2d(4, 4, 3, padding="full"),
    "not supported for strided convolutions": lambda: nn.Conv2d(4, 4, 3, 2, padding="same"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_layers_that_cannot_be(words):
    with pytest.raises(ArgumentError, match=words) as caught:
        MISTAKES[words]()
    assert "test_convolution.py:" in str(caught.value)


def test_whole_channels_are_dropped():
    gradc.manual_seed(3)
    x = gradc.ones(16, 8, 3, 3)
    dropped = nn.Dropout2d(0.5)(x).numpy()
    per_channel = dropped.reshape(16 * 8, 9)
    assert (per_channel == per_channel[:, :1]).all()
    assert set(np.unique(per_channel)) == {0.0, 2.0}
    assert nn.Dropout2d(0.5).eval()(x) is x
    assert nn.Dropout1d(0.5)(gradc.ones(4, 5, 6)).shape == (4, 5, 6)
    with pytest.raises(ArgumentError, match="expected 3 or 4 dimensions"):
        nn.Dropout2d(0.5)(gradc.ones(2, 3))


# ---- batch normalisation ------------------------------------------------------------------------


def test_running_statistics_follow_the_batches():
    layer = nn.BatchNorm2d(2, momentum=0.25)
    mean, variance = np.zeros(2), np.ones(2)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(seed, 2, (3, 2, 4, 5)).astype(np.float32)
        layer(gradc.tensor(x))
        mean = 0.75 * mean + 0.25 * x.mean((0, 2, 3))
        variance = 0.75 * variance + 0.25 * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 3
    layer.eval()
    x = gradc.randn(2, 2, 3, 3)
    expected = (x.numpy() - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert layer.num_batches_tracked.item() == 0


def test_without_momentum_it_is_the_plain_average():
    layer = nn.BatchNorm1d(3, momentum=None)
    xs = [np.random.default_rng(n).normal(n, 1, (5, 3)).astype(np.float32) for n in range(4)]
    for x in xs:
        layer(gradc.tensor(x))
    expected = np.mean([x.mean(0) for x in xs], 0)
    np.testing.assert_allclose(layer.running_mean.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["c", "numpy", "jax"])
def test_statistics_are_state_of_a_compiled_step(backend):
    if backend == "jax":
        pytest.importorskip("jax")

    def network():
        gradc.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 3),
        )  # fmt: skip

    def trained(compile):
        model = network()
        opt = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss

        run = gradc.compile(step, backend=backend) if compile else step
        for seed in range(3):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(6, 1, 4, 4)).astype(np.float32)
            run(gradc.tensor(x), gradc.tensor(rng.integers(0, 3, 6)))
        model.eval()
        found = gradc.compile(model, backend=backend) if compile else model
        return model.state_dict(), found(gradc.ones(2, 1, 4, 4)).detach().numpy()

    (expected, y0), (found, y1) = trained(False), trained(True)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name].detach().numpy(), value.detach().numpy(), rtol=1e-3, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(y1, y0, rtol=1e-3, atol=1e-4)


def test_what_does_not_fit_a_normalisation():
    with pytest.raises(ShapeError, match=r"expected 4D input \(got 2D input\)") as caught:
        nn.BatchNorm2d(3)(gradc.ones(2, 3))
    assert "test_convolution.py:" in str(caught.value)
    with pytest.raises(ShapeError, match="expected 2D or 3D input"):
        nn.BatchNorm1d(3)(gradc.ones(2, 3, 2, 2))
    with pytest.raises(ShapeError, match="running_mean should contain 4 elements not 3"):
        nn.BatchNorm2d(3)(gradc.ones(2, 4, 2, 2))
