"""Calling generated C: results, failed checks, odd memory, threads, forks."""

import multiprocessing
import threading
import timeit

import numpy as np
import pytest
from handmade import PRELUDE, add_module, module, typed

from gradc.runtime import memory
from gradc.runtime.binding import THREADS, get_num_threads, load_module, set_num_threads
from gradc.runtime.executable import CBound
from gradc.tracer.errors import (
    ArgumentError,
    AssertionFailed,
    DivisionByZero,
    ExecutionError,
    IndexOutOfRange,
    InternalError,
)
from gradc.tracer.storage import Storage

ONES = np.ones(4, np.float32)


def bind(w, program=None):
    program = program or add_module()
    return CBound(program, load_module(program), [Storage(w)])


def ramp():
    return np.arange(4, dtype=np.float32)


def test_state_is_written_in_place_and_outputs_are_fresh():
    w = ramp()
    bound = bind(w)
    (first,) = bound([ONES])
    (second,) = bound([ONES])
    assert first == 6 and second == 10 and first is not second
    assert w.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("index", IndexOutOfRange, "gather: index 200 is out of range for axis 1 with size 5"),
        ("division", DivisionByZero, "gather: integer division by zero"),
        ("assert", AssertionFailed, "x is small"),
    ],
)
def test_a_failed_check_names_the_users_line_and_writes_nothing(kind, error, words):
    w = ramp()
    bound = bind(w, add_module(kind=kind))
    with pytest.raises(error) as caught:
        bound([np.array([1, 200, 300, 1], np.float32)])
    assert str(caught.value).startswith(words)
    assert "handmade.py:" in str(caught.value)
    assert w.tolist() == [0, 1, 2, 3]
    assert bound([ONES])[0] == 6


def test_a_misaligned_argument_is_copied():
    raw = np.zeros(17, np.uint8)
    odd = raw[1:].view(np.float32)
    odd[:] = 1
    assert not odd.flags.aligned
    w = ramp()
    assert bind(w)([odd])[0] == 6
    assert w.tolist() == [1, 2, 3, 4]


def test_an_argument_that_shares_memory_with_state_is_copied():
    memory = np.arange(6, dtype=np.float32)
    bind(memory[:4])([memory[2:6]])
    assert memory.tolist() == [2, 4, 6, 8, 4, 5]


@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a[4:0:-1]])
def test_state_that_is_not_contiguous(view):
    memory = np.arange(8, dtype=np.float32)
    w = view(memory)
    expected = w + 1
    bound = bind(w)
    bound([ONES])
    assert w.tolist() == expected.tolist()
    memory[:] = 0
    assert bound([ONES])[0] == 0


def test_state_that_is_misaligned():
    w = np.zeros(17, np.uint8)[1:].view(np.float32)
    bind(w)([ONES])
    assert w.tolist() == [1, 1, 1, 1]


def test_read_only_state_that_is_written_is_refused():
    w = ramp()
    w.flags.writeable = False
    with pytest.raises(ArgumentError, match=r"`w` is written .* read-only"):
        bind(w)


@pytest.mark.parametrize("w", [np.zeros(5, np.float32), np.zeros(4)])
def test_state_of_another_type_is_refused(w):
    with pytest.raises(InternalError, match=r"expected f32\[4\]"):
        bind(w)


def test_wrong_counts_are_refused():
    program = add_module()
    with pytest.raises(InternalError, match="1 state inputs and was given 0"):
        CBound(program, load_module(program), [])
    with pytest.raises(InternalError, match="takes 1 arguments and was given 2"):
        bind(ramp())([ONES, ONES])


def test_newer_device_contents_are_brought_in():
    storage = Storage(ramp())
    program = add_module()
    bound = CBound(program, load_module(program), [storage])
    storage.store_device(np.full(4, 10, np.float32))
    assert bound([ONES])[0] == 40
    assert storage.array.tolist() == [11, 11, 11, 11]


DOUBLE = """
int f(const void *const *in, void *const *out, void *work, const f_options *options)
{
    const float *x = in[0];
    float *y = out[0];
    volatile char *scratch = work;
    (void)options;
    if (STATUS) return STATUS;
    scratch[WORK - 1] = 1;
    for (int64_t i = 0; i < N; i++) y[i] = 2 * x[i];
    return 0;
}
"""


def double(n, work=128, status=0, donate=False):
    text = f"#define N {n}\n#define WORK {work}\n#define STATUS {status}\n" + PRELUDE + DOUBLE
    aliases = ((0, 0),) if donate else ()
    program = module(text, [("x", typed([n]))], [("y", typed([n]))], n_args=1, work=work,
                     aliases=aliases)  # fmt: skip
    return CBound(program, load_module(program), [])


@pytest.mark.parametrize("n", [0, 1, 1000, 100_003])
def test_sizes_and_alignment_of_outputs(n):
    bound = double(n)
    x = np.arange(n, dtype=np.float32)
    (y,) = bound([x])
    assert np.array_equal(y, 2 * x) and y.shape == (n,)
    if n * 4 >= memory.LARGE:
        assert y.ctypes.data % 64 == 0


def test_a_donated_argument_is_written_in_place():
    x = ramp()
    (result,) = double(4, donate=True)([x])
    assert result is x
    assert x.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("status", "error"), [(2, ExecutionError), (3, ArgumentError), (4, ExecutionError),
                          (9, ExecutionError), (1, ExecutionError)]
)  # fmt: skip
def test_every_status_is_an_error(status, error):
    with pytest.raises(error):
        double(4, status=status)([ONES])


def test_work_areas_are_shared_between_programs():
    memory.release_memory()
    small, large = double(4), double(4, work=1 << 20)
    for bound in (small, large, small, large):
        bound([ONES])
    (area,) = memory.AREAS
    assert 1 << 20 <= area.nbytes <= (1 << 20) + 64
    taken = memory.take_area(1 << 20)
    assert int(memory.ffi.cast("uintptr_t", taken.address)) % 64 == 0 and not memory.AREAS
    memory.return_area(taken)


def test_threads_share_a_pure_program():
    bound = double(50_000)
    x = np.arange(50_000, dtype=np.float32)
    wrong = []

    def work(k):
        for i in range(30):
            (y,) = bound([x + k + i])
            if not np.array_equal(y, 2 * (x + k + i)):
                wrong.append((k, i))

    in_threads(work, 4)
    assert not wrong


def test_threads_take_turns_on_state():
    w = np.zeros(4, np.float32)
    bound = bind(w)
    in_threads(lambda k: [bound([ONES]) for _ in range(500)], 4)
    assert w.tolist() == [2000] * 4


def in_threads(work, n):
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_change_of_the_thread_count_reaches_bound_programs():
    bound = double(4)
    bound([ONES])
    before = get_num_threads()
    set_num_threads(before + 1)
    try:
        assert bound([ONES])[0].tolist() == [2, 2, 2, 2]
        assert bound._frames[0].epoch == THREADS.epoch
    finally:
        set_num_threads(before)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_runs_serially_even_while_the_parent_is_in_a_call():
    w = np.zeros(4, np.float32)
    bound = bind(w)
    bound([ONES])
    bound._lock.__enter__()
    try:
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_in_child, args=(bound, queue))
        child.start()
        child.join(10)
        assert child.exitcode == 0
        assert queue.get() == (4.0, 1)
    finally:
        bound._lock.__exit__()


def _in_child(bound, queue):
    queue.put((float(bound([ONES])[0]), get_num_threads()))


def test_a_call_costs_little():
    bound = bind(ramp())
    best = min(timeit.repeat(lambda: bound([ONES]), number=2000, repeat=5)) / 2000
    assert best < 20e-6  # about 2 on a quiet machine
