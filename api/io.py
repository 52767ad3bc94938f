"""Saving and loading state: `gradc.save`, `gradc.load`, in the safetensors format.

    gradc.save({"model": model.state_dict(), "epoch": 3}, "m.safetensors")
    state = gradc.load("m.safetensors")

Nested dicts and lists of tensors, arrays, numbers, strings, bools and None come back as they were.
Tensors stand in the file under their dotted path, so other readers of the format find them; the
structure is kept beside them as JSON. Files are written whole or not at all.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradc.tracer.creation import from_numpy
from gradc.tracer.errors import ArgumentError, ArgumentTypeError
from gradc.tracer.graph.source import user_location
from gradc.tracer.tensor import Tensor

_STRUCTURE = "gradc"
_PLAIN = (bool, int, float, str, type(None))


def _safetensors() -> Any:
    try:
        return importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise ArgumentError(
            "saving and loading needs the package safetensors, which is not installed",
            loc=user_location(3),
            hint='pip install "gradc[save]"',
        ) from error


def save(state: Any, path: str | os.PathLike[str]) -> None:
    """Write `state` to `path`, atomically.

    Args:
        state: nested dicts (with string or int keys), lists and tuples of tensors, NumPy arrays
            and plain values; a state dict of a module or optimizer.

    Raises:
        ArgumentTypeError: something that cannot be saved, named by its path.
        ArgumentError: safetensors is not installed.
    """
    library = _safetensors()
    arrays: dict[str, Any] = {}
    structure = _pack(state, "", arrays)
    data = library.save(arrays, metadata={_STRUCTURE: json.dumps(structure)})
    # A link stays a link, and what it leads to is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _pack(value: Any, path: str, arrays: dict[str, Any]) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        array = value.detach().array() if isinstance(value, Tensor) else value
        name = path or "value"
        while name in arrays:
            name += "_"
        arrays[name] = np.array(array, order="C")
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [
            [key, _pack(item, f"{path}.{key}" if path else str(key), arrays)]
            for key, item in value.items()
        ]
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        lead = f"{path}." if path else ""
        return {kind: [_pack(v, f"{lead}{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return {"value": value}
    raise ArgumentTypeError(
        f"`{path or 'state'}` is a {type(value).__name__} and cannot be saved",
        loc=user_location(3),
        hint="save tensors, arrays, numbers, strings and dicts and lists of them",
    )


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote; any other safetensors file gives a dict of tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it is damaged, or safetensors is not installed.
    """
    library = _safetensors()
    data = Path(path).read_bytes()
    try:
        arrays = library.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        structure = json.loads(metadata[_STRUCTURE]) if _STRUCTURE in metadata else None
        tensors = {name: from_numpy(np.array(a)) for name, a in arrays.items()}
        return tensors if structure is None else _unpack(structure, tensors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, _damage()) as error:
        raise ArgumentError(
            f"{os.fspath(path)} is no whole safetensors file: {error}", loc=user_location()
        ) from error


def _damage() -> Any:
    return importlib.import_module("safetensors").SafetensorError


def _unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [_unpack(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return content
