"""The project's source files, parsed once for all house tests."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# From the lowest to the highest: each may import those before it.
LAYERS = ("tracer", "codegen", "runtime", "api")
FILES = sorted(p for layer in LAYERS for p in (ROOT / layer).rglob("*.py"))
TREES = {p: ast.parse(p.read_text("utf-8")) for p in FILES}


def name(path):
    """The path as the tests print it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    """The import name of a file: api/nn/module.py is gradc.nn.module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("gradc", *(parts[1:] if parts[0] == "api" else parts))
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(p): p for p in FILES}


def layer_of(module):
    """The layer of an import name; None outside gradc."""
    parts = module.split(".")
    if parts[0] != "gradc":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS[:3] else "api"


def imports(nodes):
    """(line, import name) of every import among `nodes`, the deepest module where it is one."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in MODULES else node.module or ""
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name


def functions(tree):
    """Every function and method of a module."""
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
