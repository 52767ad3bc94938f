"""gradc: everything compiled whole."""

from __future__ import annotations

import numpy as np

import gradc
import gradc.nn.functional as F
from benchmarks.imperative import CASES, RATES, Library, training_step, update_step
from gradc import autograd, optim


def tensor(array, grad=False):
    return gradc.tensor(np.array(array)).requires_grad_(grad)


def gradient(f, tensors, seed=None):
    @gradc.compile
    def both(*given):
        leaves = [t.detach().requires_grad_() for t in given]
        value = f(*leaves)
        return value.detach(), *autograd.grad(value, leaves, seed)

    return lambda: both(*tensors)


def training(loss, parameters, name):
    opt = {"sgd": optim.SGD, "adam": optim.Adam}[name](parameters, lr=RATES[name])
    return gradc.compile(training_step(opt, loss))


def update(p, g):
    p.grad = g
    return gradc.compile(update_step(optim.Adam([p], lr=RATES["adam"]), p))


def contestant(threads):
    """Cases that make calls, and how to read results."""
    gradc.set_num_threads(threads)
    on = Library(gradc, F, tensor, gradc.compile, gradient, training, update)
    cases = {name: lambda inputs, case=case: case(on, inputs) for name, case in CASES.items()}
    return cases, lambda result: result.detach().numpy(), gradc.__version__
