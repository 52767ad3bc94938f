"""What is measured: names, inputs, and the operations and bytes the work cannot do without.

Inputs are NumPy arrays from a fixed seed, made anew in every process, so that all contestants
start from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        case: the function that does it, by name, in every contestant's table.
        inputs: makes its arrays from a random generator.
        flops, bytes: of one call, 0 where the figure would say nothing.
        tolerance: relative, of the first results among contestants.
        contended: measured while another process burns a core.
        long: left out unless asked for.
    """

    case: str
    inputs: Callable[[np.random.Generator], Arrays]
    flops: float = 0
    bytes: float = 0
    tolerance: float = 1e-3
    contended: bool = False
    long: bool = False


def normal(rng, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def matmul(m, k, n, dtype=np.float32):
    def inputs(rng):
        return {"a": normal(rng, m, k).astype(dtype), "b": normal(rng, k, n).astype(dtype)}

    return Workload("matmul", inputs, flops=2 * m * k * n)


def batched_matmul(b, m, k, n):
    def inputs(rng):
        return {"a": normal(rng, b, m, k), "b": normal(rng, b, k, n)}

    return Workload("matmul", inputs, flops=2 * b * m * k * n)


def arguments(count):
    return Workload("summed", lambda rng: {f"x{i}": normal(rng, 3) for i in range(count)})


def logistic_regression(rng):
    return {
        "x": normal(rng, 32, 4),
        "y": (rng.random(32) < 0.5).astype(np.float32),
        "w": normal(rng, 4),
        "b": np.float32([0.1]),
    }


def rows(case, passes):
    size = 4096 * 1024
    return Workload(case, lambda rng: {"x": normal(rng, 4096, 1024)}, bytes=passes * 4 * size)


def layer_norm(rng):
    x, d_y = normal(rng, 4096, 1024), normal(rng, 4096, 1024)
    return {"x": x, "w": normal(rng, 1024), "b": normal(rng, 1024), "d_y": d_y}


def adam(rng):
    return {"p": normal(rng, 10_000_000), "g": normal(rng, 10_000_000, scale=0.1)}


def mlp(batch, **more):
    sizes = (784, 512, 512, 10)
    weights = sum(a * b for a, b in pairwise(sizes))

    def inputs(rng):
        made = {"x": normal(rng, batch, 784), "y": rng.integers(0, 10, batch)}
        for i, (a, b) in enumerate(pairwise(sizes)):
            made[f"w{i}"] = normal(rng, a, b, scale=a**-0.5)
            made[f"b{i}"] = np.zeros(b, np.float32)
        return made

    # The input needs no gradient.
    return Workload("mlp", inputs, flops=2 * batch * (3 * weights - sizes[0] * sizes[1]), **more)


def lenet(rng):
    shapes = {"f0": (6, 1, 5, 5), "f1": (16, 6, 5, 5)}
    linear = {"w0": (400, 120), "w1": (120, 84), "w2": (84, 10)}
    made = {"x": normal(rng, 64, 1, 28, 28), "y": rng.integers(0, 10, 64)}
    made |= {n: normal(rng, *s, scale=(s[1] * 25) ** -0.5) for n, s in shapes.items()}
    made |= {n: normal(rng, *s, scale=s[0] ** -0.5) for n, s in linear.items()}
    return made


def gpt(layers, width, tokens, batch, vocabulary, heads, **more):
    def inputs(rng):
        made = {
            "tokens": rng.integers(0, vocabulary, (batch, tokens)),
            "targets": rng.integers(0, vocabulary, (batch, tokens)),
            "embedding": normal(rng, vocabulary, width, scale=0.02),
            "positions": normal(rng, tokens, width, scale=0.02),
            "heads": np.int64(heads),
        }
        for i in range(layers):
            shapes = {"qkv": (width, 3 * width), "out": (width, width)}
            shapes |= {"up": (width, 4 * width), "down": (4 * width, width)}
            made |= {f"{n}{i}": normal(rng, *s, scale=0.02) for n, s in shapes.items()}
            for name in ("norm_a", "norm_b"):
                made[f"{name}{i}"] = np.ones(width, np.float32)
        return made

    weights = layers * 12 * width * width + vocabulary * width
    attention = layers * 4 * batch * tokens * tokens * width
    flops = 6 * weights * batch * tokens + 3 * attention
    return Workload("gpt", inputs, flops=flops, tolerance=1e-2, **more)


def lstm(rng):
    made = {"x": normal(rng, 64, 32, 128), "y": normal(rng, 32, 128)}
    made |= {n: normal(rng, 128, 512, scale=128**-0.5) for n in ("w_x", "w_h")}
    return made | {"b": np.zeros(512, np.float32)}


def vae(rng):
    shapes = {"w0": (784, 400), "mean": (400, 20), "log": (400, 20), "w1": (20, 400)}
    shapes["w2"] = (400, 784)
    made = {"x": rng.random((64, 784)).astype(np.float32), "noise": normal(rng, 64, 20)}
    return made | {n: normal(rng, *s, scale=s[0] ** -0.5) for n, s in shapes.items()}


WORKLOADS = {
    "call_3_elements": Workload("affine", lambda rng: {"x": normal(rng, 3)}),
    "call_64_arguments": arguments(64),
    "logistic_regression": Workload("logistic", logistic_regression),
    "chain_4096x1024": rows("chain", 1),
    "chain_gradient_4096x1024": rows("chain_gradient", 2),
    "softmax_4096x1024": rows("softmax", 2),
    "layer_norm_4096x1024": Workload("layer_norm", layer_norm, bytes=4 * 4 * 4096 * 1024),
    "adam_10m": Workload("adam", adam, bytes=7 * 4 * 10_000_000),
    "matmul_64": matmul(64, 64, 64),
    "matmul_64x784x512": matmul(64, 784, 512),
    "matmul_256x784x512": matmul(256, 784, 512),
    "matmul_512": matmul(512, 512, 512),
    "matmul_1024": matmul(1024, 1024, 1024),
    "matmul_2048": matmul(2048, 2048, 2048),
    "matmul_32x128x64x128": batched_matmul(32, 128, 64, 128),
    "matmul_512_float64": matmul(512, 512, 512, np.float64),
    "mlp_1": mlp(1),
    "mlp_16": mlp(16),
    "mlp_64": mlp(64),
    "mlp_256": mlp(256),
    "mlp_64_contended": mlp(64, contended=True),
    "lenet_64": Workload("lenet", lenet),
    "gpt_small": gpt(4, 128, 64, 8, 256, 4),
    "gpt_small_contended": gpt(4, 128, 64, 8, 256, 4, contended=True),
    "lstm_64": Workload("lstm", lstm, flops=3 * 2 * 64 * 32 * 2 * 128 * 512),
    "vae_64": Workload("vae", vae),
    "gpt2_124m": gpt(12, 768, 64, 4, 50257, 12, long=True),
    # Small enough for a smoke test.
    "matmul_8": matmul(8, 8, 8),
}
SMOKE = ("matmul_8",)


def make_inputs(name: str) -> Arrays:
    """The arrays of a workload, the same in every process."""
    return WORKLOADS[name].inputs(np.random.default_rng(len(name)))
