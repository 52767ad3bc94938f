"""Fit the parameters of an ordinary differential equation to observations.

Predator and prey (Lotka, 1925; Volterra, 1926), integrated by the classical Runge-Kutta method.
The whole integration, its gradient and the update are one C call.

    python examples/ode_fit.py [--quick]
"""

import sys
import time

import gradc
from gradc import optim

STEPS, DT = 60, 0.1


def rate(state, parameters):
    """dx/dt = a x - b x y,  dy/dt = -c y + d x y."""
    prey, predators = state[0], state[1]
    a, b, c, d = (parameters[i] for i in range(4))
    return gradc.stack([a * prey - b * prey * predators, d * prey * predators - c * predators])


def integrate(start, parameters):
    """The states after every step: [STEPS, 2]."""
    state, path = start, []
    for _ in range(STEPS):
        k1 = rate(state, parameters)
        k2 = rate(state + DT / 2 * k1, parameters)
        k3 = rate(state + DT / 2 * k2, parameters)
        k4 = rate(state + DT * k3, parameters)
        state = state + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(state)
    return gradc.stack(path)


def main():
    gradc.set_default_dtype(gradc.float64)
    gradc.manual_seed(0)
    truth = gradc.tensor([1.1, 0.4, 0.4, 0.1])
    start = gradc.tensor([10.0, 5.0])
    observed = integrate(start, truth) + 0.05 * gradc.randn(STEPS, 2)

    parameters = gradc.tensor([0.9, 0.3, 0.5, 0.15], requires_grad=True)
    opt = optim.Adam([parameters], lr=0.01)

    @gradc.compile
    def step(observed):
        opt.zero_grad()
        loss = (integrate(start, parameters) - observed).square().mean()
        loss.backward()
        opt.step()
        return loss

    begin = time.perf_counter()
    loss = step(observed)
    print(f"first step {time.perf_counter() - begin:.2f} s, loss {loss.item():.4f}")
    count = 100 if "--quick" in sys.argv else 1500
    begin = time.perf_counter()
    for _ in range(count):
        loss = step(observed)
    print(f"{count} steps, {(time.perf_counter() - begin) / count * 1e6:.0f} us each")
    print(f"loss {loss.item():.4f}")
    print("found ", [round(v, 3) for v in parameters.tolist()])
    print("truth ", truth.tolist())


if __name__ == "__main__":
    main()
