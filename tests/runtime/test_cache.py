"""Whatever is wrong with the cache costs a warning and a compilation, never a result."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import fakecc as modes
import pytest
from handmade import RIGHT, add_module, run_add

from gradc.runtime import cache
from gradc.runtime.binding import recipe_of
from gradc.runtime.cache import CacheWarning, store
from gradc.runtime.toolchain import find_compiler
from gradc.tracer.errors import CompileError

ROOT = os.geteuid() == 0
NOBODY = 65534


def only_entry():
    (entry,) = store().entries()
    return entry


# -- the good case --------------------------------------------------------------------------------


def test_an_entry_is_found_again_by_another_process(cache_folder, new_process, fakecc):
    compiler = fakecc(f'exec {modes.REAL} "$@"')
    assert run_add(add_module()) == RIGHT
    new_process()
    assert run_add(add_module()) == RIGHT
    assert compiler.runs == 1
    manifest = json.loads((only_entry() / "manifest.json").read_text())
    assert manifest["flags"] and manifest["isa"] and manifest["compiler"]


def test_everything_is_private_to_the_user(cache_folder):
    run_add(add_module())
    for folder in (cache_folder.parent, cache_folder, only_entry()):
        assert folder.stat().st_mode & 0o777 == 0o700
    for file in only_entry().iterdir():
        assert file.stat().st_mode & 0o022 == 0


def test_comments_do_not_change_the_key_and_text_does():
    module = add_module()
    edited = add_module(salt="0/* another comment */")
    other = add_module(salt="1")
    assert recipe_of(module).key == recipe_of(edited).key
    assert recipe_of(module).key != recipe_of(other).key


@pytest.mark.parametrize("variable", ["CPATH", "LIBRARY_PATH", "CFLAGS"])
def test_the_key_covers_what_compilers_read(monkeypatch, variable):
    before = recipe_of(add_module()).key
    monkeypatch.setenv(variable, "/somewhere")
    assert recipe_of(add_module()).key != before


def test_the_key_covers_flags_compiler_and_processor(monkeypatch):
    recipe = recipe_of(add_module())
    other_cpu = cache.Recipe(
        recipe.name, recipe.source, recipe.key_text, recipe.compiler, recipe.flags, isa="486"
    )
    monkeypatch.setenv("GRADC_CFLAGS", "-g")
    keys = {recipe.key, other_cpu.key, recipe_of(add_module()).key}
    assert len(keys) == 3


def test_a_warm_lookup_is_fast(new_process):
    module = add_module(1 << 15, salt="0}; static const char big[1000000] = {1")
    module = type(module)(**{**vars(module), "source": _with_ballast(module.source)})
    cache_path = store().obtain(recipe_of(module))
    assert cache_path.stat().st_size > 1_000_000
    times = []
    for _ in range(5):
        started = time.perf_counter()
        assert store().lookup(recipe_of(module).key) is not None
        times.append(time.perf_counter() - started)
    assert min(times) < 0.02


def _with_ballast(text):
    ballast = "const unsigned char f_ballast[1000000] = {1, 2, 3};\n"
    return text.replace("#define SALT", "#define IGNORED", 1) + ballast


# -- damage ---------------------------------------------------------------------------------------


def _truncate(entry):
    data = (entry / "k.so").read_bytes()
    (entry / "k.so").write_bytes(data[: len(data) // 2])


def _empty(entry):
    (entry / "k.so").write_bytes(b"")


def _flip(entry):
    data = bytearray((entry / "k.so").read_bytes())
    data[len(data) // 2] ^= 1
    (entry / "k.so").write_bytes(data)


def _lose_library(entry):
    (entry / "k.so").unlink()


def _lose_manifest(entry):
    (entry / "manifest.json").unlink()


def _garble_manifest(entry):
    (entry / "manifest.json").write_text('{"files": [')


def _nest_manifest(entry):
    (entry / "manifest.json").write_text("[" * 100_000)


def _library_is_folder(entry):
    (entry / "k.so").unlink()
    (entry / "k.so").mkdir()


def _library_is_link(entry):
    os.rename(entry / "k.so", entry / "real.so")
    os.symlink(entry / "real.so", entry / "k.so")


def _entry_is_file(entry):
    shutil.rmtree(entry)
    entry.write_text("")


def _entry_is_link(entry):
    os.rename(entry, entry.parent / "elsewhere")
    os.symlink(entry.parent / "elsewhere", entry)


def _writable_by_others(entry):
    (entry / "k.so").chmod(0o666)


DAMAGE = [
    _truncate, _empty, _flip, _lose_library, _lose_manifest, _garble_manifest, _nest_manifest,
    _library_is_folder, _library_is_link, _entry_is_file, _entry_is_link, _writable_by_others,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__.strip("_"))
def test_a_damaged_entry_is_removed_and_built_again(damage, fakecc):
    compiler = fakecc(f'exec {modes.REAL} "$@"')
    recipe = recipe_of(add_module())
    store().obtain(recipe)  # not loaded: damage to a loaded file would end this process
    damage(only_entry())
    with pytest.warns(CacheWarning, match="removed a damaged entry"):
        assert run_add(add_module()) == RIGHT
    assert compiler.runs == 2
    cache.check_entry(only_entry())


def test_every_cut_and_every_flipped_byte_is_noticed():
    recipe = recipe_of(add_module())
    entry = store().obtain(recipe).parent
    whole = (entry / "k.so").read_bytes()
    for at in range(0, len(whole), 256):
        for bad in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            (entry / "k.so").write_bytes(bad)
            with pytest.raises(ValueError, match="not what was built"):
                cache.check_entry(entry)


def test_swapped_entries_are_noticed(new_process):
    first, second = add_module(), add_module(salt="1")
    a = store().obtain(recipe_of(first)).parent
    b = store().obtain(recipe_of(second)).parent
    os.rename(a, a.with_name("x"))
    os.rename(b, a)
    os.rename(a.with_name("x"), b)
    with pytest.warns(CacheWarning, match="another program"):
        assert store().obtain(recipe_of(first)).parent == a


def test_a_library_that_does_not_load_is_built_again(fakecc):
    compiler = fakecc(f'exec {modes.REAL} "$@"')
    store().obtain(recipe_of(add_module()))
    entry = only_entry()
    data = (entry / "k.so").read_bytes().replace(b"f_abi_version", b"g_abi_version")
    manifest = json.loads((entry / "manifest.json").read_text())
    manifest["files"]["k.so"]["sha256"] = cache.hashlib.sha256(data).hexdigest()
    (entry / "k.so").write_bytes(data)
    (entry / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(CacheWarning, match="no symbol"):
        assert run_add(add_module()) == RIGHT
    assert compiler.runs == 2


def test_verification_mode_compares_with_a_new_compilation(monkeypatch):
    recipe = recipe_of(add_module())
    store().obtain(recipe)
    monkeypatch.setenv("GRADC_CACHE_VERIFY", "1")
    store().obtain(recipe)  # equal: no warning
    entry = only_entry()
    data = (entry / "k.so").read_bytes() + b"more"
    manifest = json.loads((entry / "manifest.json").read_text())
    facts = {"size": len(data), "sha256": cache.hashlib.sha256(data).hexdigest()}
    manifest["files"]["k.so"] = facts
    (entry / "k.so").write_bytes(data)
    (entry / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(CacheWarning, match="differs from a new compilation"):
        assert run_add(add_module()) == RIGHT


# -- directories that cannot be used --------------------------------------------------------------


def test_a_linked_cache_folder_is_refused(tmp_path, monkeypatch, new_process):
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "link"))
    with pytest.warns(CacheWarning, match="symbolic link"):
        assert run_add(add_module()) == RIGHT
    assert list((tmp_path / "real").iterdir()) == []


def test_a_folder_others_may_write_is_refused(tmp_path, monkeypatch):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(open_to_all))
    with pytest.warns(CacheWarning, match="may be written by other users"):
        assert run_add(add_module()) == RIGHT
    assert list(open_to_all.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="needs to give a directory away")
def test_a_foreign_folder_is_refused(tmp_path, monkeypatch):
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    os.chown(foreign, NOBODY, NOBODY)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(foreign))
    with pytest.warns(CacheWarning, match=f"belongs to user {NOBODY}"):
        assert run_add(add_module()) == RIGHT
    assert list(foreign.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(CacheWarning):
        assert run_add(add_module()) == RIGHT


def test_warned_once_and_every_program_works(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(CacheWarning) as seen:
        run_add(add_module())
        run_add(add_module(salt="1"))
    assert len(seen) == 1


CHILD = """
import sys, warnings
sys.path.insert(0, {tests!r})
from handmade import RIGHT, add_module, run_add
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
{body}
print(len(seen), *[w.message for w in seen])
"""


def child(folder, body="assert run_add(add_module()) == RIGHT", **environment):
    """Another process that compiles and runs the program of `add_module`."""
    indented = textwrap.indent(body.strip(), "    ")
    code = CHILD.format(tests=str(Path(__file__).parent), body=indented)
    settings = {"GRADC_CACHE_DIR": str(folder), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **settings}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


@pytest.mark.skipif(not ROOT, reason="needs to mount a small disk")
def test_a_full_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir(mode=0o700)
    size = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(small)]
    if subprocess.run(size, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (small / "fill").write_bytes(bytes(40_000))
        out = finish(child(small))
        assert out.startswith("1 ") and "cannot be kept" in out
        assert not list(small.glob("v1/tmp-*"))
        assert not [p for p in (small / "v1").iterdir() if len(p.name) == 64]
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(not ROOT, reason="needs to mount")
def test_a_read_only_cache_serves_what_it_has(tmp_path):
    folder = tmp_path / "cache"
    assert finish(child(folder)).startswith("0")
    remount = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(remount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        assert finish(child(folder)).startswith("0")
        out = finish(child(folder, GRADC_CFLAGS="-g"))
        assert out.startswith("1 ") and "Read-only file system" in out
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_without_home(tmp_path):
    process = child("", HOME=str(tmp_path / "missing"), XDG_CACHE_HOME="")
    assert finish(process).strip().endswith("0")
    assert (tmp_path / "missing" / ".cache" / "gradc" / "v1").is_dir()


# -- races ----------------------------------------------------------------------------------------


def test_processes_racing_compile_once(tmp_path, fakecc):
    compiler = fakecc(modes.SLOW_HALVES)
    find_compiler()
    racers = [child(tmp_path / "cache") for _ in range(3)]
    for racer in racers:
        assert finish(racer).startswith("0")
    assert compiler.runs == 1
    assert len(store().entries()) == 1


def test_threads_racing_compile_once(fakecc):
    compiler = fakecc(modes.SLOW)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_add(add_module()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [RIGHT] * 4
    assert compiler.runs == 1


def test_a_holder_that_was_killed_holds_nothing(tmp_path, fakecc, cache_folder):
    fakecc(f'touch {tmp_path}/started; sleep 30; exec {modes.REAL} "$@"')
    holder = child(tmp_path / "cache")
    _wait_for(tmp_path / "started")
    holder.kill()
    holder.communicate()
    fakecc(f'exec {modes.REAL} "$@"')
    started = time.monotonic()
    assert run_add(add_module()) == RIGHT
    assert time.monotonic() - started < 10
    assert len(store().entries()) == 1


def test_a_stopped_holder_is_waited_for_so_long_only(tmp_path, fakecc, monkeypatch):
    compiler = fakecc(f'touch {tmp_path}/started; sleep 3; exec {modes.REAL} "$@"')
    holder = child(tmp_path / "cache")
    _wait_for(tmp_path / "started")
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        monkeypatch.setenv("GRADC_LOCK_TIMEOUT", "0.3")
        assert run_add(add_module()) == RIGHT
        assert compiler.runs == 2
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    assert finish(holder).startswith("0")
    assert len(store().entries()) == 1


def _wait_for(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_loser_of_a_race_takes_the_winners_entry():
    recipe = recipe_of(add_module())
    winner = store().obtain(recipe)
    before = winner.stat().st_ino
    assert store()._publish(recipe) == winner
    assert winner.stat().st_ino == before
    assert not list(store().root.glob("tmp-*"))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_compiles(fakecc):
    fakecc(modes.SLOW)
    thread = threading.Thread(target=run_add, args=(add_module(),))
    thread.start()
    time.sleep(0.3)
    child = multiprocessing.get_context("fork").Process(target=run_add, args=(add_module(),))
    child.start()
    child.join(20)
    thread.join()
    assert child.exitcode == 0


# -- housekeeping ---------------------------------------------------------------------------------


def test_the_least_recently_used_go_first(monkeypatch):
    opened = store()
    made = [opened.obtain(recipe_of(add_module(salt=str(i)))).parent for i in range(4)]
    for age, entry in zip((400, 300, 200, 100), made):
        then = time.time() - age
        os.utime(entry / "manifest.json", (then, then))
    opened.lookup(made[0].name)  # used just now
    size = sum(p.stat().st_size for p in made[0].iterdir())
    opened.evict(2 * size + size // 2)
    assert set(opened.entries()) == {made[0], made[3]}


def test_the_limit_is_kept_while_building(monkeypatch):
    monkeypatch.setenv("GRADC_CACHE_SIZE", "40K")
    for i in range(5):
        store().obtain(recipe_of(add_module(salt=str(i))))
    assert 0 < cache.info().bytes <= 45_000


def test_a_loaded_program_survives_eviction():
    module = add_module()
    assert run_add(module) == RIGHT
    assert cache.clear() == 1
    assert run_add(module) == RIGHT


def test_old_build_folders_are_swept(cache_folder):
    run_add(add_module())
    left = cache_folder / "tmp-999999999-abc"
    left.mkdir()
    old = time.time() - 2 * cache.FORSAKEN
    os.utime(left, (old, old))
    fresh = cache_folder / "tmp-999999999-def"
    fresh.mkdir()
    run_add(add_module(salt="1"))
    assert not left.exists() and fresh.exists()


def test_info_verify_and_clear():
    run_add(add_module())
    run_add(add_module(salt="1"))
    assert cache.info().entries == 2 and "2 programs" in str(cache.info())
    assert cache.verify() == {}
    victim = store().entries()[0]
    (victim / "k.c").write_text("something else")
    assert list(cache.verify()) == [victim.name]
    assert cache.clear() == 1
    assert cache.info().entries == 0


def test_failed_sources_are_kept_but_few(fakecc, cache_folder):
    fakecc(modes.FAILS)
    for i in range(cache.KEPT_FAILURES + 3):
        with pytest.raises(CompileError):
            run_add(add_module(salt=str(i)))
    assert len(list((cache_folder / "failed").iterdir())) == cache.KEPT_FAILURES


def test_disabled(monkeypatch, cache_folder):
    monkeypatch.setenv("GRADC_CACHE_DISABLE", "1")
    assert run_add(add_module()) == RIGHT
    assert not cache_folder.exists()


# -- interruption ---------------------------------------------------------------------------------

INTERRUPTED = """
try:
    assert run_add(add_module()) == RIGHT
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1, 0.3, 0.5])
def test_interrupts_leave_nothing_behind(tmp_path, fakecc, cache_folder, delay):
    fakecc(f"touch {tmp_path}/started; sleep 0.2; " + modes.SLOW_HALVES)
    process = child(tmp_path / "cache", body=INTERRUPTED)
    _wait_for(tmp_path / "started")
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in finish(process)
    assert not list(cache_folder.glob("tmp-*")) and store().entries() == []
    fakecc(f'exec {modes.REAL} "$@"')
    assert run_add(add_module()) == RIGHT
