"""torch, eager, or with `torch.compile` around the forward (backward compiles with it)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.imperative import CASES, RATES, Library, training_step, update_step


def tensor(array, grad=False):
    return torch.tensor(array).requires_grad_(grad)


def make_library(compile):
    """The library, with `compile` around what is compiled."""

    def gradient(f, tensors, seed=None):
        inner = compile(f)
        leaves = [t.requires_grad_() for t in tensors]

        def both():
            value = inner(*leaves)
            return value.detach(), *torch.autograd.grad(value, leaves, seed)

        return both

    def training(loss, parameters, name):
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]
        return training_step(kind(parameters, lr=RATES[name], fused=True), compile(loss))

    def update(p, g):
        p.grad = g
        return update_step(torch.optim.Adam([p], lr=RATES["adam"], fused=True), p)

    return Library(torch, F, tensor, compile, gradient, training, update)


def lstm(on, inputs):
    """torch's own LSTM, the fastest it has."""
    layer = torch.nn.LSTM(128, 128)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(tensor(inputs["w_x"]).T)
        layer.weight_hh_l0.copy_(tensor(inputs["w_h"]).T)
        layer.bias_ih_l0.copy_(tensor(inputs["b"]))
        layer.bias_hh_l0.zero_()
    x, y = tensor(inputs["x"]), tensor(inputs["y"])
    # One bias there, two here.
    parameters = [p for name, p in layer.named_parameters() if name != "bias_hh_l0"]
    step = on.training(
        lambda x, y: ((layer(x)[0][-1] - y) ** 2).mean(), parameters, "sgd"
    )
    return lambda: step(x, y)


def contestant(threads, compile=lambda f: f):
    """Cases that make calls, and how to read results."""
    torch.set_num_threads(threads)
    on = make_library(compile)
    table = CASES | {"lstm": lstm} if compile is not torch.compile else CASES
    cases = {name: lambda inputs, case=case: case(on, inputs) for name, case in table.items()}
    return cases, lambda result: result.detach().numpy(), torch.__version__


def compiled(threads):
    """The same with `torch.compile`."""
    return contestant(threads, torch.compile)
