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

from gradc.nn.parameter import Parameter
from gradc.tracer.context import CONTEXT, no_grad
from gradc.tracer.errors import ArgumentError, ArgumentTypeError, StateError
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, float32, float64
from gradc.tracer.record import Handle
from gradc.tracer.structure import STRUCTURE, StructureDict
from gradc.tracer.tensor import DroppedGrad, Tensor

M = TypeVar("M", bound="Module")


class Module:
    """Base of all layers and models."""

    # What a compiled function's walk needs to know of this class.
    _gradc_structure = True
    _gradc_registries = ("_parameters", "_buffers", "_modules")
    # Further containers that only change together with the structure counter.
    _gradc_bumped = ("_unsaved", "_hooks", "_pre_hooks")

    training: bool

    def __init__(self) -> None:
        attributes = self.__dict__
        attributes["_parameters"] = StructureDict()
        attributes["_buffers"] = StructureDict()
        attributes["_modules"] = StructureDict()
        attributes["_unsaved"] = set()
        attributes["_hooks"] = []
        attributes["_pre_hooks"] = []
        attributes["_name"] = ""
        attributes["training"] = True

    # -- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        STRUCTURE.bump()
        own = self.__dict__
        if "_parameters" not in own:
            raise ArgumentError(
                f"{type(self).__name__}: call super().__init__() before assigning attributes",
                loc=user_location(),
            )
        for registry, kind, wanted in _REGISTRIES:
            if isinstance(value, kind) and registry != "_buffers":
                self._forget(name, keep=registry)
                self._hold(registry, name, value)
                return
            if name in own[registry]:
                if value is not None and not isinstance(value, kind):
                    raise _misplaced(name, value, registry, wanted)
                own[registry][name] = value
                return
        super().__setattr__(name, value)

    def _hold(self, registry: str, name: str, value: Any) -> None:
        """Enter `value`; one that replaces another takes its place in the order."""
        self.__dict__[registry][name] = value
        if isinstance(value, Module):
            value._set_name(self._name_of_child(name))
        STRUCTURE.bump()

    def _forget(self, name: str, keep: str = "") -> None:
        for registry, _, _ in _REGISTRIES:
            if registry != keep:
                self.__dict__[registry].pop(name, None)
        self.__dict__.pop(name, None)

    # What a module is called in the scope of the eqns it makes: its name in the module that
    # calls it. Containers that are not called lend their own name to what they hold.

    def _set_name(self, name: str) -> None:
        self.__dict__["_name"] = name

    def _name_of_child(self, name: str) -> str:
        return name

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
        self._check_part(name, param, "_parameters")
        self._hold("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Hold a tensor that is state but not trained."""
        self._check_part(name, tensor, "_buffers")
        self._hold("_buffers", name, tensor)
        (self._unsaved.discard if persistent else self._unsaved.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Hold a submodule under `name`."""
        self._check_part(name, module, "_modules")
        self._hold("_modules", name, module)

    register_module = add_module

    def _check_part(self, name: str, value: Any, registry: str) -> None:
        if not name or "." in name:
            raise ArgumentError(
                f"{name!r} cannot name a part of a module: it is empty or has a dot",
                loc=user_location(4),
            )
        if name not in self.__dict__[registry] and hasattr(self, name):
            raise ArgumentError(f"attribute '{name}' already exists", loc=user_location(4))
        _, kind, wanted = next(row for row in _REGISTRIES if row[0] == registry)
        if value is not None and not isinstance(value, kind):
            raise _misplaced(name, value, registry, wanted)

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

    def named_buffers(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """`(dotted name, buffer)`, each buffer once."""
        lead = f"{prefix}." if prefix else ""
        return ((lead + name, b) for name, b in self._named("_buffers", recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self._named("_buffers", recurse))

    def get_submodule(self, target: str) -> Module:
        """The submodule of a dotted name."""
        found: Any = self
        for part in target.split(".") if target else []:
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]

    def get_parameter(self, target: str) -> Tensor:
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._parameters[name]  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._buffers[name]  # type: ignore[no-any-return]

    # -- modes ----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Training mode for this module and all below it; returns it."""
        self.training = bool(mode)
        for module in self.children():
            module.train(mode)
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
            if set_to_none or isinstance(parameter._grad, DroppedGrad):
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

    def float(self: M) -> M:
        """Floating parameters and buffers as float32; returns the module."""
        return self.to(float32)

    def double(self: M) -> M:
        """Floating parameters and buffers as float64; returns the module."""
        return self.to(float64)

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Dotted names to parameters and persistent buffers, sharing their memory.

        Args:
            prefix: put before every name.
            keep_vars: give the parameters themselves, not detached ones.
        """
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(set(), prefix.rstrip(".")):
            lead = f"{path}." if path else ""
            unsaved = module._unsaved
            held = {**module._parameters, **module._buffers}
            for name, value in held.items():
                if value is not None and name not in unsaved:
                    state[lead + name] = value if keep_vars else value.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name; nothing is copied unless all of them fit.

        Raises:
            StateError: names are missing or unexpected (with `strict`), or shapes differ.
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
            raise StateError(
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


def _misplaced(name: str, value: Any, registry: str, wanted: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"cannot assign '{type(value).__name__}' as {registry[1:-1]} '{name}' "
        f"({wanted} or None expected)",
        loc=user_location(4),
    )


def _convert(value: Tensor, dtype: DType) -> None:
    """Give a tensor other memory of another dtype; its handle stays."""
    with no_grad():
        other = value.detach().to(dtype)
        grad = value._grad  # one that was not kept stays so
        if isinstance(grad, Tensor):
            grad = grad.detach().to(dtype)
    value._storage, value._data, value._type = other._storage, other._data, other._type
    value._chain = ()
    value._grad = grad


# Where a module keeps its parts, and what an error calls them.
_REGISTRIES = (
    ("_parameters", Parameter, "nn.Parameter"),
    ("_modules", Module, "nn.Module"),
    ("_buffers", Tensor, "Tensor"),
)
