"""Reductions, movement, indexing, contractions, creation, and composites over them."""

from __future__ import annotations

import numpy as np

import gradc
import gradc.nn.functional as F
from gradc.tracer import functional as f
from gradc.tracer import ops
from gradc.tracer.graph.types import bool_, int32, int64

from .spec import ALL, FLOATS, NUMBERS, OpSpec, draw, given, special_values

SUMS = (*FLOATS, int32, int64)


def axes_samples(rng, dtype, spec):
    """Shapes for what works along axes; with an empty one unless the spec says why not."""
    shapes = [(), (1,), (37,), (4, 1, 2), (40, 3), (2, 3, 5), (6, 8)]
    if "empty" not in spec.lacks:
        shapes.insert(0, (2, 0, 3))
    for shape in shapes:
        yield [draw(rng, shape, dtype, spec)]
    if spec.special and dtype.is_float:
        yield [rng.choice(special_values(dtype), (5, 6))]
        # Ties and no NaN; of 0.0 and -0.0 either may be the least, so not both.
        yield [rng.choice(special_values(dtype)[[0, 2, 3, 4, 5]], (7, 3))]
        yield [np.full((2, 3), -np.inf, dtype.numpy)]


def every_axis(fn):
    """All axes, each axis from both ends, and keepdim, in one call."""

    def run(x):
        found = [fn(x, None, False)]
        for axis in range(x.ndim):
            found += [fn(x, axis, False), fn(x, axis - x.ndim, True)]
        return tuple(found)

    return run


def each_axis(fn):
    """Along each axis; a 0-d tensor has axis 0, as in torch."""
    return lambda x: tuple(fn(x, axis) for axis in range(max(x.ndim, 1)))


def reduction(name, fn, prims=(), **options):
    return OpSpec(name, every_axis(fn), axes_samples, prims, **options)


def index_of(shape, size, seed=0):
    return gradc.tensor(np.random.default_rng(seed).integers(0, size, shape))


WIDE = gradc.tensor(np.random.default_rng(5).integers(-4, 4, (3, 2)))

# Why a shape class is not among a spec's samples.
NO_IDENTITY = {"empty": "nothing has no extreme: among the error inputs; `empty rows` has the others"}
HAS_AXES = {"0-d": "works along an axis"}
TWO_AXES = {"0-d": "works along two axes"}
FIXED = {"0-d": "the indices need these sizes", "size 1": "likewise", "empty": "likewise"}


def empty_rows(x):
    return (f.amax(x, 1), f.amin(x, -1, True), f.argmax(x, 1), f.argmin(x, -1), *f.sort(x, 1), f.any(x, 0),
            f.all(x, 0), x.reshape(-1), x.T, f.cat([x, x], 1))  # fmt: skip


SPECS = [
    reduction("sum", f.sum, ("reduce_sum",), dtypes=SUMS, whole=True, slack=4.0),  # order of summation
    reduction("prod", f.prod, ("reduce_prod",), dtypes=SUMS, whole=True, slack=16.0),  # 120 roundings
    reduction("mean", f.mean, slack=4.0),
    reduction("amax", f.amax, ("reduce_max",), dtypes=ALL, exact=True, lacks=NO_IDENTITY),
    reduction("amin", f.amin, ("reduce_min",), dtypes=ALL, exact=True, lacks=NO_IDENTITY),
    reduction("any", f.any, ("reduce_any",), dtypes=(bool_, int32), grad=False, exact=True),
    reduction("all", f.all, ("reduce_all",), dtypes=(bool_, int32), grad=False, exact=True),
    reduction("argmax", f.argmax, ("argmax",), dtypes=NUMBERS, grad=False, exact=True, lacks=NO_IDENTITY),
    reduction("argmin", f.argmin, ("argmin",), dtypes=NUMBERS, grad=False, exact=True, lacks=NO_IDENTITY),
    reduction("norm", lambda x, d, k: f.norm(x, 2, d, k), slack=4.0, low=0.1, special=False),
    reduction("logsumexp", f.logsumexp, slack=4.0),
    OpSpec("empty rows", empty_rows, given(lambda d: [d(0, 3)]), ("argmax", "argmin", "sort"), ALL, grad=False,
           exact=True, lacks={"0-d": "empty", "size 1": "empty"}),
    OpSpec("sum of nothing", lambda x: (x.sum(), x.sum(0), x.prod(1), x.exp().mean(0).sum()),
           given(lambda d: [d(2, 0)], lambda d: [d(0, 2)]), dtypes=FLOATS, grad=False,
           lacks={"0-d": "empty", "size 1": "empty"}),
    OpSpec("var and std", lambda x: (x.var(0), x.std(), x.var(1, correction=0)),
           given(lambda d: [d(4, 6)]), slack=16.0, lacks=FIXED),  # differences of near values
    OpSpec("cumsum", each_axis(f.cumsum), axes_samples, ("cumsum",), SUMS, whole=True, slack=4.0),
    OpSpec("sort", each_axis(lambda x, d: (*f.sort(x, d), *f.sort(x, d, True))), axes_samples,
           ("sort",), NUMBERS, exact=True),
    OpSpec("topk and median", lambda x: (*f.topk(x, 2), *f.median(x, 0)),
           given(lambda d: [d(4, 6)], lambda d: [d(3, 5)]), dtypes=NUMBERS, exact=True, lacks=FIXED),
    # Movement.
    OpSpec("reshape", lambda x: (x.reshape(-1), x.reshape(2, -1), x.flatten()),
           given(lambda d: [d(4, 6)], lambda d: [d(2, 3, 4)]), ("reshape",), ALL, exact=True,
           lacks={**FIXED, "0-d": "see `reshape of one`"}),
    OpSpec("reshape of one", lambda x: (x.reshape(1, 1), x.reshape(()), x.squeeze(), x.unsqueeze(0)),
           given(lambda d: [d()], lambda d: [d(1)], lambda d: [d(1, 1)]), ("reshape",), ALL, exact=True,
           lacks={"empty": "see `empty rows`"}),
    OpSpec("permute", lambda x: (x.t(), x.transpose(0, -1) * 1),
           given(lambda d: [d()], lambda d: [d(1, 1)], lambda d: [d(0, 3)], lambda d: [d(5, 5)], lambda d: [d(4, 6)]),
           ("permute",), NUMBERS, exact=True),
    OpSpec("permute of three", lambda x: tuple(x.permute(*p).reshape(-1) for p in ((2, 0, 1), (1, 2, 0))),
           given(lambda d: [d(2, 3, 5)], lambda d: [d(3, 3, 3)], lambda d: [d(1, 1, 1)], lambda d: [d(2, 0, 3)]),
           ("permute",), NUMBERS, exact=True, lacks={"0-d": "three axes"}),
    OpSpec("broadcast", lambda x: (x.expand(3, 2, 5), x.unsqueeze(0).expand(2, *x.shape) * 1),
           given(lambda d: [d(2, 5)], lambda d: [d(1, 5)], lambda d: [d(1)], lambda d: [d()]), ("broadcast",),
           ALL[1:], exact=True, lacks={"empty": "see `broadcast to nothing`"}),
    OpSpec("broadcast to a square", lambda x: (x.expand(4, 4), ops.broadcast(x, shape=(4, 4), axes=(0,))), given(lambda d: [d(4)], lambda d: [d(1)]),
           ("broadcast",), FLOATS, exact=True, lacks={"0-d": "has no axis to choose", "empty": "see `broadcast to nothing`"}),
    OpSpec("broadcast to nothing", lambda x: (x.expand(0, 3), x.expand(2, 0, 3)), given(lambda d: [d(1, 3)], lambda d: [d(0, 3)]),
           ("broadcast",), FLOATS, grad=False, exact=True, lacks={"0-d": "see `broadcast`", "size 1": "likewise"}),
    OpSpec("slice", lambda x: (x[1:], x[::2, 1:-1], x[:, ::-2], x[-1], x[..., 0], x[None, 1:2]),
           given(lambda d: [d(5, 7)], lambda d: [d(6, 8)]), ("slice", "flip"), ALL, exact=True,
           lacks={"0-d": "see `slice of little`", "size 1": "likewise", "empty": "likewise"}),
    OpSpec("slice of little", lambda x: (x[...], x[None], x[:1] if x.ndim else x, x[::-1] if x.ndim else x),
           given(lambda d: [d()], lambda d: [d(1)], lambda d: [d(0)], lambda d: [d(0, 2)]), ("slice", "flip"), FLOATS, exact=True),
    OpSpec("flip and roll", lambda x: (f.flip(x, 0), f.flip(x, (0, 1)), f.roll(x, 2, 1), f.roll(x, -1)),
           given(lambda d: [d(4, 5)], lambda d: [d(1, 1)], lambda d: [d(0, 2)]), ("flip",), ALL, exact=True, lacks=TWO_AXES),
    OpSpec("pad", lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=3), F.pad(x, (-1, 1))),
           given(lambda d: [d(3, 4)], lambda d: [d(1, 2)], lambda d: [d(1, 1)], lambda d: [d(0, 2)]), ("pad",), NUMBERS,
           exact=True, lacks=TWO_AXES),
    OpSpec("interior pad", lambda x, v: ops.pad(x, v, low=(1, 0), high=(0, 2), interior=(1, 2)),
           given(lambda d: [d(3, 4), d()], lambda d: [d(1, 1), d()], lambda d: [d(0, 2), d()]), ("pad",), FLOATS, exact=True),
    OpSpec("pad of 0-d", lambda x, v: ops.pad(x, v, low=(), high=(), interior=()) * 1, given(lambda d: [d(), d()]),
           ("pad",), FLOATS, exact=True, lacks={"size 1": "see `pad`", "empty": "likewise"}),
    OpSpec("cat and stack", lambda a, b: (f.cat([a, b], 0), f.stack([a, b], 1), f.cat([a, b, a], -1)),
           given(lambda d: [d(3, 4), d(3, 4)], lambda d: [d(0, 2), d(0, 2)], lambda d: [d(1, 1), d(1, 1)]), ("concat",),
           ALL, exact=True, lacks={"0-d": "has no axis; an error input"}),
    OpSpec("triangles", lambda x: (f.tril(x), f.triu(x, 1), f.diagonal(x), f.diag(x[0])),
           given(lambda d: [d(4, 5)], lambda d: [d(1, 1)]), ("iota", "select"), NUMBERS, exact=True,
           lacks={**TWO_AXES, "empty": "takes row 0"}),
    OpSpec("iota", lambda x: (x + gradc.arange(6).reshape(2, 3), f.tril(x), f.triu(x)), given(lambda d: [d(2, 3)], lambda d: [d(1, 1)]),
           ("iota",), NUMBERS, exact=True, lacks={"0-d": "has no axis", "empty": "see `arange of nothing`"}),
    OpSpec("arange of nothing", lambda x: (gradc.arange(0) + x, f.tril(x[:, None])), given(lambda d: [d(0)]), ("iota",),
           FLOATS, exact=True, lacks={"0-d": "empty", "size 1": "empty"}),
    OpSpec("split", lambda x: (*x.split(2), *x.chunk(3, 1), *x.unbind(1)),
           given(lambda d: [d(5, 6)], lambda d: [d(1, 1)], lambda d: [d(0, 3)]), dtypes=NUMBERS, exact=True, lacks=TWO_AXES),
    OpSpec("constant", lambda x: (x * gradc.tensor([1.0, -0.0, 3.5]).to(x.dtype), x * gradc.tensor(2.5).to(x.dtype)),
           given(lambda d: [d(2, 3)], lambda d: [d(0, 3)], lambda d: [d()], lambda d: [d(1)]), ("constant",), FLOATS, exact=True),
    OpSpec("arange and linspace", lambda x: (gradc.arange(5) + x, gradc.linspace(0, 1, 5, dtype=x.dtype) * x),
           given(lambda d: [d(5)], lambda d: [d(1)], lambda d: [d()], lambda d: [d(0, 1)]), ("iota",), FLOATS),
    # Indexing.
    OpSpec("index", lambda x: (x[WIDE], x[:, [0, 2]], x[[0, 1], [2, 3]], x[WIDE[:, 0], 1:]),
           given(lambda d: [d(4, 5)]), ("gather",), ALL, exact=True, lacks=FIXED),
    OpSpec("index one and none", lambda x: (x[[0, -1]], x[:, [-1]], x[gradc.tensor(0)], x[gradc.zeros(0, dtype=int64)]),
           given(lambda d: [d(1, 1)], lambda d: [d(1, 1, 0)], lambda d: [d(2, 1, 3)]), ("gather",), FLOATS, exact=True, lacks=TWO_AXES),
    OpSpec("gather", lambda x: (f.gather(x, 0, index_of((2, 5), 4)), f.gather(x, 1, index_of((4, 3), 5)),
                                f.index_select(x, 1, index_of((6,), 5)), f.take_along_dim(x, index_of((4, 2), 5), 1)),
           given(lambda d: [d(4, 5)]), ("gather",), NUMBERS, exact=True, lacks=FIXED),
    OpSpec("gather of a square", lambda x: tuple(ops.gather(x, index_of((4,), 4), axes=(a,), batch=0, wrap=True) for a in (0, 1)),
           given(lambda d: [d(4, 4)]), ("gather",), FLOATS, exact=True, lacks=FIXED),
    OpSpec("gather of 0-d", lambda x: (f.gather(x, 0, gradc.tensor(0)), f.index_select(x.reshape(1), 0, gradc.tensor([0, 0]))),
           given(lambda d: [d()]), ("gather",), FLOATS, exact=True, lacks={"size 1": "see `index one and none`", "empty": "likewise"}),
    OpSpec("embedding", lambda w: (f.embedding(w, index_of((2, 3), 7)), f.embedding(w, gradc.tensor(3))),
           given(lambda d: [d(7, 4)], lambda d: [d(7, 0)], lambda d: [d(7, 1)]), ("gather",), FLOATS, exact=True,
           lacks={"0-d": "rows of a matrix", "size 1": "the indices need 7 rows"}),
    OpSpec("scatter", lambda x, u: (f.scatter(x, 0, index_of((3, 5), 4), u), f.scatter_add(x, 1, index_of((3, 5), 5), u),
                                    f.index_add(x, 0, index_of((3,), 4), u)),
           given(lambda d: [d(4, 5), d(3, 5)]), ("scatter",), SUMS, whole=True, slack=4.0, lacks=FIXED),
    OpSpec("scatter one and none", lambda x, u: (f.scatter_add(x, 0, gradc.zeros(*u.shape, dtype=int64), u),
                                                 f.scatter(x, 0, gradc.zeros(*u.shape, dtype=int64), u)),
           given(lambda d: [d(), d()], lambda d: [d(1), d(1)], lambda d: [d(3), d(0)], lambda d: [d(2, 3), d(0, 3)]),
           ("scatter",), SUMS, whole=True, slack=4.0),
    *(
        OpSpec(f"scatter by {c}", lambda x, u, c=c: ops.scatter(x, u, index_of((3,), 4), axes=(1,), batch=0,
                                                                 wrap=True, combiner=c),
               given(lambda d: [d(2, 4), d(3, 2)], lambda d: [d(0, 4), d(3, 0)]), ("scatter",), NUMBERS,
               exact=c != "mul", second=c != "mul",
               jax_no_gradient="JAX has none for products at equal places" if c == "mul" else "", lacks={"0-d": "the indices need 4", "size 1": "likewise"})
        for c in ("set", "min", "max", "mul")
    ),
    OpSpec("in-place assignment", lambda x, v: _assigned(x, v), given(lambda d: [d(4, 5), d(5)]),
           ("scatter", "pad"), NUMBERS, exact=True, lacks=FIXED),
    OpSpec("check", lambda x: _checked(x), given(lambda d: [d(3)], lambda d: [d()], lambda d: [d(1)], lambda d: [d(0)]),
           ("check",), FLOATS, grad=False, exact=True),
    # Contractions.
    OpSpec("matmul", f.matmul, given(
        lambda d: [d(4), d(4)], lambda d: [d(3, 4), d(4)], lambda d: [d(4), d(4, 2)], lambda d: [d(5, 5), d(5, 5)],
        lambda d: [d(2, 3, 4), d(4, 5)], lambda d: [d(2, 3, 4), d(2, 4, 5)], lambda d: [d(1, 3, 4), d(5, 4, 2)],
        lambda d: [d(0, 4), d(4, 3)], lambda d: [d(3, 0), d(0, 2)],
        lambda d: [d(1, 1), d(1, 1)], lambda d: [d(17, 33), d(33, 19)],
    ), ("dot_general",), SUMS, whole=True, slack=8.0, lacks={"0-d": "has no axis; an error input"}),  # order of summation
    OpSpec("dot_general", lambda a, b: ops.dot_general(a, b, contract=((1, 3), (3, 0)), batch=((0,), (2,))),
           given(lambda d: [d(2, 3, 4, 2), d(2, 5, 2, 3)], lambda d: [d(1, 1, 1, 1), d(1, 1, 1, 1)], lambda d: [d(2, 0, 4, 2), d(2, 5, 2, 0)]),
           ("dot_general",), SUMS, whole=True, slack=8.0, lacks={"0-d": "see `product of numbers`"}),
    OpSpec("product of numbers", lambda a, b: ops.dot_general(a, b, contract=((), ()), batch=((), ())),
           given(lambda d: [d(), d()], lambda d: [d(1), d(1)], lambda d: [d(), d(4)], lambda d: [d(3), d(4)], lambda d: [d(0), d(2)]),
           ("dot_general",), FLOATS, whole=True, slack=8.0),
    OpSpec("linear", F.linear, given(lambda d: [d(3, 4), d(5, 4), d(5)], lambda d: [d(2, 3, 4), d(1, 4), d(1)], lambda d: [d(0, 4), d(5, 4), d(5)]),
           whole=True, slack=8.0, lacks=HAS_AXES),
    OpSpec("einsum", lambda a, b: (f.einsum("ij,jk->ik", a, b), f.einsum("ij,jk->", a, b), f.einsum("ij,jk->kij", a, b)),
           given(lambda d: [d(3, 4), d(4, 2)], lambda d: [d(1, 1), d(1, 1)], lambda d: [d(0, 4), d(4, 2)]), whole=True, slack=8.0, lacks=TWO_AXES),
    # Composites.
    OpSpec("softmax", each_axis(f.softmax), axes_samples, slack=4.0),
    OpSpec("log_softmax", each_axis(f.log_softmax), axes_samples, slack=4.0),
    OpSpec("layer_norm", lambda x, w, b: F.layer_norm(x, (5,), w, b),
           given(lambda d: [d(3, 5), d(5), d(5)], lambda d: [d(2, 4, 5), d(5), d(5)], lambda d: [d(0, 5), d(5), d(5)]),
           slack=32.0, lacks={"0-d": "rows of 5", "size 1": "rows of 5"}),  # x - mean
    OpSpec("cross_entropy", lambda x: F.cross_entropy(x, index_of((6,), 4), label_smoothing=0.1),
           given(lambda d: [d(6, 4)]), slack=4.0, lacks=FIXED),
    OpSpec("losses", lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y)),
           given(lambda d: [d(3, 4), d(3, 4)], lambda d: [d(), d()], lambda d: [d(1), d(1)]), slack=4.0, second=False,
           lacks={"empty": "the mean of nothing"}),
    OpSpec("attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
           given(lambda d: [d(2, 4, 3), d(2, 4, 3), d(2, 4, 3)], lambda d: [d(1, 1, 1), d(1, 1, 1), d(1, 1, 1)]), slack=16.0,
           lacks={"0-d": "rows of vectors", "empty": "a softmax of nothing"}),
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


