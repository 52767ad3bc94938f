"""Random programs as compiled C, against the NumPy rules: values, failed checks, state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_programs import Array, Drawer, arguments
from reference import run_reference

from gradc.codegen.pipeline import lower_c
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CBound
from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.storage import Storage


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))


def run_c(graph: Graph, arrays: list[Array], *, passes: bool) -> tuple[list[Array], list[Array]]:
    """Outputs, and the state afterwards; every input of these programs is state."""
    module = lower_c(graph) if passes else lower_c(graph, passes=())
    state = [np.array(a) for a in arrays]
    bound = CBound(module, load_module(module), [Storage(a) for a in state])
    fresh = iter(bound([]))
    aliases = dict(graph.aliases)
    count = len(graph.outputs)
    return [state[aliases[o]] if o in aliases else next(fresh) for o in range(count)], state


@pytest.mark.parametrize("passes", [False, True], ids=["as drawn", "after passes"])
@pytest.mark.parametrize("seed", range(8))
def test_values(seed: int, passes: bool) -> None:
    graph = Drawer(700 + seed, size=45).draw()
    arrays = arguments(graph, seed, exact=True)
    expected = run_reference(graph, arrays)
    got, _ = run_c(graph, arrays, passes=passes)
    for want, found in zip(expected, got, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_failures(seed: int) -> None:
    """The same error as the reference's, and state as it was."""
    graph = Drawer(seed, failing=True, size=25).draw()
    arrays = arguments(graph, seed, exact=True)
    try:
        expected = run_reference(graph, arrays)
    except GradcError as error:
        state = [np.array(a) for a in arrays]
        module = lower_c(graph, passes=())
        bound = CBound(module, load_module(module), [Storage(a) for a in state])
        with pytest.raises(type(error)) as caught:
            bound([])
        assert error.what in caught.value.what
        for before, after in zip(arrays, state, strict=True):
            np.testing.assert_array_equal(after, before)
        return
    got, _ = run_c(graph, arrays, passes=False)
    for want, found in zip(expected, got, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-3)
