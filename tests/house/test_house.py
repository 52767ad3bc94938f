"""The house rules, read off the source: layers, sizes, imports, tables, import cost."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradc.codegen.jax.rules import jax_rule
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.rules.vjp import vjp

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("tracer", "codegen", "runtime", "api")
FILES = sorted(p for layer in LAYERS for p in (ROOT / layer).rglob("*.py"))
TREES = {p: ast.parse(p.read_text()) for p in FILES}


def name(path):
    return str(path.relative_to(ROOT))


def layer_of_module(module):
    parts = module.split(".")
    if parts[0] != "gradc":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS[:3] else "api"


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node, node.module or ""
            for alias in node.names:
                yield node, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_one_way(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    wrong = [
        module
        for _, module in imports(TREES[path])
        if (layer := layer_of_module(module)) and module != "gradc"
        and LAYERS.index(layer) > own
    ]  # fmt: skip
    assert not wrong


# Inside the tracer: what may import what, by rank.
TRACER_RANK = {
    "graph": 0, "graph.verify": 2, "graph.parser": 3, "structure": 0, "storage": 0,
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


def test_the_tracer_has_no_cycle_between_its_rooms():
    wrong = []
    for path, tree in TREES.items():
        if path.relative_to(ROOT).parts[0] != "tracer":
            continue
        module = "gradc." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        own = rank(module.removesuffix(".__init__"))
        top = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
        for node in top:
            other = rank(node.module or "")
            if own is not None and other is not None and other > own:
                wrong.append(f"{module} imports {node.module}")
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 800


def test_functions_are_short():
    lengths = [
        n.end_lineno - n.lineno + 1
        for tree in TREES.values()
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef)
    ]
    assert sum(n <= 25 for n in lengths) >= 0.9 * len(lengths)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_import_inside_a_function(path):
    for node in ast.walk(TREES[path]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert not inner, f"{name(path)}:{inner[0].lineno}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_forbidden(path):
    text = path.read_text()
    forbidden = r"\b(TODO|FIXME|XXX)\b|shell=True|-ffast-math\"|^\s*import (pickle|marshal)\b"
    found = [line for line in text.splitlines() if re.search(forbidden, line)]
    calls = [
        n.func.id
        for n in ast.walk(TREES[path])
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]
    assert not found and not {"eval", "exec"} & set(calls)


@pytest.mark.parametrize("table", [evaluate, vjp, jax_rule], ids=lambda t: t.concern)
def test_no_rule_is_missing(table):
    assert table.missing() == []


def run(code, cwd):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_the_folders_cannot_be_imported_bare(tmp_path):
    for layer in LAYERS:
        found = run(f"import {layer}", tmp_path)
        assert found.returncode != 0 and "ModuleNotFoundError" in found.stderr


def test_import_loads_no_optional_package(tmp_path):
    heavy = {"jax", "scipy", "sklearn", "rich", "safetensors", "ml_dtypes", "torch"}
    code = f"import sys, gradc; print({heavy} & set(sys.modules) or 'none')"
    assert run(code, tmp_path).stdout.strip() == "none"


def test_every_package_is_listed():
    listed = set(re.findall(r'"(gradc[\w.]*)"', (ROOT / "pyproject.toml").read_text()))
    for path in FILES:
        if path.name == "__init__.py":
            parts = path.parent.relative_to(ROOT).parts
            package = "gradc" if parts[0] == "api" else f"gradc.{parts[0]}"
            assert ".".join([package, *parts[1:]]) in listed
