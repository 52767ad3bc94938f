"""`gradc.optim`: SGD, Adam, AdamW, and learning-rate schedules, with torch's numbers.

    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    opt.zero_grad(); loss.backward(); opt.step()

State is made at construction, so that one trace of a step is enough. Hyper-parameters are read
anew at every step, compiled or not; those that shape the program (a zero weight decay, nesterov)
make a compiled step be compiled again when they change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gradc.tracer import functional as f
from gradc.tracer.context import CONTEXT, enable_grad, no_grad, phase, scope
from gradc.tracer.creation import zeros, zeros_like
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import hyperparameter
from gradc.tracer.structure import STRUCTURE, StructureDict, StructureList
from gradc.tracer.tensor import DroppedGrad, Tensor

Group = dict[str, Any]


class Optimizer:
    """Base of all optimizers.

    Attributes:
        param_groups: dicts of `params` and their hyper-parameters.
        state: for each parameter (by identity) its tensors.
    """

    _gradc_structure = True
    _gradc_runtime_numbers = ("param_groups",)

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = StructureList()
        self.state: dict[Tensor, dict[str, Tensor]] = StructureDict()
        given = list(params)
        if not given:
            raise ArgumentError("optimizer got an empty parameter list", loc=user_location(4))
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(dict(group))

    def __setattr__(self, name: str, value: Any) -> None:
        STRUCTURE.bump()
        super().__setattr__(name, value)

    def add_param_group(self, group: Group) -> None:
        """More parameters, with hyper-parameters of their own.

        Raises:
            ArgumentError: a parameter that is no leaf, or that is there already.
        """
        group = StructureDict(group)
        params = group["params"]
        group["params"] = StructureList([params] if isinstance(params, Tensor) else params)
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        for p in group["params"]:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise ArgumentError("can't optimize a non-leaf Tensor", loc=user_location(4))
            if p in self.state:
                raise ArgumentError(
                    "some parameters appear in more than one parameter group", loc=user_location(4)
                )
            self.state[p] = StructureDict(self._initial_state(group, p))
        self.param_groups.append(group)
        STRUCTURE.bump()

    def _initial_state(self, group: Group, p: Tensor) -> dict[str, Tensor]:
        return {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or isinstance(p._grad, DroppedGrad):
                    p.grad = None
                elif p.grad is not None:
                    p.grad.detach_().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients; those without gradient stay.

        Args:
            closure: computes the loss (and its gradients) first; its result is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        loc = CONTEXT.loc
        if CONTEXT.trace is not None and loc is None:
            CONTEXT.loc = user_location()
        try:
            with no_grad(), phase(Phase.UPDATE), scope(type(self).__name__):
                for group in self.param_groups:
                    self._step_group(group)
        finally:
            CONTEXT.loc = loc
        return loss

    def _step_group(self, group: Group) -> None:
        for p in group["params"]:
            g = p.grad
            if g is not None:
                self._update(p, g.detach(), group, self._state_of(p, group))

    def _state_of(self, p: Tensor, group: Group) -> dict[str, Tensor]:
        """The state of `p`, fresh where there is none (any more)."""
        if p not in self.state:
            self.state[p] = StructureDict(self._initial_state(group, p))
        return self.state[p]

    def _update(self, p: Tensor, g: Tensor, group: Group, state: dict[str, Tensor]) -> None:
        raise NotImplementedError

    # -- pure form --------------------------------------------------------------------------------

    def init(self, params: list[Tensor]) -> list[dict[str, Tensor]]:
        """Fresh state for `params`, for use with `update`."""
        return [self._initial_state(self.param_groups[0], p) for p in params]

    def update(
        self, grads: list[Tensor], state: list[dict[str, Tensor]], params: list[Tensor]
    ) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        """New parameters and new state; nothing given is written."""
        new_params, new_state = [], []
        with no_grad():
            for p, g, s in zip(params, grads, state, strict=True):
                q = f.clone(p.detach())
                t = {name: f.clone(value) for name, value in s.items()}
                self._update(q, g, self.param_groups[0], t)
                new_params.append(q)
                new_state.append(t)
        return new_params, new_state

    # -- saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and hyper-parameters by position, as torch lays them out."""
        numbers: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[p] = len(numbers)
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [numbers[p] for p in group["params"]]
            groups.append(packed)
        state = {numbers[p]: dict(values) for p, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the tensors keep their memory.

        Raises:
            ArgumentError: it is of other groups.
        """
        groups = state_dict["param_groups"]
        sizes = [len(g["params"]) for g in groups]
        if sizes != [len(g["params"]) for g in self.param_groups]:
            raise ArgumentError(
                "loaded state dict has other parameter groups", loc=user_location()
            )
        params = [p for g in self.param_groups for p in g["params"]]
        with no_grad():
            for number, values in state_dict["state"].items():
                own = self.state[params[int(number)]]
                for name, value in values.items():
                    own[name].copy_(value)
        for own_group, group in zip(self.param_groups, groups):
            own_group.update({k: v for k, v in group.items() if k != "params"})
        STRUCTURE.bump()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


def _positive(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor) and not value >= 0.0:
            raise ArgumentError(f"Invalid {name}: {value}", loc=user_location(4))


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay (torch.optim.SGD)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        _positive(learning_rate=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError(
                "Nesterov momentum requires a momentum and zero dampening", loc=user_location()
            )
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _initial_state(self, group: Group, p: Tensor) -> dict[str, Tensor]:
        if group["momentum"] == 0:
            return {}
        return {"momentum_buffer": zeros_like(p), "step": zeros((), dtype=p.dtype)}

    def _update(self, p: Tensor, g: Tensor, group: Group, state: dict[str, Tensor]) -> None:
        if group["maximize"]:
            g = f.neg(g)
        if group["weight_decay"] != 0:
            g = f.add(g, f.mul(p, hyperparameter(group, "weight_decay")))
        if group["momentum"] != 0:
            g = self._with_momentum(g, group, state)
        p.sub_(f.mul(g, hyperparameter(group, "lr")))

    def _with_momentum(self, g: Tensor, group: Group, state: dict[str, Tensor]) -> Tensor:
        if not state:
            raise ArgumentError(
                "SGD was made without momentum and has no momentum buffers",
                hint="make a new optimizer with momentum",
            )
        buffer, step = state["momentum_buffer"], state["step"]
        momentum = hyperparameter(group, "momentum")
        fresh = g
        if group["dampening"] != 0:
            # The first gradient enters undamped.
            fresh = f.where(f.eq(step, 0), g, f.mul(g, _one_minus(group, "dampening")))
        buffer.copy_(f.add(f.mul(buffer, momentum), fresh))
        step.add_(1)
        return f.add(g, f.mul(buffer, momentum)) if group["nesterov"] else buffer


def _one_minus(group: Group, name: str) -> Any:
    value = hyperparameter(group, name)
    return f.sub(1.0, value) if isinstance(value, Tensor) else 1.0 - value


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014); weight decay is added to the gradient (torch.optim.Adam)."""

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        _positive(learning_rate=lr, epsilon=eps, weight_decay=weight_decay)
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ArgumentError(
                    f"Invalid beta parameter at index {i}: {beta}", loc=user_location()
                )
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _initial_state(self, group: Group, p: Tensor) -> dict[str, Tensor]:
        state = {
            "step": zeros(()),
            "exp_avg": zeros_like(p),
            "exp_avg_sq": zeros_like(p),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    def _update(self, p: Tensor, g: Tensor, group: Group, state: dict[str, Tensor]) -> None:
        lr, eps = hyperparameter(group, "lr"), hyperparameter(group, "eps")
        beta1, beta2 = (hyperparameter(group, ("betas", i)) for i in (0, 1))
        if group["maximize"]:
            g = f.neg(g)
        if group["weight_decay"] != 0:
            decay = hyperparameter(group, "weight_decay")
            if self._decoupled:
                p.mul_(1.0 - lr * decay)
            else:
                g = f.add(g, f.mul(p, decay))
        step, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step.add_(1)
        m.copy_(f.add(m, f.mul(f.sub(g, m), 1.0 - beta1)))
        v.copy_(f.add(f.mul(v, beta2), f.mul(f.mul(g, 1.0 - beta2), g)))
        if group["amsgrad"]:
            state["max_exp_avg_sq"].copy_(f.maximum(state["max_exp_avg_sq"], v))
            v = state["max_exp_avg_sq"]
        # The corrections are computed in double precision, as torch does outside of tensors.
        count = step.double()
        correction1 = 1.0 - beta1**count
        correction2 = f.sqrt(1.0 - beta2**count)
        denominator = f.add(f.div(f.sqrt(v), correction2.to(v.dtype)), eps)
        p.sub_(f.div(f.mul(m, (lr / correction1).to(p.dtype)), denominator))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017; torch.optim.AdamW)."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


# -- schedules ------------------------------------------------------------------------------------


class LRScheduler:
    """Sets `lr` of every group from the number of `step()` calls."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        groups = optimizer.param_groups
        self.base_lrs: list[Any] = [g.setdefault("initial_lr", g["lr"]) for g in groups]
        self.last_epoch = last_epoch
        self.step()

    def factor(self, epoch: int) -> float:
        """What the initial rate is multiplied by."""
        raise NotImplementedError

    def step(self) -> None:
        """One epoch on."""
        self.last_epoch += 1
        for number, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            group["lr"] = self.rate(base, self.last_epoch, number)

    def rate(self, base: float, epoch: int, group: int) -> float:
        """The rate of one group."""
        return base * self.factor(epoch)

    def get_last_lr(self) -> list[float]:
        """The rates now."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands; functions are left out."""
        hidden = ("optimizer", "lr_lambdas")
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the rates of the optimizer are set from it."""
        vars(self).update(state_dict)
        for number, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            group["lr"] = self.rate(base, self.last_epoch, number)


class StepLR(LRScheduler):
    """gamma times smaller every `step_size` epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.step_size))


class LambdaLR(LRScheduler):
    """The initial rate times `lr_lambda(epoch)`; a list gives one function per group.

    Raises:
        ArgumentError: a list of another length than there are groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(
                f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}", loc=user_location()
            )
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int, group: int) -> float:
        return base * self.lr_lambdas[group](epoch)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to `eta_min` in `T_max` epochs."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int, group: int) -> float:
        wave = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * wave
