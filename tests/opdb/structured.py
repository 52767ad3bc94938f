"""Reductions, movement, indexing, contractions, creation, and composites over them."""

from __future__ import annotations

import numpy as np

import gradc
import gradc.nn.functional as F
from gradc.tracer import functional as f
from gradc.tracer import ops
from gradc.tracer.graph.types import bool_, int32, int64

from .spec import ALL, FLOATS, NUMBERS, OpSpec, draw, given

SUMS = (*FLOATS, int32, int64)


def axes_samples(rng, dtype, spec):
    """Shapes for reductions: no empty axis, since some have no identity."""
    for shape in ((), (1,), (5,), (37,), (3, 4), (2, 3, 5), (4, 1, 2), (40, 3)):
        yield [draw(rng, shape, dtype, spec)]
    yield [draw(rng, (6, 8), dtype, spec).T]
    yield [draw(rng, (6, 8), dtype, spec)[::-1, ::2]]


def every_axis(fn):
    """All axes, each axis from both ends, and keepdim, in one call."""

    def run(x):
        found = [fn(x, None, False)]
        for axis in range(x.ndim):
            found += [fn(x, axis, False), fn(x, axis - x.ndim, True)]
        return tuple(found)

    return run


def reduction(name, fn, prims=(), **options):
    return OpSpec(name, every_axis(fn), axes_samples, prims, **options)


def index_of(shape, size, seed=0):
    return gradc.tensor(np.random.default_rng(seed).integers(0, size, shape))


WIDE = gradc.tensor(np.random.default_rng(5).integers(-4, 4, (3, 2)))

SPECS = [
    reduction("sum", f.sum, ("reduce_sum",), dtypes=SUMS, whole=True, slack=4.0),  # order of summation
    reduction("prod", f.prod, ("reduce_prod",), dtypes=SUMS, whole=True, slack=8.0),  # 48 roundings
    reduction("mean", f.mean, slack=4.0), reduction("amax", f.amax, ("reduce_max",), dtypes=ALL, exact=True),
    reduction("amin", f.amin, ("reduce_min",), dtypes=ALL, exact=True),
    reduction("any", f.any, ("reduce_any",), dtypes=(bool_, int32), grad=False, exact=True),
    reduction("all", f.all, ("reduce_all",), dtypes=(bool_, int32), grad=False, exact=True),
    reduction("argmax", f.argmax, ("argmax",), dtypes=NUMBERS, grad=False, exact=True),
    reduction("argmin", f.argmin, ("argmin",), dtypes=NUMBERS, grad=False, exact=True),
    reduction("norm", lambda x, d, k: f.norm(x, 2, d, k), slack=4.0, low=0.1),
    reduction("logsumexp", f.logsumexp, slack=4.0),
    OpSpec("sum of nothing", lambda x: (x.sum(), x.sum(0), x.prod(1), x.exp().mean(0).sum()),
           given(lambda d: [d(2, 0)], lambda d: [d(0, 2)]), dtypes=FLOATS, grad=False),
    OpSpec("var and std", lambda x: (x.var(0), x.std(), x.var(1, correction=0)),
           given(lambda d: [d(4, 6)]), slack=16.0),  # differences of near values
    OpSpec("cumsum", lambda x: tuple(f.cumsum(x, d) for d in range(x.ndim)), axes_samples,
           ("cumsum",), SUMS, whole=True, slack=4.0),
    OpSpec("sort", lambda x: tuple(t for d in range(x.ndim) for t in (*f.sort(x, d), *f.sort(x, d, True))),
           axes_samples, ("sort",), NUMBERS, exact=True),
    OpSpec("topk and median", lambda x: (*f.topk(x, 2), *f.median(x, 0)),
           given(lambda d: [d(4, 6)], lambda d: [d(3, 5)]), dtypes=NUMBERS, exact=True),
    # Movement.
    OpSpec("reshape", lambda x: (x.reshape(-1), x.reshape(2, -1), x.flatten()),
           given(lambda d: [d(4, 6)], lambda d: [d(2, 3, 4)]), ("reshape",), ALL, exact=True),
    OpSpec("permute", lambda x: (x.t(), x.transpose(0, 1) * 1), given(lambda d: [d(4, 6)], lambda d: [d(0, 3)]),
           ("permute",), NUMBERS, exact=True),
    OpSpec("permute of three", lambda x: tuple(x.permute(*p).reshape(-1) for p in ((2, 0, 1), (1, 2, 0))),
           given(lambda d: [d(2, 3, 5)]), ("permute",), NUMBERS, exact=True),
    OpSpec("broadcast", lambda x: (x.expand(3, 2, 5), x.unsqueeze(0).repeat(2, 3, 1)),
           given(lambda d: [d(2, 5)], lambda d: [d(1, 5).repeat(2, 0)]), ("broadcast",), ALL, exact=True),
    OpSpec("slice", lambda x: (x[1:], x[::2, 1:-1], x[:, ::-2], x[-1], x[..., 0], x[None, 1:2]),
           given(lambda d: [d(5, 7)], lambda d: [d(8, 6).T]), ("slice", "flip"), ALL, exact=True),
    OpSpec("flip and roll", lambda x: (f.flip(x, 0), f.flip(x, (0, 1)), f.roll(x, 2, 1), f.roll(x, -1)),
           given(lambda d: [d(4, 5)]), ("flip",), ALL, exact=True),
    OpSpec("pad", lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=3), F.pad(x, (-1, 1))),
           given(lambda d: [d(3, 4)], lambda d: [d(1, 2)]), ("pad",), NUMBERS, exact=True),
    OpSpec("interior pad", lambda x: ops.pad(x, x.reshape(-1)[:1].reshape(()), low=(1, 0), high=(0, 2), interior=(1, 2)),
           given(lambda d: [d(3, 4)]), ("pad",), FLOATS, exact=True),
    OpSpec("cat and stack", lambda a, b: (f.cat([a, b], 0), f.stack([a, b], 1), f.cat([a, b, a], -1)),
           given(lambda d: [d(3, 4), d(3, 4)], lambda d: [d(0, 2), d(0, 2)]), ("concat",), ALL, exact=True),
    OpSpec("triangles", lambda x: (f.tril(x), f.triu(x, 1), f.diagonal(x), f.diag(x[0])),
           given(lambda d: [d(4, 5)]), ("iota", "select"), NUMBERS, exact=True),
    OpSpec("split", lambda x: (*x.split(2), *x.chunk(3, 1), *x.unbind(0)), given(lambda d: [d(5, 6)]),
           dtypes=NUMBERS, exact=True),
    OpSpec("constant", lambda x: x * gradc.tensor([1.0, -0.0, 3.5]).to(x.dtype), given(lambda d: [d(2, 3)]),
           ("constant",), FLOATS, exact=True),
    OpSpec("arange and linspace", lambda x: (gradc.arange(5) + x, gradc.linspace(0, 1, 5, dtype=x.dtype) * x),
           given(lambda d: [d(5)]), ("iota",), FLOATS),
    # Indexing.
    OpSpec("index", lambda x: (x[WIDE], x[:, [0, 2]], x[[0, 1], [2, 3]], x[WIDE[:, 0], 1:]),
           given(lambda d: [d(4, 5)]), ("gather",), ALL, exact=True),
    OpSpec("gather", lambda x: (f.gather(x, 0, index_of((2, 5), 4)), f.gather(x, 1, index_of((4, 3), 5)),
                                f.index_select(x, 1, index_of((6,), 5)), f.take_along_dim(x, index_of((4, 2), 5), 1)),
           given(lambda d: [d(4, 5)]), ("gather",), NUMBERS, exact=True),
    OpSpec("embedding", lambda w: f.embedding(w, index_of((2, 3), 7)), given(lambda d: [d(7, 4)]), ("gather",),
           FLOATS, exact=True),
    OpSpec("scatter", lambda x, u: (f.scatter(x, 0, index_of((3, 5), 4), u), f.scatter_add(x, 1, index_of((3, 5), 5), u),
                                    f.index_add(x, 0, index_of((3,), 4), u)),
           given(lambda d: [d(4, 5), d(3, 5)]), ("scatter",), SUMS, whole=True, slack=4.0),
    *(
        OpSpec(f"scatter by {c}", lambda x, u, c=c: ops.scatter(x, u, index_of((3,), 4), axes=(1,), batch=0,
                                                                 wrap=True, combiner=c),
               given(lambda d: [d(2, 4), d(3, 2)]), ("scatter",), NUMBERS, exact=c != "mul", second=c != "mul", jax_grad=c != "mul")
        for c in ("set", "min", "max", "mul")
    ),
    OpSpec("in-place assignment", lambda x, v: _assigned(x, v), given(lambda d: [d(4, 5), d(5)]),
           ("scatter", "pad"), NUMBERS, exact=True),
    OpSpec("check", lambda x: _checked(x), given(lambda d: [d(3)]), ("check",), FLOATS, grad=False, exact=True),
    # Contractions.
    OpSpec("matmul", f.matmul, given(
        lambda d: [d(3, 4), d(4, 5)], lambda d: [d(4), d(4)], lambda d: [d(3, 4), d(4)], lambda d: [d(4), d(4, 2)],
        lambda d: [d(2, 3, 4), d(4, 5)], lambda d: [d(2, 3, 4), d(2, 4, 5)], lambda d: [d(1, 3, 4), d(5, 4, 2)],
        lambda d: [d(4, 3).T, d(5, 4).T], lambda d: [d(0, 4), d(4, 3)], lambda d: [d(3, 0), d(0, 2)],
        lambda d: [d(1, 1), d(1, 1)], lambda d: [d(17, 33), d(33, 19)],
    ), ("dot_general",), SUMS, whole=True, slack=8.0),  # order of summation
    OpSpec("dot_general", lambda a, b: ops.dot_general(a, b, contract=((1, 3), (3, 0)), batch=((0,), (2,))),
           given(lambda d: [d(2, 3, 4, 2), d(2, 5, 2, 3)]), ("dot_general",), SUMS, slack=8.0),
    OpSpec("linear", F.linear, given(lambda d: [d(3, 4), d(5, 4), d(5)], lambda d: [d(2, 3, 4), d(1, 4), d(1)]),
           whole=True, slack=8.0),
    OpSpec("einsum", lambda a, b: (f.einsum("ij,jk->ik", a, b), f.einsum("ij,jk->", a, b), f.einsum("ij,jk->kij", a, b)),
           given(lambda d: [d(3, 4), d(4, 2)]), whole=True, slack=8.0),
    # Composites.
    OpSpec("softmax", lambda x: tuple(f.softmax(x, d) for d in range(x.ndim)), axes_samples, slack=4.0),
    OpSpec("log_softmax", lambda x: tuple(f.log_softmax(x, d) for d in range(x.ndim)), axes_samples, slack=4.0),
    OpSpec("layer_norm", lambda x, w, b: F.layer_norm(x, (5,), w, b),
           given(lambda d: [d(3, 5), d(5), d(5)], lambda d: [d(2, 4, 5), d(5), d(5)]), slack=32.0),  # x - mean
    OpSpec("cross_entropy", lambda x: F.cross_entropy(x, index_of((6,), 4), label_smoothing=0.1),
           given(lambda d: [d(6, 4)]), slack=4.0),
    OpSpec("losses", lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y)),
           given(lambda d: [d(3, 4), d(3, 4)]), slack=4.0, second=False),
    OpSpec("attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
           given(lambda d: [d(2, 4, 3), d(2, 4, 3), d(2, 4, 3)]), slack=16.0),
]  # fmt: skip


def _assigned(x, v):
    y = x * 1
    y[1] = v
    y[2:, ::2] = v[:3] * 2
    y[[0, 3]] = v
    return y


def _checked(x):
    ops.check(ops.eq(x, x), message="x is NaN")
    return x * 2


