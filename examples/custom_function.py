"""An operation with a gradient of one's own, eagerly and inside a compiled function.

    python examples/custom_function.py
"""

import gradc
from gradc.autograd import Function, gradcheck


class Clipped(Function):
    """x limited to [-1, 1], with a gradient that passes through the limits (straight-through)."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx, g):
        return g


class LegendreP3(Function):
    """The Legendre polynomial (5 x^3 - 3 x) / 2, whose derivative is known in closed form."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 0.5 * (5 * x**3 - 3 * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 1.5 * (5 * x**2 - 1)


def main():
    x = gradc.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    Clipped.apply(x).sum().backward()
    print("straight-through gradient ", x.grad)

    points = gradc.linspace(-1, 1, 5, dtype=gradc.float64, requires_grad=True)
    print("gradcheck                 ", gradcheck(LegendreP3.apply, points))

    # Fit sin(x) by a + b P3(c + d x), one compiled step at a time.
    grid = gradc.linspace(-3.14, 3.14, 400)
    target = gradc.sin(grid)
    a, b, c, d = (gradc.tensor(v, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3))

    @gradc.compile
    def step(x, y):
        for p in (a, b, c, d):
            p.grad = None
        loss = (a + b * LegendreP3.apply(c + d * x) - y).square().mean()
        loss.backward()
        with gradc.no_grad():
            for p in (a, b, c, d):
                p -= 0.02 * p.grad
        return loss

    for _ in range(2000):
        loss = step(grid, target)
    print(f"loss after 2,000 steps      {loss.item():.5f}")
    values = ", ".join(f"{p.item():.3f}" for p in (a, b, c, d))
    print(f"a, b, c, d                  {values}")


if __name__ == "__main__":
    main()
