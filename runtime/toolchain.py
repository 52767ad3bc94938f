"""The C compiler: found, identified, and run so that it can neither hang nor leave anything behind.

    compiler = find_compiler()                       # gcc 12.2.0, or clang, cc, zig cc, $GRADC_CC
    compile_library(compiler, flags, folder)         # folder/k.c -> folder/k.so

A run has its own session and its own temporary directory; on a timeout, an interrupt or at the end
whatever it started is killed and its files are removed. Command lines are lists, never a shell's.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import platform
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gradc.codegen.c.target import build_flags
from gradc.codegen.c.units import units
from gradc.tracer.config import config
from gradc.tracer.errors import CompileError, CompilerNotFound

logger = logging.getLogger("gradc.compiler")

SOURCE, LIBRARY = "k.c", "k.so"
IDENTIFY_TIMEOUT = 60.0
STDERR_LINES = 20
# Compilers at work at the same time on one program.
MOST_UNITS = 4
# What compilers read besides their arguments.
ENVIRONMENT = (
    "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "CFLAGS",
    "CPPFLAGS", "LDFLAGS", "CCC_OVERRIDE_OPTIONS", "SDKROOT", "MACOSX_DEPLOYMENT_TARGET",
    "ZIG_LIB_DIR",
)  # fmt: skip
# Commands that run a compiler found elsewhere.
WRAPPERS = ("ccache", "sccache", "distcc", "icecc")
WAYS_OUT = (
    "install gcc or clang, or `pip install ziglang`, or set GRADC_CC to a compiler; "
    "backend='numpy' and backend='jax' need none"
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler that answered.

    Attributes:
        argv: the command, without flags.
        kind: "gcc", "clang", "zig" or "other".
        version: the first line it says of itself.
        stamp: path, size and time of every file the command names; equal stamps, same compiler.
    """

    argv: tuple[str, ...]
    kind: str
    version: str
    stamp: str

    def flags(self) -> tuple[str, ...]:
        """The flags to compile with here, the user's own last."""
        isa = "baseline" if self.kind == "other" else "native"
        return (*build_flags(isa), *config.cflags)

    @property
    def identity(self) -> str:
        """What a cache key needs to know of it."""
        return f"{self.version} | {self.stamp}"

    def __str__(self) -> str:
        return f"{shlex.join(self.argv)} ({self.version})"


# -- finding --------------------------------------------------------------------------------------

_found: dict[tuple[tuple[str, ...], str | None], Compiler] = {}
_finding = threading.Lock()


def find_compiler(stamps: Path | None = None) -> Compiler:
    """The compiler to use: `GRADC_CC`, else gcc, clang, cc, else the zig of package ziglang.

    Args:
        stamps: a trusted directory that remembers what compilers said of themselves, so that a
            warm start runs none.

    Raises:
        CompilerNotFound: none was found or none answered; the message lists what was tried.
    """
    key = (config.cc, os.environ.get("PATH"))
    with _finding:
        if key not in _found:
            _found[key] = _search(_candidates(config.cc), stamps)
            logger.info("C compiler: %s", _found[key])
        return _found[key]


def forget_compilers() -> None:
    """Search again at the next use."""
    with _finding:
        _found.clear()


def _candidates(cc: tuple[str, ...]) -> list[tuple[str, ...]]:
    if cc:
        return [cc]
    return [("gcc",), ("clang",), ("cc",), *_zig()]


def _zig() -> list[tuple[str, ...]]:
    """`zig cc` of the PyPI package ziglang, by its binary where it lies in the usual place."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        return []
    binary = os.path.join(spec.submodule_search_locations[0], "zig")
    if os.access(binary, os.X_OK):
        return [(binary, "cc")]
    return [(sys.executable, "-m", "ziglang", "cc")]


def _search(candidates: Sequence[tuple[str, ...]], stamps: Path | None) -> Compiler:
    tried = []
    for argv in candidates:
        path = shutil.which(argv[0])
        if path is None:
            tried.append(f"{shlex.join(argv)}: not found")
            continue
        answer = _known((os.path.abspath(path), *argv[1:]), stamps)
        if isinstance(answer, Compiler):
            return answer
        tried.append(f"{shlex.join(argv)}: {answer}")
    if not config.cc and not _zig():
        tried.append("zig cc: package ziglang is not installed")
    what = "no C compiler was found" if not config.cc else "the C compiler GRADC_CC does not work"
    raise CompilerNotFound(what, operands=tried, hint=WAYS_OUT)


# -- identifying ----------------------------------------------------------------------------------


def _known(argv: tuple[str, ...], stamps: Path | None) -> Compiler | str:
    """The compiler, from its note where nothing changed, or why it is none."""
    stamp = _stamp(argv)
    said: str | None = None
    if _is_opaque(argv):
        answer = _version(argv)
        if isinstance(answer, _Unusable):
            return answer.reason
        said = answer
        stamp += f" {hashlib.sha256(said.encode()).hexdigest()[:16]}"
    digest = hashlib.sha256("\0".join((stamp, *argv, *_environment())).encode()).hexdigest()
    note = None if stamps is None else stamps / f"cc-{digest[:32]}.json"
    known = None if note is None else _read_note(note, argv, stamp)
    if known is not None:
        return known
    found = _identify(argv, stamp, said)
    if note is not None and isinstance(found, Compiler):
        _write_note(note, found)
    return found


def _is_opaque(argv: tuple[str, ...]) -> bool:
    """Whether the command runs something that its own files do not show: a script, a wrapper."""
    path = os.path.realpath(argv[0])
    if "-m" in argv or os.path.basename(path) in WRAPPERS:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _stamp(argv: tuple[str, ...]) -> str:
    parts = []
    for word in argv:
        path = os.path.realpath(word) if os.sep in word else None
        if path is not None and os.path.isfile(path):
            status = os.stat(path)
            parts.append(f"{path}:{status.st_size}:{status.st_mtime_ns}")
        else:
            parts.append(word)
    return " ".join(parts)


def _environment() -> list[str]:
    return [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]


def _read_note(note: Path, argv: tuple[str, ...], stamp: str) -> Compiler | None:
    try:
        data = json.loads(note.read_bytes())
        found = Compiler(
            tuple(data["argv"]), str(data["kind"]), str(data["version"]), str(data["stamp"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.argv == argv and found.stamp == stamp else None


def _write_note(note: Path, compiler: Compiler) -> None:
    temporary = note.with_name(f"tmp-{os.getpid()}-{note.name}")
    try:
        temporary.write_text(json.dumps(asdict(compiler)))
        os.replace(temporary, note)
    except OSError:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Why a command is no compiler."""

    reason: str


def _version(argv: tuple[str, ...]) -> str | _Unusable:
    """What the command says to `--version`."""
    with private_folder() as folder:
        try:
            run = _run(folder, IDENTIFY_TIMEOUT, (*argv, "--version"))
        except OSError as error:
            return _Unusable(f"cannot be run ({error.strerror})")
    if run.timed_out:
        return _Unusable(f"--version did not return within {IDENTIFY_TIMEOUT:.0f} s")
    if run.status != 0 or not run.output.strip():
        return _Unusable(f"--version failed ({run.outcome})")
    return run.output


def _identify(argv: tuple[str, ...], stamp: str, said: str | None) -> Compiler | str:
    answer = _version(argv) if said is None else said
    if isinstance(answer, _Unusable):
        return answer.reason
    version = answer.strip().splitlines()[0].strip()
    return Compiler(argv, _kind(argv, answer), version, stamp)


def _kind(argv: tuple[str, ...], text: str) -> str:
    if os.path.basename(argv[0]).startswith("zig") or "ziglang" in argv:
        return "zig"
    if "clang" in text:
        return "clang"
    return "gcc" if "Free Software Foundation" in text else "other"


def isa_identity() -> str:
    """What `-march=native` means on this machine: the processor and its instruction sets."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(1 << 16).split("\n\n", 1)[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "isa",
              "CPU implementer", "CPU part", "CPU variant")  # fmt: skip
    facts = []
    for line in first.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            facts.append(f"{name.strip()}={' '.join(sorted(value.split()))}")
    return f"{platform.machine()} " + "; ".join(facts)


def environment_identity() -> dict[str, str]:
    """The variables that compilers read, as they are set now."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


# -- running --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """How a process ended and the last of what it said."""

    status: int
    output: str
    timed_out: bool

    @property
    def outcome(self) -> str:
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            return f"killed by {signal.Signals(-self.status).name}"
        except ValueError:
            return f"killed by signal {-self.status}"

    @property
    def killed(self) -> bool:
        """Whether it or one of its children was killed, as by a lack of memory."""
        return self.status < 0 or "Killed signal terminated program" in self.output


class private_folder:
    """A directory only this user can enter, removed at the end whatever happens.

    Args:
        inside: where to make it; the system's temporary directory by default.
    """

    def __init__(self, inside: Path | None = None, prefix: str = "gradc-") -> None:
        self._inside = inside
        self._prefix = prefix
        self._path: Path | None = None

    def __enter__(self) -> Path:
        self._path = make_private_folder(self._inside, self._prefix)
        return self._path

    def __exit__(self, *exc: object) -> None:
        assert self._path is not None
        shutil.rmtree(self._path, ignore_errors=True)


def make_private_folder(inside: Path | None = None, prefix: str = "gradc-") -> Path:
    """A new directory with mode 0700.

    Args:
        inside: where to make it; the first temporary place that has room by default.

    Raises:
        OSError: not in `inside`.
        CompileError: no temporary place will do.
    """
    if inside is not None:
        return _fresh(inside, prefix)
    error: OSError | None = None
    for place in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", os.getcwd()):
        if place and os.path.isdir(place):
            try:
                return _fresh(Path(place), prefix)
            except OSError as found:
                error = found
    reason = "there is no temporary directory" if error is None else str(error)
    raise CompileError(f"there is no place to compile in: {reason}", hint="TMPDIR names one")


def _fresh(place: Path, prefix: str) -> Path:
    folder = place / f"{prefix}{os.getpid()}-{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    try:
        probe = folder / "probe"
        probe.write_bytes(bytes(4096))  # a full disk takes directories but no bytes
        probe.unlink()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _run(folder: Path, timeout: float, *commands: Sequence[str]) -> _Run:
    """Run commands at the same time in `folder`, with a temporary directory of their own, to
    their end or `timeout`; of several, how the first that failed ended.

    Raises:
        OSError: one cannot be started.
    """
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(scratch), "LC_ALL": "C", "LANG": "C"}
    environment.setdefault("ZIG_LOCAL_CACHE_DIR", str(scratch / "zig"))
    said = [scratch / f"output-{n}" for n in range(len(commands))]
    running: list[subprocess.Popen[bytes]] = []
    in_time: list[bool] = []
    try:
        try:
            for argv, file in zip(commands, said):
                running.append(_start(argv, file, folder, environment))
            deadline = time.monotonic() + timeout
            for process in running:
                in_time.append(_ended(process.pid, deadline))
        finally:
            for process in running:
                # The group dies while its leader is unreaped, so that its number is still its own.
                _kill_group(process.pid)
                process.wait()
        runs = [
            _Run(p.returncode, _tail(file), not ended)
            for p, file, ended in zip(running, said, in_time, strict=True)
        ]
        return next((r for r in runs if r.status or r.timed_out), runs[0])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(
    argv: Sequence[str], said: Path, folder: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with open(said, "wb") as sink:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            cwd=folder, env=environment, start_new_session=True,
        )  # fmt: skip


def _ended(pid: int, deadline: float) -> bool:
    """Wait for a child to end without reaping it; False when it had not by `deadline`."""
    pause = 0.0005
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.005)
    return True


def _kill_group(pid: int) -> None:
    # Nobody left is fine; macOS says EPERM of a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tail(path: Path, limit: int = 1 << 16) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read().decode("utf-8", "replace")


def _command(compiler: Compiler, flags: Sequence[str]) -> list[str]:
    return [*compiler.argv, *flags, "-o", LIBRARY, SOURCE]


def compile_library(
    compiler: Compiler,
    flags: Sequence[str],
    folder: Path,
    *,
    name: str = "program",
    keep: Callable[[Path], Path] = lambda source: source,
) -> bool:
    """Compile `folder/k.c` to `folder/k.so`; True if it took the second try at -O1. A long text is
    divided among the processor's cores.

    Args:
        name: the program, for messages.
        keep: called with the path of the source when all is lost; says where it was kept.

    Raises:
        CompileError: the compiler cannot be started, failed, was killed, or took longer than
            GRADC_CC_TIMEOUT.
    """
    started = time.perf_counter()
    run = _compile_divided(compiler, flags, folder)
    if run is None:
        run = _compile(compiler, flags, folder)
    slow = run.timed_out or run.killed
    if slow:
        logger.info("%s: %s; trying again at -O1", name, _outcome(run))
        flags = [*flags, "-O1"]
        run = _compile(compiler, flags, folder)
    made = folder / LIBRARY
    if run.status == 0 and not run.timed_out and is_whole_library(made):
        logger.info("%s: compiled in %.2f s", name, time.perf_counter() - started)
        return slow
    made.unlink(missing_ok=True)
    raise _failure(compiler, flags, run, name, keep(folder / SOURCE))


def _compile_divided(compiler: Compiler, flags: Sequence[str], folder: Path) -> _Run | None:
    """Several compilers at the same time, then the linker; None where the text is not worth it or
    this does not work here, whatever the reason."""
    if compiler.kind == "other":
        return None
    texts = units((folder / SOURCE).read_text(encoding="utf-8"), min(_cores(), MOST_UNITS))
    if len(texts) < 2:
        return None
    objects = [f"unit-{n}.o" for n in range(len(texts))]
    try:
        for name, text in zip(objects, texts, strict=True):
            (folder / name).with_suffix(".c").write_text(text, encoding="utf-8")
        alone = ["-c", *(f for f in flags if f != "-shared")]
        commands = [[*compiler.argv, *alone, "-o", o, f"{o[:-2]}.c"] for o in objects]
        run = _run(folder, config.cc_timeout, *commands)
        if run.status == 0 and not run.timed_out:
            run = _run(folder, config.cc_timeout, [*compiler.argv, *flags, "-o", LIBRARY, *objects])
        return run if run.status == 0 or run.timed_out or run.killed else None
    except OSError:
        return None
    finally:
        for name in objects:
            (folder / name).unlink(missing_ok=True)
            (folder / name).with_suffix(".c").unlink(missing_ok=True)


def _cores() -> int:
    """The cores this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known is not None else os.cpu_count() or 1


def _compile(compiler: Compiler, flags: Sequence[str], folder: Path) -> _Run:
    try:
        return _run(folder, config.cc_timeout, _command(compiler, flags))
    except OSError as error:
        raise CompileError(
            f"the C compiler {compiler} cannot be run: {error.strerror}", hint=WAYS_OUT
        ) from None


def is_whole_library(path: Path) -> bool:
    """Whether this is a library to its last byte; loading a cut one would end the process.

    An ELF file ends with its section table, whose place and size the header states.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if head[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return True  # Mach-O, whose loader checks its bounds
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return False
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2
    (sections,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
    entry, count = struct.unpack_from(order + "HH", head, 58 if wide else 46)
    return bool(sections + entry * count <= size)


def _outcome(run: _Run) -> str:
    return f"took longer than {config.cc_timeout:g} s" if run.timed_out else run.outcome


def _failure(
    compiler: Compiler, flags: Sequence[str], run: _Run, name: str, source: Path
) -> CompileError:
    said = run.output.strip().splitlines()[-STDERR_LINES:]
    outcome = _outcome(run)
    if run.status == 0 and not run.timed_out:
        outcome = "exit status 0, but it made no library"
    return CompileError(
        f"the C compiler failed on `{name}`: {outcome}",
        operands=[
            f"command: {shlex.join(_command(compiler, flags))}",
            f"source: {source}",
            *said,
        ],
        hint=_advice(run),
    )


def _advice(run: _Run) -> str:
    if run.timed_out:
        return "GRADC_CC_TIMEOUT sets the time allowed"
    if run.killed:
        return "it was killed: most often memory ran out"
    if "No such file or directory" in run.output and "#include" in run.output:
        return "the C headers are missing (on Debian: libc6-dev)"
    return "GRADC_CC chooses another compiler; backend='numpy' and backend='jax' need none"
