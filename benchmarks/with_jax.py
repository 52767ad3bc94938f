"""JAX: pure functions under `jax.jit`, whole steps in one, with the state donated."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)  # for float64 and int64 inputs; the rest stays float32

RATE = 1e-3


def called(fn, *arrays):
    """A call that waits for its result."""
    compiled = jax.jit(fn)
    arrays = [jnp.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(compiled(*arrays))


def trained(loss, inputs, batch, adam=False):
    """A call that takes one step and returns the loss."""
    state = {k: jnp.asarray(v) for k, v in inputs.items() if k not in batch and k != "heads"}
    batch = [jnp.asarray(inputs[k]) for k in batch]
    zeros = partial(jax.tree.map, jnp.zeros_like)
    update = _adam if adam else _sgd
    held = [state, (zeros(state), zeros(state), jnp.float32(0)) if adam else ()]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(p, moments, *batch):
        value, g = jax.value_and_grad(loss)(p, *batch)
        return value, *update(p, g, moments)

    def call():
        value, held[0], held[1] = step(*held, *batch)
        return jax.block_until_ready(value)

    return call


def _sgd(p, g, moments):
    return jax.tree.map(lambda p, g: p - jnp.float32(RATE) * g, p, g), moments


def _adam(p, g, moments):
    m, v, t = moments
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    a, b = RATE / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    p = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) / b + 1e-8), p, m, v)
    return p, (m, v, t)


def affine(inputs):
    return called(lambda x: x * 2 + 1, inputs["x"])


def summed(inputs):
    def fn(*arrays):
        total = arrays[0]
        for a in arrays[1:]:
            total = total + a
        return total

    return called(fn, *inputs.values())


def logistic(inputs):
    x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])

    def loss(w, b):
        z = x @ w + b
        return (jax.nn.softplus(z) - z * y).mean()

    return called(_flat(jax.value_and_grad(loss, (0, 1))), inputs["w"], inputs["b"])


def _flat(both):
    def fn(*arrays):
        value, grads = both(*arrays)
        return value, *grads

    return fn


def _chain(x):
    return (jax.nn.gelu(x) * jnp.exp(-x) + jnp.sqrt(x * x + 1)).sum()


def chain(inputs):
    return called(_chain, inputs["x"])


def chain_gradient(inputs):
    return called(jax.value_and_grad(_chain), inputs["x"])


def softmax(inputs):
    return called(lambda x: jax.nn.softmax(x, -1), inputs["x"])


def _norm(x, w=1.0, b=0.0):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * w + b


def layer_norm(inputs):
    def fn(x, w, b, d_y):
        y, back = jax.vjp(_norm, x, w, b)
        return y, *back(d_y)

    return called(fn, *inputs.values())


def adam(inputs):
    p, g = jnp.asarray(inputs["p"]), jnp.asarray(inputs["g"])
    held = [p, (jnp.zeros_like(p), jnp.zeros_like(p), jnp.float32(0))]
    step = jax.jit(lambda p, moments, g: _adam(p, g, moments), donate_argnums=(0, 1))

    def call():
        held[:] = step(*held, g)
        return jax.block_until_ready(held[0])

    return call


def matmul(inputs):
    return called(lambda a, b: a @ b, inputs["a"], inputs["b"])


def _cross_entropy(logits, y):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)
    return -chosen.mean()


def mlp(inputs):
    def loss(p, x, y):
        x = jax.nn.relu(x @ p["w0"] + p["b0"])
        x = jax.nn.relu(x @ p["w1"] + p["b1"])
        return _cross_entropy(x @ p["w2"] + p["b2"], y)

    return trained(loss, inputs, ("x", "y"))


def _pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def lenet(inputs):
    conv = partial(jax.lax.conv_general_dilated, window_strides=(1, 1))

    def loss(p, x, y):
        x = _pool(jax.nn.relu(conv(x, p["f0"], padding=((2, 2), (2, 2)))))
        x = _pool(jax.nn.relu(conv(x, p["f1"], padding="VALID")))
        x = jax.nn.relu(x.reshape(64, 400) @ p["w0"])
        return _cross_entropy(jax.nn.relu(x @ p["w1"]) @ p["w2"], y)

    return trained(loss, inputs, ("x", "y"))


def gpt(inputs):
    heads = int(inputs["heads"])
    b, t = inputs["tokens"].shape
    width = inputs["embedding"].shape[1]

    def attention(p, x, i):
        qkv = (x @ p[f"qkv{i}"]).reshape(b, t, 3, heads, width // heads)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        found = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return found.reshape(b, t, width) @ p[f"out{i}"]

    def loss(p, tokens, targets):
        x = p["embedding"][tokens] + p["positions"]
        for i in range(sum(name.startswith("up") for name in p)):
            x = x + attention(p, _norm(x, p[f"norm_a{i}"]), i)
            h = _norm(x, p[f"norm_b{i}"])
            x = x + jax.nn.gelu(h @ p[f"up{i}"]) @ p[f"down{i}"]
        logits = _norm(x) @ p["embedding"].T
        return _cross_entropy(logits.reshape(b * t, -1), targets.reshape(-1))

    return trained(loss, inputs, ("tokens", "targets"), adam=True)


def lstm(inputs):
    def loss(p, x, y):
        def cell(carry, x):
            h, c = carry
            i, f, g, o = jnp.split(x @ p["w_x"] + h @ p["w_h"] + p["b"], 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        start = jnp.zeros((32, 128), jnp.float32)
        (h, _), _ = jax.lax.scan(cell, (start, start), x)
        return ((h - y) ** 2).mean()

    return trained(loss, inputs, ("x", "y"))


def vae(inputs):
    def loss(p, x, noise):
        h = jax.nn.relu(x @ p["w0"])
        mean, log = h @ p["mean"], h @ p["log"]
        z = mean + jnp.exp(log * 0.5) * noise
        logits = jax.nn.relu(z @ p["w1"]) @ p["w2"]
        rebuilt = (jax.nn.softplus(logits) - logits * x).sum()
        return (rebuilt - 0.5 * (1 + log - mean**2 - jnp.exp(log)).sum()) / 64

    return trained(loss, inputs, ("x", "noise"), adam=True)


CASES = {
    f.__name__: f
    for f in (
        affine, summed, logistic, chain, chain_gradient, softmax, layer_norm, adam, matmul, mlp,
        lenet, gpt, lstm, vae,
    )
}  # fmt: skip


def contestant(threads):
    """Cases that make calls, and how to read results. XLA takes the cores the process may use."""
    return CASES, jax.device_get, jax.__version__
