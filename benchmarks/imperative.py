"""The workloads in the style of torch, for torch and gradc alike.

Each function takes the library `on` (see `Library`) and the inputs, and returns what is called
again and again. What is compiled of it is the library's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass
class Library:
    """What differs between torch and gradc.

    Attributes:
        lib, F: the module of tensors and its functional one.
        tensor: array to tensor; `grad=True` for a parameter.
        function: compiles a function without gradients, or leaves it.
        gradient: `(f, tensors, seed) -> call`, the call giving f and its gradients.
        training: `(loss, parameters, "sgd" or "adam") -> step(*batch)`.
        update: `(parameter, gradient) -> call`, one Adam update.
    """

    lib: Any
    F: Any
    tensor: Callable[..., Any]
    function: Callable[[Callable[..., Any]], Callable[..., Any]]
    gradient: Callable[..., Callable[[], Any]]
    training: Callable[..., Callable[..., Any]]
    update: Callable[[Any, Any], Callable[[], Any]]

    def tensors(self, inputs, grad=False):
        """All inputs as tensors."""
        return {name: self.tensor(a, grad=grad) for name, a in inputs.items()}


def affine(on, inputs):
    return partial(on.function(lambda x: x * 2 + 1), on.tensor(inputs["x"]))


def summed(on, inputs):
    def fn(*tensors):
        total = tensors[0]
        for t in tensors[1:]:
            total = total + t
        return total

    return partial(on.function(fn), *on.tensors(inputs).values())


def logistic(on, inputs):
    t = on.tensors(inputs)

    def loss(w, b):
        return on.F.binary_cross_entropy_with_logits(t["x"] @ w + b, t["y"])

    return on.gradient(loss, [t["w"], t["b"]])


def _chain(on, x):
    return (on.F.gelu(x, approximate="tanh") * on.lib.exp(-x) + on.lib.sqrt(x * x + 1)).sum()


def chain(on, inputs):
    return partial(on.function(partial(_chain, on)), on.tensor(inputs["x"]))


def chain_gradient(on, inputs):
    return on.gradient(partial(_chain, on), [on.tensor(inputs["x"])])


def softmax(on, inputs):
    return partial(on.function(lambda x: on.F.softmax(x, -1)), on.tensor(inputs["x"]))


def layer_norm(on, inputs):
    t = on.tensors(inputs)
    d_y = t.pop("d_y")
    return on.gradient(lambda x, w, b: on.F.layer_norm(x, (1024,), w, b), [*t.values()], d_y)


def adam(on, inputs):
    return on.update(on.tensor(inputs["p"], grad=True), on.tensor(inputs["g"]))


def matmul(on, inputs):
    t = on.tensors(inputs)
    return partial(on.function(lambda a, b: a @ b), t["a"], t["b"])


def _split(on, inputs, batch):
    """Parameters, and the named inputs that are none."""
    rest = {k: v for k, v in inputs.items() if k not in batch and k != "heads"}
    return on.tensors(rest, grad=True), [on.tensor(inputs[k]) for k in batch]


def mlp(on, inputs):
    p, batch = _split(on, inputs, ("x", "y"))

    def loss(x, y):
        x = on.F.relu(x @ p["w0"] + p["b0"])
        x = on.F.relu(x @ p["w1"] + p["b1"])
        return on.F.cross_entropy(x @ p["w2"] + p["b2"], y)

    return partial(on.training(loss, [*p.values()], "sgd"), *batch)


def lenet(on, inputs):
    p, batch = _split(on, inputs, ("x", "y"))
    F = on.F

    def loss(x, y):
        x = F.max_pool2d(F.relu(F.conv2d(x, p["f0"], padding=2)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, p["f1"])), 2)
        x = F.relu(x.reshape(64, 400) @ p["w0"])
        return F.cross_entropy(F.relu(x @ p["w1"]) @ p["w2"], y)

    return partial(on.training(loss, [*p.values()], "sgd"), *batch)


def gpt(on, inputs):
    p, batch = _split(on, inputs, ("tokens", "targets"))
    F, heads = on.F, int(inputs["heads"])
    b, t = inputs["tokens"].shape
    width = inputs["embedding"].shape[1]

    def attention(x, i):
        q, k, v = (x @ p[f"qkv{i}"]).reshape(b, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return found.transpose(1, 2).reshape(b, t, width) @ p[f"out{i}"]

    def loss(tokens, targets):
        x = p["embedding"][tokens] + p["positions"]
        for i in range(sum(name.startswith("up") for name in p)):
            x = x + attention(F.layer_norm(x, (width,), p[f"norm_a{i}"]), i)
            h = F.layer_norm(x, (width,), p[f"norm_b{i}"])
            x = x + F.gelu(h @ p[f"up{i}"], approximate="tanh") @ p[f"down{i}"]
        logits = F.layer_norm(x, (width,)) @ p["embedding"].T
        return F.cross_entropy(logits.reshape(b * t, -1), targets.reshape(-1))

    return partial(on.training(loss, [*p.values()], "adam"), *batch)


def lstm(on, inputs):
    p, batch = _split(on, inputs, ("x", "y"))
    lib = on.lib

    def loss(x, y):
        h = c = lib.zeros(32, 128)
        for t in range(64):
            i, f, g, o = (x[t] @ p["w_x"] + h @ p["w_h"] + p["b"]).chunk(4, 1)
            c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(g)
            h = lib.sigmoid(o) * lib.tanh(c)
        return ((h - y) ** 2).mean()

    return partial(on.training(loss, [*p.values()], "sgd"), *batch)


def vae(on, inputs):
    p, batch = _split(on, inputs, ("x", "noise"))
    F, lib = on.F, on.lib

    def loss(x, noise):
        h = F.relu(x @ p["w0"])
        mean, log = h @ p["mean"], h @ p["log"]
        z = mean + lib.exp(log * 0.5) * noise
        logits = F.relu(z @ p["w1"]) @ p["w2"]
        rebuilt = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (rebuilt - 0.5 * (1 + log - mean**2 - lib.exp(log)).sum()) / 64

    return partial(on.training(loss, [*p.values()], "adam"), *batch)


def training_step(opt, loss):
    """A step that gives the loss before it."""

    def step(*batch):
        opt.zero_grad()
        found = loss(*batch)
        found.backward()
        opt.step()
        return found

    return step


def update_step(opt, p):
    """An update by the gradient that is there."""

    def step():
        opt.step()
        return p

    return step


CASES = {
    f.__name__: f
    for f in (
        affine, summed, logistic, chain, chain_gradient, softmax, layer_norm, adam, matmul, mlp,
        lenet, gpt, lstm, vae,
    )
}  # fmt: skip
RATES = {"sgd": 1e-3, "adam": 1e-3}
