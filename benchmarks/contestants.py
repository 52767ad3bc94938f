"""Who takes part: what each needs installed, where its cases are, what its caches are called."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One library in one way of using it.

    Attributes:
        package: what must be importable.
        module, entry: the function that gives its cases.
        caches: environment variables that name a directory for what it compiles.
    """

    package: str
    module: str
    entry: str = "contestant"
    caches: tuple[str, ...] = ()


CONTESTANTS = {
    "gradc": Contestant("gradc", "with_gradc", caches=("GRADC_CACHE_DIR",)),
    "jax": Contestant("jax", "with_jax", caches=("JAX_COMPILATION_CACHE_DIR",)),
    "torch": Contestant("torch", "with_torch"),
    "torch.compile": Contestant(
        "torch", "with_torch", "compiled", caches=("TORCHINDUCTOR_CACHE_DIR",)
    ),
    "pytensor": Contestant("pytensor", "with_pytensor", caches=("PYTENSOR_FLAGS",)),
    "numpy": Contestant("numpy", "with_numpy"),
}


def environment(contestant: Contestant, threads: int, cache: str) -> dict[str, str]:
    """The environment of its processes: so many threads, and a cache of its own."""
    counts = ("OMP", "MKL", "OPENBLAS", "GRADC")
    made = dict(os.environ) | {f"{c}_NUM_THREADS": str(threads) for c in counts}
    for name in contestant.caches:
        made[name] = f"base_compiledir={cache}" if name == "PYTENSOR_FLAGS" else cache
    return made | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PLATFORMS": "cpu"}
