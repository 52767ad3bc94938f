"""The file that state is kept in: safetensors, aligned, and refused when damaged."""

import contextlib

import numpy as np
import pytest

from gradc.runtime.state_file import DTYPES, read_state, write_state
from gradc.tracer.errors import ArgumentError


def arrays():
    rng = np.random.default_rng(0)
    made = {n: rng.integers(0, 2, (3, 5)).astype(n) for n in DTYPES.values()}
    return {**made, "scalar": np.array(2.5), "empty": np.zeros((0, 4), np.float32),
            "α.weight": np.arange(3, dtype=np.int16)}  # fmt: skip


def test_round_trip(tmp_path):
    write_state(tmp_path / "s", arrays())
    found = read_state(tmp_path / "s")
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
        assert found[name].shape == array.shape and found[name].flags.writeable


def test_the_safetensors_package_reads_it_and_is_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    write_state(tmp_path / "s", arrays())
    found = safetensors.load_file(tmp_path / "s")
    assert all(np.array_equal(found[n], a) for n, a in arrays().items())
    safetensors.save_file(arrays(), tmp_path / "t")
    found = read_state(tmp_path / "t")
    assert all(np.array_equal(found[n], a) for n, a in arrays().items())


def test_layout(tmp_path):
    layout = write_state(tmp_path / "s", arrays())
    data = (tmp_path / "s").read_bytes()
    assert layout.begin % 64 == 0 and len(data) == layout.begin + layout.size
    for name, array in arrays().items():
        at = layout.begin + layout.offsets[name]
        assert at % array.dtype.itemsize == 0
        assert data[at : at + array.nbytes] == array.tobytes()


def test_every_cut_is_noticed(tmp_path):
    write_state(tmp_path / "s", {"w": np.arange(5.0), "b": np.ones(3, np.int8)})
    data = (tmp_path / "s").read_bytes()
    for size in range(len(data)):
        (tmp_path / "t").write_bytes(data[:size])
        with pytest.raises(ArgumentError, match="damaged"):
            read_state(tmp_path / "t")


def test_random_bytes_are_refused_and_nothing_else_happens(tmp_path):
    write_state(tmp_path / "s", {"w": np.arange(5.0), "b": np.ones(3, np.int8)})
    whole = bytearray((tmp_path / "s").read_bytes())
    rng = np.random.default_rng(1)
    for _ in range(500):
        data = bytearray(whole)
        for at in rng.integers(0, 140, rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        (tmp_path / "t").write_bytes(data)
        with contextlib.suppress(ArgumentError):
            read_state(tmp_path / "t")
