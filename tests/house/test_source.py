"""What every source file must be like: short, documented, and free of what is forbidden."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from statistics import median

import pytest
from sources import FILES, ROOT, TREES, functions, name

import gradc
from gradc import autograd, data, func, nn, optim

FORBIDDEN = re.compile(
    r"\b(TODO|FIXME|XXX|HACK)\b|shell=True|-ffast-math\"|^\s*(import|from) (pickle|marshal|dill)\b"
)
VAGUE = {"utils", "util", "common", "misc", "helpers", "helper", "stuff"}
# Folders of one machine; the project is at home anywhere.
MACHINE = re.compile(r"(?<![\w.])/(work|home|root|Users|mnt|workspace)/\w")
TEXTS = sorted(
    p
    for pattern in ("*.md", "*.toml", "Makefile", ".ci/*", "docs/*.md", "tests/**/*.py",
                    "examples/**/*", "benchmarks/**/*")
    for p in ROOT.glob(pattern)
    if p.is_file() and "__pycache__" not in p.parts
)  # fmt: skip


def test_files_are_short():
    assert [name(p) for p in FILES if len(p.read_text("utf-8").splitlines()) > 800] == []


def test_functions_are_short():
    lengths = [f.end_lineno - f.lineno + 1 for tree in TREES.values() for f in functions(tree)]
    assert sum(n < 25 for n in lengths) >= 0.9 * len(lengths)
    assert median(lengths) <= 8


def lines_with(pattern, paths):
    return [
        f"{name(p)}:{i} {line.strip()}"
        for p in paths
        for i, line in enumerate(p.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_forbidden():
    calls = [
        f"{name(p)}:{n.lineno} {n.func.id}"
        for p in FILES
        for n in ast.walk(TREES[p])
        if isinstance(n, ast.Call) and getattr(n.func, "id", None) in ("eval", "exec")
    ]
    assert lines_with(FORBIDDEN, FILES) + calls == []


def test_no_folders_of_one_machine():
    found = lines_with(MACHINE, [*FILES, *TEXTS])
    assert [f for f in found if not f.startswith("tests/house/test_source.py")] == []


def test_names_say_what_is_inside():
    assert [name(p) for p in FILES if p.stem in VAGUE] == []


def test_modules_open_with_what_they_are():
    assert [name(p) for p in FILES if not ast.get_docstring(TREES[p])] == []


PUBLIC = (gradc, nn, nn.functional, nn.init, optim, data, func, autograd)


@pytest.mark.parametrize("module", PUBLIC, ids=lambda m: m.__name__)
def test_what_users_call_is_documented(module):
    public = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
    bare = [
        n
        for n in public
        if (inspect.isfunction(f := getattr(module, n)) or inspect.isclass(f))
        and f.__module__.startswith("gradc")
        and not (f.__doc__ or "").strip()
    ]
    assert not bare


def test_every_package_is_listed():
    listed = set(re.findall(r'"(gradc[\w.]*)"', (ROOT / "pyproject.toml").read_text("utf-8")))
    for path in FILES:
        if path.name == "__init__.py":
            parts = path.parent.relative_to(ROOT).parts
            package = "gradc" if parts[0] == "api" else f"gradc.{parts[0]}"
            assert ".".join([package, *parts[1:]]) in listed


def test_data_files_travel_with_the_wheel():
    """Every file of the four folders is Python, or of a kind that package-data names."""
    known = {".py", ".c", ".h", ".typed"}
    tracked = subprocess.run(
        ["git", "ls-files", "api", "tracer", "codegen", "runtime"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for line in tracked.stdout.splitlines():
        assert "." + line.rsplit(".", 1)[-1] in known, line
