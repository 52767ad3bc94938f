"""PyTensor: symbolic functions, trusting their inputs."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt

pytensor.config.floatX = "float32"
RATE = np.float32(1e-3)


def called(arrays, outputs_of):
    symbols = [pt.tensor(dtype=a.dtype, shape=a.shape) for a in arrays]
    f = pytensor.function(symbols, outputs_of(*symbols))
    f.trust_input = True
    return lambda: f(*arrays)


def affine(inputs):
    return called([inputs["x"]], lambda x: x * np.float32(2) + np.float32(1))


def summed(inputs):
    def fn(*symbols):
        total = symbols[0]
        for s in symbols[1:]:
            total = total + s
        return total

    return called(list(inputs.values()), fn)


def logistic(inputs):
    x, y = pt.constant(inputs["x"]), pt.constant(inputs["y"])

    def fn(w, b):
        z = x @ w + b
        loss = (pt.softplus(z) - z * y).mean()
        return [loss, *pytensor.grad(loss, [w, b])]

    return called([inputs["w"], inputs["b"]], fn)


def _chain(x):
    c, k = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715)
    gelu = np.float32(0.5) * x * (1 + pt.tanh(c * (x + k * x * x * x)))
    return (gelu * pt.exp(-x) + pt.sqrt(x * x + 1)).sum()


def chain(inputs):
    return called([inputs["x"]], _chain)


def chain_gradient(inputs):
    def fn(x):
        value = _chain(x)
        return [value, pytensor.grad(value, x)]

    return called([inputs["x"]], fn)


def softmax(inputs):
    return called([inputs["x"]], lambda x: pt.special.softmax(x, axis=-1))


def matmul(inputs):
    return called([inputs["a"], inputs["b"]], lambda a, b: a @ b)


def mlp(inputs):
    names = [f"{n}{i}" for n in "wb" for i in range(3)]
    p = {n: pytensor.shared(inputs[n], n) for n in names}

    x, y = (pt.tensor(dtype=a.dtype, shape=a.shape) for a in (inputs["x"], inputs["y"]))
    h = pt.maximum(x @ p["w0"] + p["b0"], np.float32(0))
    h = pt.maximum(h @ p["w1"] + p["b1"], np.float32(0))
    z = h @ p["w2"] + p["b2"]
    loss = -pt.special.log_softmax(z, axis=1)[pt.arange(len(inputs["y"])), y].mean()
    loss = loss.astype("float32")
    grads = pytensor.grad(loss, [p[n] for n in names])
    updates = [(p[n], p[n] - RATE * g) for n, g in zip(names, grads)]
    f = pytensor.function([x, y], loss, updates=updates)
    f.trust_input = True
    return lambda: f(inputs["x"], inputs["y"])


CASES = {
    f.__name__: f
    for f in (affine, summed, logistic, chain, chain_gradient, softmax, matmul, mlp)
}


def contestant(threads):
    """Cases that make calls, and how to read results."""
    return CASES, np.asarray, pytensor.__version__
