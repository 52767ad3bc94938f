"""Imports go one way: api -> runtime -> codegen -> tracer, without cycles, all at the top."""

from __future__ import annotations

import ast

from sources import FILES, LAYERS, MODULES, ROOT, TREES, functions, imports, layer_of, name

# Where a package is loaded by name: the optional extras, each behind a clear error.
LOADS_BY_NAME = {
    "api/io.py": "safetensors",
    "runtime/jax_executable.py": "jax",
    "runtime/crosscheck.py": "jax",
    "runtime/toolchain.py": "ziglang",
}


def everywhere(find):
    """`file:line what` for all that `find(tree, path)` gives in any file."""
    return [f"{name(p)}:{line} {what}" for p in FILES for line, what in find(TREES[p], p)]


def test_imports_go_one_way():
    def upward(tree, path):
        own = LAYERS.index(path.relative_to(ROOT).parts[0])
        for line, module in imports(ast.walk(tree)):
            layer = None if module == "gradc" else layer_of(module)
            if layer and LAYERS.index(layer) > own:
                yield line, module

    assert everywhere(upward) == []


def test_imports_are_absolute_and_never_bare():
    def wrong(tree, path):
        yield from ((n.lineno, "relative") for n in ast.walk(tree) if getattr(n, "level", 0))
        yield from (i for i in imports(ast.walk(tree)) if i[1].split(".")[0] in LAYERS)

    assert everywhere(wrong) == []


def test_no_import_inside_a_function():
    def inner(tree, path):
        for function in functions(tree):
            yield from imports(ast.walk(function))

    assert everywhere(inner) == []


def test_only_optional_backends_are_loaded_by_name():
    loads = {"import_module", "find_spec", "__import__", "spec_from_file_location"}

    def loading(tree, path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name(path) not in LOADS_BY_NAME:
                called = getattr(node.func, "attr", getattr(node.func, "id", None))
                if called in loads:
                    yield node.lineno, called

    assert everywhere(loading) == []


def test_no_module_imports_itself_through_others():
    waiting = {
        m: {d for _, d in imports(TREES[p].body) if d in MODULES and d != m}
        for m, p in MODULES.items()
    }
    while ready := {m for m, needs in waiting.items() if not needs & set(waiting)}:
        waiting = {m: needs for m, needs in waiting.items() if m not in ready}
    assert not waiting


# Inside the tracer, which is the largest room: what may import what, by rank.
TRACER_RANK = {
    "graph": 0, "graph.verify": 2, "graph.parser": 3, "structure": 0, "storage": 1,
    "config": 1, "errors": 1, "ops": 2, "context": 2,
    "layout": 3, "record": 3, "tensor": 4, "trace": 5, "promotion": 4, "broadcasting": 5,
    "rules.table": 3, "rules.failures": 3, "rules.evaluate": 4, "interpreter": 6, "inplace": 7,
    "rules.vjp": 7, "transform": 7, "autograd": 8, "functional": 8, "creation": 9, "random": 9,
    "printing": 9, "methods": 10,
}  # fmt: skip


def rank(module):
    rest = module.removeprefix("gradc.tracer.")
    keys = [k for k in TRACER_RANK if rest == k or rest.startswith((k + ".", k + "_"))]
    return TRACER_RANK[max(keys, key=len)] if keys else None


def test_the_tracers_rooms_are_in_order():
    wrong = []
    for module, path in MODULES.items():
        own = rank(module) if module.startswith("gradc.tracer.") else None
        for _, other in imports(TREES[path].body):
            found = rank(other) if other.startswith("gradc.tracer.") else None
            if own is not None and found is not None and found > own:
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_a_name_that_is_loaded_is_an_extra():
    extras = (ROOT / "pyproject.toml").read_text()
    assert set(LOADS_BY_NAME) <= {name(p) for p in FILES}
    assert all(f'"{package}' in extras for package in LOADS_BY_NAME.values())
