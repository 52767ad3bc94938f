"""The compiler's misbehaviour: a documented error, nothing left behind, and the next call works."""

import os
import subprocess
import sys
import time
from pathlib import Path

import fakecc as modes
import pytest
from handmade import RIGHT, add_module, run_add

from gradc.runtime import toolchain
from gradc.runtime.cache import store
from gradc.tracer.config import config
from gradc.tracer.errors import CompileError, CompilerNotFound


def assert_clean(folder, tmp_path):
    """No partial entry, no build folder, no temporary file."""
    assert not [p for p in folder.iterdir() if p.name.startswith("tmp-")]
    for entry in store().entries():
        assert sorted(p.name for p in entry.iterdir()) == ["k.c", "k.so", "manifest.json"]


def processes(pattern):
    found = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if pattern in line and " Z" not in line]


# -- finding --------------------------------------------------------------------------------------


def test_no_compiler_names_what_was_tried_and_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "_zig", list)
    with pytest.raises(CompilerNotFound) as error:
        run_add(add_module())
    text = str(error.value)
    for part in ("gcc: not found", "clang", "ziglang", "GRADC_CC", "backend='numpy'"):
        assert part in text


@pytest.mark.parametrize(
    ("cc", "reason"),
    [("/bin/false", "exit status 1"), ("no-such-cc", "not found"), ("/bin/true", "failed")],
)
def test_a_wrong_compiler_is_named(monkeypatch, cc, reason):
    if cc == "/bin/true":
        cc = "sh -c true"
    monkeypatch.setenv("GRADC_CC", cc)
    with pytest.raises(CompilerNotFound, match=reason):
        run_add(add_module())


def test_the_command_may_have_arguments_and_a_path_with_spaces(monkeypatch, tmp_path):
    place = tmp_path / 'odd "$(id)" -o x;'
    place.mkdir()
    script = modes.FakeCompiler(place, f'exec {modes.REAL} "$@"')
    monkeypatch.setenv("GRADC_CACHE_DIR", str(place / "cache"))
    config.cc = (str(script.path), "-DEXTRA=1")
    assert run_add(add_module()) == RIGHT
    assert script.runs == 1


def test_a_relative_compiler_path_is_found_from_any_folder(monkeypatch, tmp_path):
    modes.FakeCompiler(tmp_path, f'exec {modes.REAL} "$@"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADC_CC", "./fakecc")
    assert run_add(add_module()) == RIGHT


def test_a_warm_start_runs_no_compiler(monkeypatch, new_process):
    assert run_add(add_module()) == RIGHT
    new_process()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    assert run_add(add_module()) == RIGHT


def test_another_binary_at_the_same_path_is_another_compiler(fakecc, new_process):
    compiler = fakecc(f'exec {modes.REAL} "$@"')
    run_add(add_module())
    before = toolchain.find_compiler().identity
    compiler.write(f'exec {modes.REAL} "$@" # updated')
    new_process()
    assert toolchain.find_compiler().identity != before
    run_add(add_module())
    assert compiler.runs == 2


def test_zig_cc_compiles(monkeypatch):
    pytest.importorskip("ziglang")
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.setattr(toolchain.shutil, "which", _only_absolute)
    assert toolchain.find_compiler().kind == "zig"
    assert run_add(add_module()) == RIGHT


def _only_absolute(name):
    return name if os.path.isabs(name) else None


# -- running --------------------------------------------------------------------------------------


def test_failure_states_command_status_lines_and_source(fakecc, cache_folder, tmp_path):
    compiler = fakecc(modes.FLOODS)
    with pytest.raises(CompileError) as error:
        run_add(add_module())
    text = str(error.value)
    assert "exit status 1" in text and "fakecc -std" in text and "last line 3" in text
    assert len(text.splitlines()) < 30
    source = next(line.split("source: ")[1] for line in text.splitlines() if "source: " in line)
    assert "float *w_new" in Path(source).read_text()
    assert_clean(cache_folder, tmp_path)
    compiler.write(f'exec {modes.REAL} "$@"')
    assert run_add(add_module()) == RIGHT


@pytest.mark.parametrize("body", [modes.SLEEPS, modes.IGNORES_SIGTERM])
def test_a_compiler_that_hangs_is_killed(fakecc, cache_folder, tmp_path, monkeypatch, body):
    fakecc(body)
    monkeypatch.setenv("GRADC_CC_TIMEOUT", "0.4")
    started = time.monotonic()
    with pytest.raises(CompileError, match=r"took longer than 0\.4 s"):
        run_add(add_module())
    assert time.monotonic() - started < 5
    assert not processes("sleep 1000") and not processes(str(tmp_path / "fakecc"))
    assert_clean(cache_folder, tmp_path)


@pytest.mark.parametrize("body", [modes.GARBAGE, modes.NOTHING, modes.HALF])
def test_success_without_a_whole_library_is_a_failure(fakecc, cache_folder, tmp_path, body):
    compiler = fakecc(body)
    with pytest.raises(CompileError, match="made no library"):
        run_add(add_module())
    assert store().entries() == []
    assert_clean(cache_folder, tmp_path)
    compiler.write(f'exec {modes.REAL} "$@"')
    assert run_add(add_module()) == RIGHT


def test_every_cut_of_a_library_is_noticed(tmp_path):
    module = add_module()
    run_add(module)
    whole = (store().entries()[0] / "k.so").read_bytes()
    cut = tmp_path / "cut.so"
    for size in [*range(0, len(whole), 64), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        assert not toolchain.is_whole_library(cut)
    cut.write_bytes(whole)
    assert toolchain.is_whole_library(cut)


def test_a_killed_compiler_is_tried_again_at_o1(fakecc, cache_folder, tmp_path, new_process):
    compiler = fakecc(modes.KILLED_ONCE)
    assert run_add(add_module()) == RIGHT
    assert compiler.runs == 2
    # What -O1 made is not what the key promises, so it is not kept.
    assert store().entries() == []
    assert_clean(cache_folder, tmp_path)


@pytest.mark.parametrize(
    ("body", "name"), [(modes.KILLED, "SIGKILL"), (modes.SEGFAULTS, "SIGSEGV")]
)
def test_a_compiler_killed_twice_is_an_error(fakecc, cache_folder, tmp_path, body, name):
    compiler = fakecc(body)
    with pytest.raises(CompileError, match=f"killed by {name}"):
        run_add(add_module())
    assert compiler.runs == 2
    assert_clean(cache_folder, tmp_path)


def test_children_a_compiler_leaves_are_ended(fakecc):
    fakecc(modes.LEAVES_CHILDREN)
    assert run_add(add_module()) == RIGHT
    assert not processes("sleep 98")


def test_interrupt_ends_the_compiler(fakecc, cache_folder, tmp_path, monkeypatch):
    compiler = fakecc(modes.SLEEPS)
    monkeypatch.setattr(toolchain, "_ended", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_add(add_module())
    assert not processes("sleep 1000")
    assert_clean(cache_folder, tmp_path)
    monkeypatch.undo()
    compiler.write(f'exec {modes.REAL} "$@"')


def _interrupted(pid, timeout):
    time.sleep(0.2)
    raise KeyboardInterrupt
