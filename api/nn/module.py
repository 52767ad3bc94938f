"""Module: parameters, buffers and submodules by name, as in torch.

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
        def forward(self, x):
            return self.fc(x)

Every change of structure (an attribute, a registration, `train()`) bumps the structure counter,
so that compiled functions notice it with one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from gradc.tracer.context import CONTEXT, no_grad
from gradc.tracer.errors import ArgumentError, ArgumentTypeError
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, float64
from gradc.tracer.record import Handle
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import Tensor

M = TypeVar("M", bound="Module")


class Module:
    """Base of all layers and models."""

    # What a compiled function's walk needs to know of this class.
    _gradc_structure = True
    _gradc_registries = ("_parameters", "_buffers", "_modules")

    training: bool

    def __init__(self) -> None:
        attributes = self.__dict__
        attributes["_parameters"] = {}
        attributes["_buffers"] = {}
        attributes["_modules"] = {}
        attributes["_unsaved"] = set()
        attributes["_hooks"] = []
        attributes["_pre_hooks"] = []
        attributes["_name"] = ""
        attributes["training"] = True

    # -- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        STRUCTURE.bump()
        registries = self.__dict__
        if "_parameters" not in registries:
            raise ArgumentError(
                f"{type(self).__name__}: call super().__init__() before assigning attributes",
                loc=user_location(),
            )
        if _is_parameter(value):
            self._forget(name)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name)
            self.add_module(name, value)
        elif name in registries["_parameters"] and value is not None:
            raise ArgumentTypeError(
                f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                "(nn.Parameter or None expected)",
                loc=user_location(),
            )
        elif name in registries["_parameters"] or name in registries["_modules"]:
            self._forget(name)
            registries[name] = value
        elif name in registries["_buffers"] and (value is None or isinstance(value, Tensor)):
            registries["_buffers"][name] = value
        else:
            registries[name] = value

    def _forget(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            self.__dict__[registry].pop(name, None)
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for registry in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(registry)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        STRUCTURE.bump()
        if name in self.__dict__:
            del self.__dict__[name]
        elif any(name in self.__dict__[r] for r in self._gradc_registries):
            self._forget(name)
        else:
            raise AttributeError(name)

    def register_parameter(self, name: str, param: Tensor | None) -> None:
        """Hold a parameter (or None, for one that is optional) under `name`."""
        self._check_name(name)
        self._parameters[name] = param
        STRUCTURE.bump()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Hold a tensor that is state but not trained."""
        self._check_name(name)
        self._buffers[name] = tensor
        if not persistent:
            self._unsaved.add(name)
        STRUCTURE.bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Hold a submodule under `name`."""
        self._check_name(name)
        self._modules[name] = module
        STRUCTURE.bump()

    register_module = add_module

    def _check_name(self, name: str) -> None:
        if not name or "." in name:
            raise ArgumentError(
                f"{name!r} cannot name a part of a module: it is empty or has a dot",
                loc=user_location(4),
            )
        if name in self.__dict__:
            raise ArgumentError(f"attribute '{name}' already exists", loc=user_location(4))

    # -- calling --------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; to be defined."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer = CONTEXT.scope
        CONTEXT.scope = (*outer, self._name or type(self).__name__)
        try:
            for before in self._pre_hooks:
                changed = before(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            result = self.forward(*args, **kwargs)
            for after in self._hooks:
                changed = after(self, args, result)
                result = result if changed is None else changed
            return result
        finally:
            CONTEXT.scope = outer

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """`hook(module, args, result)` runs after forward and may return another result."""
        STRUCTURE.bump()
        return Handle(self._hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """`hook(module, args)` runs before forward and may return other arguments."""
        STRUCTURE.bump()
        return Handle(self._pre_hooks, hook)

    # -- parts ----------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = ""
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self.named_children():
            yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named(self, registry: str, recurse: bool) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules() if recurse else [("", self)]:
            for name, value in module.__dict__[registry].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[Any]:
        """`(dotted name, parameter)`, each parameter once."""
        lead = f"{prefix}." if prefix else ""
        return ((lead + name, p) for name, p in self._named("_parameters", recurse))

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters, each once."""
        return (p for _, p in self._named("_parameters", recurse))

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """`(dotted name, buffer)`, each buffer once."""
        return self._named("_buffers", recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self._named("_buffers", recurse))

    def get_submodule(self, target: str) -> Module:
        """The submodule of a dotted name."""
        found: Any = self
        for part in target.split(".") if target else []:
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]

    # -- modes ----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Training mode for this module and all below it; returns it."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: M) -> M:
        """Evaluation mode; returns the module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set `requires_grad` of all parameters; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """`fn(module)` for every module, children first; returns this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: M, dtype: DType) -> M:
        """Floating parameters and buffers as `dtype`, in place; returns the module."""
        for module in self.modules():
            for registry in (module._parameters, module._buffers):
                for value in registry.values():
                    if value is not None and value.dtype.is_float and value.dtype is not dtype:
                        _convert(value, dtype)
        STRUCTURE.bump()
        return self

    def double(self: M) -> M:
        """Floating parameters and buffers as float64; returns the module."""
        return self.to(float64)

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Dotted names to parameters and persistent buffers, detached, sharing memory."""
        state: dict[str, Tensor] = {}
        for prefix, module in self.named_modules(set()):
            lead = f"{prefix}." if prefix else ""
            for name, value in module._parameters.items():
                if value is not None:
                    state[lead + name] = value.detach()
            for name, value in module._buffers.items():
                if value is not None and name not in module._unsaved:
                    state[lead + name] = value.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name; nothing is copied unless all of them fit.

        Raises:
            ArgumentError: names are missing or unexpected (with `strict`), or shapes differ.
        """
        own = self.state_dict()
        missing = [n for n in own if n not in state_dict]
        unexpected = [n for n in state_dict if n not in own]
        wrong = [
            f"size mismatch for {n}: {list(np.shape(state_dict[n]))} and {list(own[n].shape)}"
            for n in own
            if n in state_dict and tuple(np.shape(state_dict[n])) != own[n].shape
        ]
        if wrong or (strict and (missing or unexpected)):
            problems = [*wrong]
            if strict and missing:
                problems.append(f"missing keys: {', '.join(missing)}")
            if strict and unexpected:
                problems.append(f"unexpected keys: {', '.join(unexpected)}")
            raise ArgumentError(
                f"the state does not fit {type(self).__name__}",
                loc=user_location(),
                operands=problems,
            )
        with no_grad():
            for name, target in own.items():
                if name in state_dict:
                    target.copy_(state_dict[name])
        return LoadResult(missing, unexpected)

    # -- printing -------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses of this module's line."""
        return ""

    def __repr__(self) -> str:
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self.named_children()
        ]
        extra = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = ([extra] if extra else []) + children
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

    def __dir__(self) -> list[str]:
        names = list(super().__dir__())
        for registry in self._gradc_registries:
            names += list(self.__dict__.get(registry, ()))
        return names


class LoadResult:
    """What `load_state_dict` did not use or find."""

    def __init__(self, missing_keys: list[str], unexpected_keys: list[str]) -> None:
        self.missing_keys = missing_keys
        self.unexpected_keys = unexpected_keys

    def __repr__(self) -> str:
        if not (self.missing_keys or self.unexpected_keys):
            return "<All keys matched successfully>"
        return f"LoadResult(missing={self.missing_keys}, unexpected={self.unexpected_keys})"


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Tensor) and type(value) is not Tensor


def _convert(value: Tensor, dtype: DType) -> None:
    """Give a tensor other memory of another dtype; its handle stays."""
    with no_grad():
        other = value.detach().to(dtype)
    value._storage, value._data, value._type = other._storage, other._data, other._type
    value._chain = ()
    value._grad = None
