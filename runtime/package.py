"""The files of an exported program: written from one, and turned into one again.

    write_package(program, Path("out"))     out/train.c train.h train_state.h train.safetensors
                                            out/train.json Makefile
    load("out")(x, y)                       compiled unless the cache has it, and run

The manifest is JSON and says everything a caller must know: inputs, outputs, which output replaces
which input, the work area, flags, what a failing check means, and how Python's arguments and
results are nested. Loading a package compiles and runs the C in it: load only what you trust.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optree

from gradc.codegen.c.module import CheckSite, CModule, Port
from gradc.codegen.c.names import check_exported
from gradc.codegen.c.package import makefile, state_header
from gradc.codegen.c.target import ABI_VERSION, FLAGS
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CBound
from gradc.runtime.state_file import StateLayout, read_state, write_state, write_whole
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.source import Location, user_location
from gradc.tracer.graph.types import BY_NAME, TensorType
from gradc.tracer.storage import Array, Storage
from gradc.tracer.tensor import Tensor, new_tensor

FORMAT, VERSION = "gradc-aot", 1
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Program:
    """A program with all that its package says of it, however it was made.

    Attributes:
        names: what the user calls each input of the module.
        state: the arrays of `module.inputs[n_args:]`.
        values: of inputs that are numbers read anew at every call, by position.
        call: how Python's arguments and results map to inputs and outputs (see `describe_call`).
    """

    module: CModule
    names: Sequence[str]
    state: Sequence[Array]
    values: Mapping[int, float | int]
    call: Mapping[str, Any]


# -- plain data -----------------------------------------------------------------------------------


def plain(value: Any, what: str) -> Any:
    """`value`, if JSON can hold it.

    Raises:
        ArgumentError: it cannot; the message begins with `what`.
    """
    if type(value) not in PLAIN:
        raise ArgumentError(
            f"{what} is a {type(value).__name__}, which an exported program cannot hold",
            loc=user_location(),
            hint="numbers, strings, booleans and None can be exported",
        )
    return value


def nesting(value: Any) -> Any:
    """Containers as JSON: `["tuple", ...]`, `["list", ...]`, `["dict", [key, ...], ...]`."""
    if isinstance(value, Mapping):
        keys = [plain(k, f"the key {k!r}") for k in value]
        return ["dict", keys, *map(nesting, value.values())]
    if isinstance(value, (tuple, list)):
        return ["tuple" if isinstance(value, tuple) else "list", *map(nesting, value)]
    return value


def unnest(nested: Any, leaves: Sequence[Any]) -> Any:
    """The containers that `nesting` describes, with `leaves` in the places of their numbers."""
    if not isinstance(nested, list):
        return leaves[nested]
    if nested[0] == "dict":
        return {k: unnest(v, leaves) for k, v in zip(nested[1], nested[2:], strict=True)}
    values = [unnest(v, leaves) for v in nested[1:]]
    return tuple(values) if nested[0] == "tuple" else values


def current(storage: Storage) -> Array:
    """What the memory holds now."""
    storage.sync()
    assert storage.array is not None, "state holds data outside a trace"
    return storage.array


# -- writing --------------------------------------------------------------------------------------


def write_package(program: Program, folder: Path) -> Path:
    """Write the files of a program; the manifest last, so that it names only what is there.

    Raises:
        OSError: the folder cannot be written.
    """
    module, stem = program.module, program.module.name
    folder.mkdir(parents=True, exist_ok=True)
    names = list(program.names[module.n_args :])
    layout = write_state(folder / f"{stem}.safetensors", dict(zip(names, program.state)))
    offsets = [layout.offsets[n] for n in names]
    texts = {
        f"{stem}.c": module.source,
        f"{stem}.h": module.header,
        f"{stem}_state.h": state_header(
            module, names, offsets, layout.begin, layout.size, program.values
        ),
        "Makefile": makefile(stem, threads=module.threads > 1),
    }
    for file, text in texts.items():
        write_whole(folder / file, text.encode())
    manifest = seal(_manifest(program, layout, texts))
    path = folder / f"{stem}.json"
    write_whole(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return path


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with a digest of itself: shapes that do not fit the C would end the process."""
    text = json.dumps({k: v for k, v in manifest.items() if k != "digest"}, sort_keys=True)
    return {**manifest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _manifest(program: Program, layout: StateLayout, texts: Mapping[str, str]) -> dict[str, Any]:
    module = program.module
    replaced = dict(module.aliases)
    return {
        "format": FORMAT,
        "version": VERSION,
        "abi": ABI_VERSION,
        "name": module.name,
        "work_bytes": module.work_bytes,
        "threads": module.threads,
        "flags": list(FLAGS),
        "files": {f: hashlib.sha256(text.encode()).hexdigest() for f, text in texts.items()},
        "arguments": module.n_args,
        "inputs": [_input(program, layout, i) for i in range(len(module.inputs))],
        "outputs": [
            {**_port(port), "replaces": replaced.get(o)} for o, port in enumerate(module.outputs)
        ],
        "state": {"file": f"{module.name}.safetensors", "begin": layout.begin,
                  "bytes": layout.size},
        "checks": [_check(site) for site in module.checks.values()],
        "call": dict(program.call),
    }  # fmt: skip


def _port(port: Port) -> dict[str, Any]:
    shape = list(known_shape(port.type.shape))
    return {"c_name": port.name, "dtype": port.type.dtype.name, "shape": shape}


def _input(program: Program, layout: StateLayout, i: int) -> dict[str, Any]:
    facts = {"name": program.names[i], **_port(program.module.inputs[i])}
    if i in program.values:
        facts["value"] = program.values[i]
    if i >= program.module.n_args:
        facts["offset"] = layout.offsets[program.names[i]]
    return facts


def _check(site: CheckSite) -> dict[str, Any]:
    loc = site.loc
    where = None if loc is None else [loc.basename, loc.line, loc.function]
    return {"eqn": site.eqn_id, "kind": site.kind, "prim": site.prim, "message": site.message,
            "where": where, "operands": site.operands}  # fmt: skip


# -- loading --------------------------------------------------------------------------------------


def load(folder: str | Path, name: str | None = None) -> ExportedFunction:
    """An exported function, with the state that lies beside it, to be called from Python.

    The C is compiled unless the cache has it. The package is trusted as code is.

    Args:
        folder: where it was exported to.
        name: which, if there are several.

    Raises:
        ArgumentError: there is no package, or its files do not belong together.
        CompilerNotFound, CompileError: the C cannot be compiled.
    """
    manifest = _read_manifest(Path(folder), name)
    try:
        return ExportedFunction(Path(folder), manifest)
    except FileNotFoundError as error:
        raise ArgumentError(f"a file of the package is missing: {error.filename}") from None


def _read_manifest(folder: Path, name: str | None) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and data.get("format") == FORMAT:
            found[str(data.get("name"))] = data
    if name is None and len(found) == 1:
        (name,) = found
    if name is None or name not in found:
        which = f"no program `{name}`" if name else f"{len(found)} programs"
        raise ArgumentError(
            f"{which} in {folder}",
            operands=sorted(found), loc=user_location(3),
            hint="name= chooses one" if found else "gradc.aot.export writes one",
        )  # fmt: skip
    _check_files(folder, found[name])
    return found[name]


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    if seal(manifest) != manifest:
        raise ArgumentError(
            f"the manifest in {folder} is not as it was exported", hint="export it again"
        )
    versions = manifest.get("version"), manifest.get("abi")
    if versions != (VERSION, ABI_VERSION):
        raise ArgumentError(
            f"{folder} was exported in format {versions}, this is {(VERSION, ABI_VERSION)}",
            hint="export it again",
        )
    file = f"{manifest['name']}.c"
    try:
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    except FileNotFoundError:
        digest = ""
    if digest != manifest["files"].get(file):
        raise ArgumentError(
            f"{folder / file} is not the file that was exported with {file[:-1]}json"
        )


def _module_of(folder: Path, manifest: Mapping[str, Any]) -> CModule:
    name = check_exported(manifest["name"])
    replaces = [(o, port["replaces"]) for o, port in enumerate(manifest["outputs"])]
    return CModule(
        name=name,
        source=(folder / f"{name}.c").read_text("utf-8"),
        header="",
        inputs=tuple(_read_port(p) for p in manifest["inputs"]),
        outputs=tuple(_read_port(p) for p in manifest["outputs"]),
        aliases=tuple((o, i) for o, i in replaces if i is not None),
        n_args=int(manifest["arguments"]),
        work_bytes=int(manifest["work_bytes"]),
        checks={c["eqn"]: _read_check(c) for c in manifest["checks"]},
        kernels=(),
        threads=int(manifest["threads"]),
    )


def _read_port(facts: Mapping[str, Any]) -> Port:
    return Port(str(facts["c_name"]), TensorType(tuple(facts["shape"]), BY_NAME[facts["dtype"]]))


def _read_check(facts: Mapping[str, Any]) -> CheckSite:
    where = facts["where"]
    return CheckSite(
        int(facts["eqn"]), str(facts["kind"]), str(facts["prim"]),
        None if where is None else _location(*where), str(facts["message"]),
        None if facts["operands"] is None else tuple(map(str, facts["operands"])),
    )  # fmt: skip


def _location(file: str, line: int, function: str) -> Location:
    """A line of a file that need not exist here."""
    code = _location.__code__.replace(co_filename=str(file), co_name=str(function))
    return Location(code, int(line))


class ExportedFunction:
    """What `load` gives: call it as the function that was exported.

    Attributes:
        state: the tensors the program reads and writes, by name; writes to them are seen.
        values: the numbers it reads at every call (a learning rate), by name; may be changed.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.name = str(manifest["name"])
        self.folder = folder
        self._module = _module_of(folder, manifest)
        self._call = manifest["call"]
        inputs = manifest["inputs"]
        n_args = self._module.n_args
        self._dynamic = [int(i) for i in self._call["inputs"]]
        numbers = inputs[len(self._dynamic) : n_args]
        self.values: dict[str, float | int] = {p["name"]: p["value"] for p in numbers}
        arrays = read_state(folder / manifest["state"]["file"])
        self.state = {p["name"]: new_tensor(arrays[p["name"]]) for p in inputs[n_args:]}
        self._storages = [t._storage for t in self.state.values()]
        self._bound = CBound(self._module, load_module(self._module), self._storages)
        self._written = [i - n_args for _, i in self._module.aliases if i >= n_args]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once on arguments of the exported shapes and dtypes.

        Raises:
            ArgumentError: arguments of another structure, shape or dtype.
            IndexOutOfRange, DivisionByZero, AssertionFailed: as the function itself would.
        """
        leaves = self._leaves(args, kwargs)
        numbers = list(self.values.values())
        values = [*(leaves[i] for i in self._dynamic), *numbers]
        arrays = [self._array(i, value) for i, value in enumerate(values)]
        outputs = self._bound(arrays)
        for i in self._written:
            self._storages[i].bump()
        for position, output in self._call["writes"]:
            _write_back(leaves[position], outputs[output])
        results = [self._result(r, leaves, outputs) for r in self._call["results"]]
        return unnest(self._call["result"], results)

    def save(self) -> Path:
        """Write the present state back to the package; returns the file."""
        path = self.folder / f"{self.name}.safetensors"
        write_state(path, {name: current(t._storage) for name, t in self.state.items()})
        return path

    def _leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        ordered = {k: kwargs[k] for k in sorted(kwargs)}
        nested: Any = (tuple(args), ordered)
        leaves: list[Any]
        leaves, tree = optree.tree_flatten(nested, none_is_leaf=True)
        places: Any = optree.tree_unflatten(tree, list(range(len(leaves))))
        if nesting(list(places)) != self._call["arguments"]:
            names = ", ".join(self._call["names"])
            raise ArgumentError(
                f"{self.name} was exported for the arguments ({names}), nested as then",
                loc=user_location(3),
            )
        for i, value in self._call["static"].items():
            given = leaves[int(i)]
            if type(given) is not type(value) or given != value:
                raise ArgumentError(
                    f"{self.name} was exported with {self._call['names'][int(i)]}={value!r}, "
                    f"and is called with {given!r}",
                    loc=user_location(3),
                )
        return leaves

    def _array(self, i: int, value: Any) -> Array:
        port = self._module.inputs[i]
        dtype = port.type.dtype.numpy
        if isinstance(value, Tensor):
            array = value.array()
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            array = np.array(value, dtype)
        else:
            array = np.asarray(value)
        if array.shape != port.type.shape or array.dtype != dtype:
            raise ArgumentError(
                f"{self.name}: argument `{port.name}` is {array.dtype}{list(array.shape)}, and was "
                f"{port.type} when it was exported",
                loc=user_location(4),
            )
        return np.ascontiguousarray(array).reshape(array.shape)

    def _result(
        self, source: Mapping[str, Any], leaves: Sequence[Any], outputs: Sequence[Array]
    ) -> Any:
        ((kind, value),) = source.items()
        if kind == "output":
            return new_tensor(outputs[value])
        if kind == "argument":
            leaf = leaves[value]
            same = isinstance(leaf, (Tensor, int, float))
            return leaf if same else new_tensor(np.array(leaf))
        return list(self.state.values())[value] if kind == "state" else value

    def __repr__(self) -> str:
        return f"<exported function {self.name} of {self.folder}>"


def _write_back(target: Any, value: Array) -> None:
    np.copyto(target.array() if isinstance(target, Tensor) else target, value)
    if isinstance(target, Tensor):
        target._storage.bump()
