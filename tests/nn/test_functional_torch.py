"""Functions and losses against torch: values and gradients, from a table torch 2.13 made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F

TABLE = json.loads((Path(__file__).parent / "torch_functional.json").read_text())
T = gradc.tensor(TABLE["target"])
W = gradc.tensor(np.array(TABLE["weight"]))
Y = gradc.tensor(np.array(TABLE["y"]))
P = gradc.tensor(np.array(TABLE["probs"]))

CASES = {
    "cross_entropy": lambda x: F.cross_entropy(x, T),
    "cross_entropy_weight": lambda x: F.cross_entropy(x, T, weight=W),
    "cross_entropy_ignore": lambda x: F.cross_entropy(x, T, ignore_index=0),
    "cross_entropy_sum": lambda x: F.cross_entropy(x, T, reduction="sum"),
    "cross_entropy_none": lambda x: F.cross_entropy(x, T, reduction="none"),
    "cross_entropy_smooth": lambda x: F.cross_entropy(x, T, label_smoothing=0.1),
    "cross_entropy_smooth_weight": lambda x: F.cross_entropy(x, T, W, label_smoothing=0.1),
    "cross_entropy_probs": lambda x: F.cross_entropy(x, P),
    "cross_entropy_probs_weight": lambda x: F.cross_entropy(x, P, W, label_smoothing=0.2),
    "nll": lambda x: F.nll_loss(F.log_softmax(x, 1), T, weight=W),
    "bce_logits": lambda x: F.binary_cross_entropy_with_logits(x, Y),
    "bce_logits_pos": lambda x: F.binary_cross_entropy_with_logits(x, Y, pos_weight=W),
    "bce": lambda x: F.binary_cross_entropy(gradc.sigmoid(x), Y),
    "mse": lambda x: F.mse_loss(x, Y),
    "l1": lambda x: F.l1_loss(x, Y),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, Y, beta=0.5),
    "huber": lambda x: F.huber_loss(x, Y, delta=0.7),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": lambda x: F.softplus(x, beta=2),
    "elu": F.elu,
    "leaky": F.leaky_relu,
    "logsigmoid": F.logsigmoid,
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 0),
    "layer_norm": lambda x: F.layer_norm(x, (4,), W, Y[0]),
    "normalize": lambda x: F.normalize(x, dim=1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=3.0),
    "attention": lambda x: F.scaled_dot_product_attention(
        x[None], x[None] * 0.5, x[None] + 1, is_causal=True
    ),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(),
    "logsumexp": lambda x: gradc.logsumexp(x, 1),
    "norm": lambda x: x.norm(dim=1),
    "max_dim": lambda x: x.max(1).values,
    "prod": lambda x: x.prod(1),
    "cumsum": lambda x: x.cumsum(0),
    "sort": lambda x: x.sort(1).values,
    "topk": lambda x: x.topk(2, 1).values,
    "median": lambda x: x.median(1).values,
}


def test_every_case_of_the_table_is_here():
    assert set(CASES) == set(TABLE["cases"])


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    expected = TABLE["cases"][name]
    x = gradc.tensor(np.array(TABLE["x"]), requires_grad=True)
    value = CASES[name](x)
    np.testing.assert_allclose(value.tolist(), expected["value"], rtol=1e-12, atol=1e-14)
    weights = gradc.arange(1, value.numel() + 1, dtype=gradc.float64).reshape(value.shape)
    (value * weights).sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), expected["grad"], rtol=1e-10, atol=1e-13)
