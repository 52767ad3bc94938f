"""The cache of compiled programs: content addressed, checked before every load, never trusted.

    <cache>/v1/<sha256>/k.so  k.c  manifest.json      one entry; made aside, published by one rename
    <cache>/v1/locks/, failed/, cc-*.json             locks, sources that did not compile, stamps

    store().obtain(Recipe(...)) -> Path of a k.so that is whole and was built from just this text

The name of an entry is the hash of everything that went into it. A lock only avoids doing the same
work twice; the rename is what makes it right. Whatever is wrong with the cache (read-only, full,
someone else's, damaged) costs a warning and a compilation, never a result.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from gradc.codegen.c.target import ABI_VERSION
from gradc.runtime.toolchain import (
    LIBRARY,
    SOURCE,
    Compiler,
    compile_library,
    environment_identity,
    is_whole_library,
    isa_identity,
    make_private_folder,
)
from gradc.tracer.config import config
from gradc.tracer.errors import CompileError

logger = logging.getLogger("gradc.cache")

SCHEMA = "v1"
MANIFEST = "manifest.json"
# A build that was killed leaves its folder; after this long nobody can still be working in it,
# and after the shorter time nobody is if its process is gone.
ABANDONED = 24 * 3600.0
FORSAKEN = 3600.0
# With less room than this a compiler's failure is taken for a full disk.
ROOM = 16 << 20
KEPT_FAILURES = 16


class CacheWarning(UserWarning):
    """The cache cannot be used, or an entry was damaged; programs are compiled instead."""


class Untrusted(Exception):
    """A directory or file that another user may have written."""


@dataclass(frozen=True)
class Recipe:
    """A program to compile, and all that its machine code depends on.

    Attributes:
        name: for messages and the manifest.
        source: the C text, with comments.
        key_text: the C text without comments; what the key is made of.
        flags: of the compiler.
    """

    name: str
    source: str
    key_text: str
    compiler: Compiler
    flags: tuple[str, ...]
    isa: str = field(default_factory=isa_identity)
    environment: Mapping[str, str] = field(default_factory=environment_identity)

    @functools.cached_property
    def key(self) -> str:
        """The hash of everything above but the comments: 64 hexadecimal digits."""
        digest = hashlib.sha256(json.dumps(self.inputs(), sort_keys=True).encode())
        digest.update(self.key_text.encode())
        return digest.hexdigest()

    def inputs(self) -> dict[str, Any]:
        """What the key covers besides the text, in clear."""
        return {
            "schema": SCHEMA,
            "abi": ABI_VERSION,
            "compiler": self.compiler.identity,
            "command": list(self.compiler.argv),
            "flags": list(self.flags),
            "isa": self.isa,
            "environment": dict(self.environment),
        }


# -- trust ----------------------------------------------------------------------------------------


def check_trust(path: Path, *, folder: bool) -> None:
    """Refuse what someone else may have written: owner, mode, and no symbolic link.

    Raises:
        Untrusted: with the reason.
        OSError: there is nothing there.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise Untrusted(f"{path} is a symbolic link")
    if stat.S_ISDIR(found.st_mode) is not folder or not (folder or stat.S_ISREG(found.st_mode)):
        raise Untrusted(f"{path} is not a {'directory' if folder else 'file'}")
    if found.st_uid != os.geteuid():
        raise Untrusted(f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & 0o022:
        raise Untrusted(f"{path} may be written by other users (mode {found.st_mode & 0o777:o})")


def _trusted_folder(path: Path) -> Path:
    """`path` as a directory of this user alone, made if missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    check_trust(path, folder=True)
    return path


_warned: set[str] = set()


def _warn_once(about: str, text: str) -> None:
    if about not in _warned:
        _warned.add(about)
        warnings.warn(text, CacheWarning, stacklevel=2)


# -- the store ------------------------------------------------------------------------------------


class Store:
    """A directory of entries, or where none can be had a private one for this process.

    Attributes:
        root: the directory; None while only private builds are possible.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._keys: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    # -- reading ----------------------------------------------------------------------------------

    def obtain(self, recipe: Recipe) -> Path:
        """The library of this recipe: from the cache, or compiled now.

        Raises:
            CompileError: the compiler failed.
        """
        with self._key_lock(recipe.key):
            if self.root is None:
                return _build_private(recipe)
            found = self.lookup(recipe.key)
            if found is not None:
                if config.cache_verify:
                    self._compare(recipe, found)
                return found
            return self._build(recipe)

    def _key_lock(self, key: str) -> threading.Lock:
        with self._guard:
            return self._keys.setdefault(key, threading.Lock())

    def lookup(self, key: str) -> Path | None:
        """The library of a whole and trusted entry; a damaged one is removed, with a warning."""
        assert self.root is not None
        entry = self.root / key
        try:
            check_entry(entry)
        except FileNotFoundError:
            if not os.path.lexists(entry):
                return None
            self._drop(entry, "it is not whole")
        except OSError as error:  # no word on the entry: too many open files, a lost network
            _warn_once(f"read {self.root}", f"the cache entry {entry} cannot be read: {error}")
        except (Untrusted, ValueError) as error:
            self._drop(entry, str(error))
        else:
            with contextlib.suppress(OSError):
                os.utime(entry / MANIFEST)  # what was used last is evicted last
            return entry / LIBRARY
        return None

    def replace(self, library: Path, recipe: Recipe, reason: str) -> Path:
        """A new library in place of one that does not load, under a path not used before.

        Raises:
            CompileError: the compiler failed.
        """
        if self.root is not None and library.parent.parent == self.root:
            self._drop(library.parent, reason)
        return _build_private(recipe)

    def _drop(self, entry: Path, reason: str) -> None:
        warnings.warn(
            f"removed a damaged entry of the cache of compiled programs: {reason}",
            CacheWarning, stacklevel=2,
        )  # fmt: skip
        _remove(entry)

    def _compare(self, recipe: Recipe, found: Path) -> None:
        """Compile again and compare (GRADC_CACHE_VERIFY)."""
        again = _build_private(recipe)
        if again.read_bytes() != found.read_bytes():
            warnings.warn(
                f"the cached program of `{recipe.name}` differs from a new compilation: {found}",
                CacheWarning, stacklevel=2,
            )  # fmt: skip

    # -- building ---------------------------------------------------------------------------------

    def _build(self, recipe: Recipe) -> Path:
        assert self.root is not None
        try:
            with self._file_lock(recipe.key):
                # Whoever held the lock has most likely built it.
                return self.lookup(recipe.key) or self._publish(recipe)
        except OSError as error:
            _warn_once(
                f"write {self.root}",
                f"compiled programs cannot be kept in {self.root} ({error.strerror or error}); "
                "they are compiled for this process only",
            )
            return _build_private(recipe)

    @contextlib.contextmanager
    def _file_lock(self, key: str) -> Iterator[None]:
        """Hold the lock of a key, or go without where it cannot be had in time or at all."""
        assert self.root is not None
        lock = None
        try:
            path = _trusted_folder(self.root / "locks") / f"{key}.lock"
            lock = filelock.FileLock(path, timeout=config.lock_timeout, mode=0o600)
            lock.acquire()
        except (filelock.Timeout, OSError, NotImplementedError, Untrusted) as error:
            logger.info("compiling without the lock of %s: %s", key[:16], error)
            lock = None
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _publish(self, recipe: Recipe) -> Path:
        """Build beside the entries and rename into place."""
        assert self.root is not None
        folder = make_private_folder(self.root, "tmp-")
        try:
            try:
                degraded = _compile(recipe, folder, self._keep_failure)
            except CompileError:
                if shutil.disk_usage(self.root).free >= ROOM:
                    raise
                raise OSError(28, "the disk is full") from None
            if degraded:  # not what the key promises: a fresh start may do better
                return _build_private(recipe, made=folder)
            _write_manifest(recipe, folder)
            return self._rename(recipe, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _rename(self, recipe: Recipe, folder: Path) -> Path:
        assert self.root is not None
        entry = self.root / recipe.key
        for _ in range(2):
            try:
                os.rename(folder, entry)
                _sync(self.root)
                break
            except OSError:
                # Another process was faster, and its entry is as good as ours unless damaged.
                found = self.lookup(recipe.key) if os.path.lexists(entry) else None
                if found is not None:
                    return found
        else:
            return _build_private(recipe, made=folder)
        self.evict(config.cache_size, keep=recipe.key)
        return entry / LIBRARY

    def _keep_failure(self, source: Path) -> Path:
        try:
            assert self.root is not None
            kept = _trusted_folder(self.root / "failed")
            target = kept / f"{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.c"
            shutil.copyfile(source, target)
            for old in sorted(kept.iterdir(), key=_age, reverse=True)[KEPT_FAILURES:]:
                old.unlink(missing_ok=True)
            return target
        except (OSError, Untrusted):
            return _keep_elsewhere(source)

    # -- housekeeping -----------------------------------------------------------------------------

    def entries(self) -> list[Path]:
        """The directories of all published entries."""
        if self.root is None or not self.root.is_dir():
            return []
        return [p for p in self.root.iterdir() if len(p.name) == 64 and p.name.isalnum()]

    def evict(self, limit: int, keep: str = "") -> int:
        """Remove the least recently used entries until `limit` bytes are left; bytes removed."""
        assert self.root is not None
        sized = []
        for entry in self.entries():
            with contextlib.suppress(OSError):
                sized.append((os.stat(entry / MANIFEST).st_mtime, _bytes_of(entry), entry))
        total = sum(size for _, size, _ in sized)
        removed = 0
        for _, size, entry in sorted(sized):
            if total - removed <= limit:
                break
            if entry.name != keep:
                _remove(entry)
                removed += size
        self._sweep()
        return removed

    def _sweep(self) -> None:
        """Remove what killed builds left."""
        assert self.root is not None
        for path in self.root.glob("tmp-*"):
            if _abandoned(path):
                _remove(path)


def _abandoned(build: Path) -> bool:
    """Whether nobody works in a build folder any more: its process is gone, or it is old.

    The directory may be shared by machines, so a missing process alone proves nothing.
    """
    age = time.time() - _age(build)
    if age > ABANDONED:
        return True
    pid = build.name.split("-")[1]
    return age > FORSAKEN and pid.isdigit() and not os.path.exists(f"/proc/{pid}")


def check_entry(entry: Path) -> dict[str, Any]:
    """The manifest of an entry whose library is the one that was built.

    Raises:
        FileNotFoundError: it is missing, or a part of it.
        OSError, Untrusted, ValueError: it cannot be read, trusted, or is damaged; with the reason.
    """
    check_trust(entry, folder=True)
    manifest = _read_manifest(entry)
    if manifest.get("key") != entry.name:
        raise ValueError(f"{entry.name[:16]} holds another program")
    _check_file(entry / LIBRARY, manifest["files"][LIBRARY])
    return manifest


def _read_manifest(entry: Path) -> dict[str, Any]:
    path = entry / MANIFEST
    check_trust(path, folder=False)
    try:
        manifest = json.loads(path.read_bytes())
        if isinstance(manifest["files"][LIBRARY]["sha256"], str):
            return manifest  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"{entry.name[:16]} has a damaged manifest")


def _check_file(path: Path, facts: Mapping[str, Any]) -> None:
    check_trust(path, folder=False)
    data = path.read_bytes()
    if len(data) != facts.get("size") or hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise ValueError(f"{path.parent.name[:16]}/{path.name} is not what was built")


def _write_manifest(recipe: Recipe, folder: Path) -> None:
    files = {}
    for name in (LIBRARY, SOURCE):
        path = folder / name
        os.chmod(path, 0o600)
        data = path.read_bytes()
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        _sync(path)
    manifest = {"key": recipe.key, "name": recipe.name, "files": files, **recipe.inputs()}
    path = folder / MANIFEST
    path.touch(mode=0o600)
    path.write_text(json.dumps(manifest, indent=1))
    _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """Bring a file or directory to the disk, so that a crash leaves a whole entry or none."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _compile(recipe: Recipe, folder: Path, keep: Any) -> bool:
    source = folder / SOURCE
    source.touch(mode=0o600)
    source.write_text(recipe.source, encoding="utf-8")
    return compile_library(recipe.compiler, recipe.flags, folder, name=recipe.name, keep=keep)


def _remove(path: Path) -> None:
    """Take an entry away: first its name, so that nobody sees half of it."""
    aside = path.with_name(f"tmp-{os.getpid()}-{os.urandom(6).hex()}")
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        path = aside
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _age(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _bytes_of(entry: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        total = sum(os.lstat(p).st_size for p in entry.iterdir())
    return total


# -- private builds -------------------------------------------------------------------------------

_private: dict[int, Path] = {}
_private_guard = threading.Lock()


def _private_root() -> Path:
    """This process's own directory, removed at its end; a forked child makes its own."""
    with _private_guard:
        pid = os.getpid()
        if pid not in _private or not _private[pid].is_dir():
            _private[pid] = make_private_folder()
        return _private[pid]


@atexit.register
def _remove_private() -> None:
    path = _private.pop(os.getpid(), None)
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)


def _build_private(recipe: Recipe, made: Path | None = None) -> Path:
    """Build (or take what was `made`) where only this process looks."""
    folder = make_private_folder(_private_root(), "k-")
    if made is None:
        _compile(recipe, folder, _keep_elsewhere)
    else:
        for name in (LIBRARY, SOURCE):
            shutil.copyfile(made / name, folder / name)
    assert is_whole_library(folder / LIBRARY)
    return folder / LIBRARY


def _keep_elsewhere(source: Path) -> Path:
    """A copy of a source that did not compile, outside any cache."""
    try:
        kept = make_private_folder(prefix="gradc-failed-") / SOURCE
        shutil.copyfile(source, kept)
        return kept
    except OSError:
        return source


# -- which store ----------------------------------------------------------------------------------

_stores: dict[str, Store] = {}
_opening = threading.Lock()


def store() -> Store:
    """The store that the settings name, opened once per process and directory."""
    name = "" if config.cache_disable else str(cache_folder())
    with _opening:
        if name not in _stores:
            _stores[name] = Store(_open(Path(name)) if name else None)
        return _stores[name]


def cache_folder() -> Path:
    """The directory that GRADC_CACHE_DIR names, or the user's own, with the layout's version."""
    base = config.cache_dir or platformdirs.user_cache_dir("gradc", appauthor=False)
    return Path(os.path.abspath(os.path.expanduser(base))) / SCHEMA


def _open(root: Path) -> Path | None:
    try:
        os.makedirs(root.parent.parent, exist_ok=True)
        _trusted_folder(root.parent)
        return _trusted_folder(root)
    except (OSError, Untrusted) as error:
        reason = f"{error.strerror}: {root}" if isinstance(error, OSError) else str(error)
        _warn_once(
            f"open {root}",
            f"no cache of compiled programs: {reason}; they are compiled for this process only "
            "(GRADC_CACHE_DIR names another directory)",
        )
        return None


def forget_stores() -> None:
    """Open stores anew, and warn anew."""
    with _opening:
        _stores.clear()
        _warned.clear()


def _after_fork() -> None:
    """A lock that another thread held stays held in a child forever; make new ones."""
    global _opening, _private_guard
    _opening, _private_guard = threading.Lock(), threading.Lock()
    for opened in _stores.values():
        opened._guard = threading.Lock()
        opened._keys = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- the command line's view ----------------------------------------------------------------------


@dataclass(frozen=True)
class CacheInfo:
    """What `python -m gradc cache` shows."""

    folder: Path
    entries: int
    bytes: int
    limit: int
    usable: bool

    def __str__(self) -> str:
        state = "" if self.usable else "  (not usable)"
        return (
            f"{self.folder}{state}: {self.entries} programs, {self.bytes / 1e6:.1f} MB "
            f"of at most {self.limit / 1e6:.0f} MB"
        )


def info() -> CacheInfo:
    """Where the cache is and how full."""
    opened = store()
    found = opened.entries()
    return CacheInfo(
        cache_folder(), len(found), sum(map(_bytes_of, found)), config.cache_size,
        opened.root is not None,
    )  # fmt: skip


def verify() -> dict[str, str]:
    """Check every entry to its last byte; damaged ones are removed. Their keys, with reasons."""
    bad = {}
    for entry in store().entries():
        try:
            manifest = check_entry(entry)
            _check_file(entry / SOURCE, manifest["files"][SOURCE])
        except (OSError, Untrusted, ValueError, KeyError) as error:
            bad[entry.name] = str(error)
            _remove(entry)
    return bad


def clear() -> int:
    """Remove every entry and everything else the cache keeps; the number of entries removed.

    Programs that are loaded keep working: their memory stays mapped.
    """
    opened = store()
    found = opened.entries()
    if opened.root is not None:
        for path in list(opened.root.iterdir()):
            if not path.name.startswith("tmp-") or _abandoned(path):
                _remove(path)
    return len(found)
