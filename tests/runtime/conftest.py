"""A cache, settings and found compilers of each test's own."""

import pytest
from fakecc import FakeCompiler

from gradc.runtime import binding, cache, toolchain
from gradc.tracer.config import config


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """An empty cache; nothing found or loaded before is remembered. Yields its entries' folder."""
    for name in ("GRADC_CC", "GRADC_CFLAGS", "GRADC_CACHE_DISABLE", "GRADC_CACHE_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    forget()
    yield tmp_path / "cache" / cache.SCHEMA
    config.assigned.clear()
    forget()


def forget():
    """As a new process would: nothing is open, found or loaded."""
    cache.forget_stores()
    toolchain.forget_compilers()
    cache._private.clear()
    binding._libraries.clear()


@pytest.fixture
def new_process():
    return forget


@pytest.fixture
def fakecc(tmp_path, monkeypatch):
    """`fakecc(body)` makes a compiler that misbehaves and chooses it."""

    def make(body: str) -> FakeCompiler:
        compiler = FakeCompiler(tmp_path, body)
        monkeypatch.setenv("GRADC_CC", str(compiler.path))
        toolchain.forget_compilers()
        return compiler

    return make
