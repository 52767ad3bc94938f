"""A C compiler for the tests of generated text: builds once per text and flags."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from ctools import Build, find_tool


@pytest.fixture(scope="session")
def cc() -> str:
    return find_tool(("gcc", "cc", "clang"))


@pytest.fixture(scope="session")
def cxx() -> str:
    return find_tool(("g++", "c++", "clang++"))


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, cc: str) -> Build:
    """`build(text, *flags)`: the shared library of a C text."""
    folder = tmp_path_factory.mktemp("c")

    def make(text: str, *flags: str, tool: str | list[str] = cc, suffix: str = ".c") -> Path:
        key = hashlib.sha256(repr((text, flags, tool)).encode()).hexdigest()[:16]
        source, target = folder / f"{key}{suffix}", folder / f"{key}.so"
        if not target.exists():
            source.write_text(text, encoding="ascii")
            driver = [tool] if isinstance(tool, str) else tool
            command = [*driver, *flags, "-fPIC", "-shared", "-o", str(target), str(source)]
            command += [f for f in flags if f.startswith("-l")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:4000]}"
        return target

    return make
