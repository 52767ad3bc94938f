"""Fit a line to noisy points: the first thing one trains.

    python examples/linear_regression.py [--quick]
"""

import sys

import gradc
import gradc.nn.functional as F
from gradc import nn, optim


def main():
    gradc.manual_seed(0)
    x = gradc.linspace(-1, 1, 100).unsqueeze(1)
    y = 3.0 * x - 0.5 + 0.1 * gradc.randn(100, 1)

    model = nn.Linear(1, 1)
    opt = optim.SGD(model.parameters(), lr=0.1)

    @gradc.compile
    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    for i in range(40 if "--quick" in sys.argv else 200):
        loss = step(x, y)
        if i % 40 == 0:
            print(f"step {i:4d}   loss {loss.item():.5f}")
    print(f"slope {model.weight.item():.3f} (3.0)   offset {model.bias.item():.3f} (-0.5)")


if __name__ == "__main__":
    main()
