"""Memory of outputs: used again once nothing refers to it, bounded, and free of deadlocks."""

import gc
import os
import threading

import numpy as np
import pytest

from gradc.runtime.memory import LARGE, Blocks, fresh_output

SIZE = 1 << 16


def address(block):
    return np.frombuffer(block, np.uint8).ctypes.data


def test_a_block_comes_back_when_its_last_view_is_gone():
    blocks = Blocks(4 * SIZE)
    block = blocks.take(SIZE)
    place = address(block)
    view = np.frombuffer(block, np.float32)[10:20]
    del block
    other = blocks.take(SIZE)
    assert address(other) != place and blocks.free_bytes == 0
    del view
    assert blocks.free_bytes == SIZE
    assert address(blocks.take(SIZE)) == place


def test_another_size_is_another_block():
    blocks = Blocks(4 * SIZE)
    blocks.take(SIZE)
    assert blocks.free_bytes == SIZE
    held = blocks.take(2 * SIZE)
    assert blocks.free_bytes == SIZE and len(held) == 2 * SIZE


def test_free_blocks_are_bounded_and_the_oldest_size_goes_first():
    blocks = Blocks(4 * SIZE)
    for n in (1, 2, 1, 3):  # 1 was given last again when 3 comes back: 2 goes
        blocks.take(n * SIZE)
    assert blocks.free_bytes == 4 * SIZE
    assert sorted(blocks._free) == [SIZE, 3 * SIZE]
    blocks.take(5 * SIZE)
    assert blocks.free_bytes == 4 * SIZE


def test_clear():
    blocks = Blocks(4 * SIZE)
    held = blocks.take(SIZE)
    blocks.take(2 * SIZE)
    blocks.clear()
    assert blocks.free_bytes == 0
    del held
    assert blocks.free_bytes == SIZE


@pytest.mark.parametrize("shape", [(0,), (3, 0, 4), (), (LARGE // 4 - 1,), (LARGE // 4,)])
def test_outputs(shape):
    size = 4 * int(np.prod(shape))
    array = fresh_output(shape, np.dtype(np.float32), size)
    array[...] = 7
    assert array.shape == shape and array.nbytes == size
    assert array.flags.writeable and array.flags.c_contiguous
    assert size < LARGE or array.ctypes.data % 64 == 0


def test_a_block_that_comes_back_while_the_lock_is_held_is_freed():
    blocks = Blocks(4 * SIZE)
    block = blocks.take(SIZE)
    with blocks._lock:
        del block
        assert len(blocks.take(SIZE)) == SIZE
    assert blocks.free_bytes == 0


def test_cycles_that_are_collected_in_the_midst():
    blocks = Blocks(64 * SIZE)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle = [np.frombuffer(blocks.take(SIZE), np.uint8)]
            cycle.append(cycle)
    finally:
        gc.set_threshold(*threshold)
    del cycle
    gc.collect()
    assert blocks.free_bytes == SIZE * sum(map(len, blocks._free.values()))


def test_threads_never_share_a_block():
    blocks, wrong = Blocks(4 * SIZE), []

    def work(mark):
        for _ in range(300):
            array = np.frombuffer(blocks.take(SIZE), np.uint8)
            array[:] = mark
            if not (array == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert blocks.free_bytes == SIZE * sum(map(len, blocks._free.values()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held_can_clear():
    blocks = Blocks(4 * SIZE)
    with blocks._lock:
        child = os.fork()
        if child == 0:
            blocks.take(SIZE)
            blocks.clear()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
