"""Functions at the points where torch made a choice: kinks, edges, ties, empty axes, odd shapes.

Every case is one function of a namespace, called with torch to make the table and with gradc to
be compared with it, eagerly and compiled:

    Case("huber_at_the_bound", lambda T, x, y: T.F.huber_loss(x, y), (X, Y))

`results` gives the outputs of a case, and its first and second derivatives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Namespace:
    """torch or gradc, with `nn.functional` as `F`."""

    def __init__(self, module: Any, functional: Any) -> None:
        self.module = module
        self.F = functional

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        arrays: the arguments; float64 ones are differentiated.
        order: how many derivatives are compared.
    """

    name: str
    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    order: int = 2


def flat(value: Any) -> list[Any]:
    """Nested tuples and lists as one list."""
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def _weighted(T: Namespace, values: list[Any]) -> Any:
    """A number whose gradient treats every element of `values` differently."""
    total = 0.0
    for value in values:
        weights = T.arange(1, value.numel() + 1, dtype=T.float64).reshape(value.shape)
        total = total + (value * weights * 0.25).sum()
    return total


def results(T: Namespace, case: Case, tensors: list[Any]) -> list[Any]:
    """The outputs, then the gradients, then the second derivatives (None: there are none)."""
    leaves = [t for t in tensors if t.requires_grad]
    outputs = flat(case.function(T, *tensors))
    found = [o.detach() for o in outputs]
    wanted = [o for o in outputs if o.requires_grad]
    for _ in range(case.order if wanted and leaves else 0):
        grads = T.autograd.grad(
            _weighted(T, wanted), leaves, create_graph=True, allow_unused=True
        )
        found += [None if g is None else g.detach() for g in grads]
        wanted = [g for g in grads if g is not None and g.requires_grad]
        if not wanted:
            break
    return found


inf, nan = float("inf"), float("nan")


def f64(*values: Any) -> np.ndarray:
    return np.array(values, np.float64)


_seeds = itertools.count(1)


def spread(*shape: int) -> np.ndarray:
    """Numbers in [-2, 2] without a pattern, the same on every machine and other in every call."""
    at = np.arange(np.prod(shape)) * 1.7 + next(_seeds)
    return (2 * np.sin(at)).round(3).reshape(shape)


M34, N34, A234, V4, V3 = spread(3, 4), spread(3, 4), spread(2, 3, 4), spread(4), spread(3)
KINKS = f64(-6, -3, -2, -1, -0.5, -0.0, 0, 0.5, 1, 2, 3, 6)
I34 = np.arange(-3, 9).reshape(3, 4)
BOOLS = np.array([True, False, True, False])
P = f64(0, 0, 0.3, 1, 1, 0.5)
Y = f64(0, 1, 0.5, 1, 0, 1)
Q, K, W = (spread(2, n, 4) for n in (3, 5, 5))
SEEN = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
CLASSES = np.array([2, 0, 3])


def activations() -> list[Case]:
    names = (
        "relu6", "hardtanh", "hardsigmoid", "hardswish", "mish", "softsign", "selu", "celu", "elu",
        "tanhshrink", "softshrink", "hardshrink", "relu", "leaky_relu", "silu", "gelu",
        "logsigmoid", "softplus", "sigmoid",
    )  # fmt: skip
    # torch has no second derivative of hardsigmoid.
    orders = {"hardsigmoid": 1}
    cases = [
        Case(n, lambda T, x, n=n: getattr(T.F, n)(x), (KINKS,), orders.get(n, 2)) for n in names
    ]
    return [
        *cases,
        Case("elu_alpha", lambda T, x: T.F.elu(x, 0.3), (KINKS,)),
        Case("elu_nan", lambda T, x: T.F.elu(x, 0.3), (f64(nan, inf, -inf),), 1),
        Case("celu_alpha", lambda T, x: T.celu(x, 2.0), (KINKS,)),
        Case("threshold", lambda T, x: T.threshold(x, 1.0, -7.0), (KINKS,)),
        Case("hardtanh_wide", lambda T, x: T.F.hardtanh(x, -2.0, 3.0), (KINKS,)),
        Case("glu", lambda T, x: T.F.glu(x), (M34,)),
        Case("glu_dim", lambda T, x: T.F.glu(x, 0), (M34.T.copy(),)),
        Case("prelu", lambda T, x, w: T.prelu(x, w), (M34, V4)),
        Case("prelu_one", lambda T, x, w: T.prelu(x, w), (KINKS, f64(0.25)), 1),
    ]


def losses() -> list[Case]:
    zeros = f64(0, 0, -0.0, 1, -1, 3)
    mean, none = {"reduction": "mean"}, {"reduction": "none"}
    bound = f64(0, 1, -1, 0.5, 2, -3)

    def bce(T: Namespace, x: Any, y: Any) -> Any:
        return T.F.binary_cross_entropy_with_logits(x, y.detach(), **none)

    return [
        Case("bce_logits_at_0", bce, (zeros, Y)),
        Case("bce_logits_large", bce, (f64(40, -40, 700, -700, 1e4, -1e4), Y)),
        Case("bce_logits_pos_weight", lambda T, x, y, w: T.F.binary_cross_entropy_with_logits(
            x, y.detach(), pos_weight=w.detach(), **none), (zeros, Y, f64(2, 1, 0.5, 3, 1, 2))),
        Case("bce_at_edges", lambda T, p, y: T.F.binary_cross_entropy(p, y.detach(), **none),
             (P, Y), 1),
        Case("bce_inside", lambda T, p, y: T.F.binary_cross_entropy(p, y, **mean),
             (f64(0.2, 0.9, 1e-3), f64(0.1, 1, 0))),
        Case("huber_at_the_bound", lambda T, x, y: T.F.huber_loss(x, y, **none),
             (bound, bound * 0)),
        Case("huber_delta", lambda T, x, y: T.F.huber_loss(x, y, delta=2.0), (bound, bound * 0)),
        Case("smooth_l1_at_the_bound", lambda T, x, y: T.F.smooth_l1_loss(x, y, **none),
             (bound, bound * 0)),
        Case("smooth_l1_beta", lambda T, x, y: T.F.smooth_l1_loss(x, y, beta=0.5),
             (bound, bound * 0)),
        Case("smooth_l1_beta_0", lambda T, x, y: T.F.smooth_l1_loss(x, y, beta=0.0),
             (bound, bound * 0)),
        *[Case(f"kl_div_{r}", lambda T, x, y, r=r: T.F.kl_div(x, y, reduction=r),
               (f64((-1, -2), (-3, -0.1)), f64((0.4, 0.6), (0.1, 0.9))))
          for r in ("none", "sum", "batchmean")],
        Case("kl_div_zero", lambda T, x, y: T.F.kl_div(x, y.detach(), reduction="sum"),
             (f64(-1, -2), f64(0, 1))),
        Case("kl_div_log", lambda T, x, y: T.F.kl_div(
            x, y, reduction="sum", log_target=True), (f64(-1, -2), f64(-0.5, -1.5))),
        Case("cosine_similarity", lambda T, x, y: T.F.cosine_similarity(x, y),
             (M34, N34)),
        Case("cosine_similarity_0", lambda T, x, y: T.F.cosine_similarity(x, y),
             (M34 * 0, N34), 1),
        Case("cosine_similarity_row", lambda T, x, y: T.F.cosine_similarity(
            x, y, dim=-1), (M34, V4)),
        Case("softmin", lambda T, x: T.F.softmin(x, 1), (M34,)),
        Case("cross_entropy_smoothing_1", lambda T, x, t: T.F.cross_entropy(
            x, t, label_smoothing=1.0), (M34, CLASSES)),
    ]  # fmt: skip


def attention() -> list[Case]:
    def attend(T: Namespace, q: Any, k: Any, v: Any, mask: Any = None, **more: Any) -> Any:
        return T.F.scaled_dot_product_attention(q, k, v, mask, **more)

    heads = tuple(spread(1, n, 3, 2) for n in (4, 2, 2))
    added = np.where(SEEN, 0.5, -inf)
    return [
        Case("attention", attend, (Q, K, W)),
        Case("attention_causal", lambda T, *a: attend(T, *a, is_causal=True), (Q, K, W)),
        Case("attention_blind_row", attend, (Q, K, W, SEEN), 1),
        Case("attention_blind_row_added", lambda T, q, k, v, m: attend(T, q, k, v, m.detach()),
             (Q, K, W, added), 1),
        Case("attention_shared_heads", lambda T, *a: attend(T, *a, enable_gqa=True), heads, 1),
    ]  # fmt: skip


def reductions() -> list[Case]:
    constant, some = f64(2, 2, 2), f64(0, 1, -2)
    powers = (1, 1.5, 2, 2.5, 3, 0.5, -1, inf, -inf)
    empty = np.zeros((0, 3))
    return [
        Case("std_constant", lambda T, x: T.std(x), (constant,), 1),
        Case("std_constant_rows", lambda T, x: T.std(x, 1), (np.ones((2, 3)),), 1),
        Case("var_constant", lambda T, x: T.var(x), (constant,)),
        Case("std", lambda T, x: T.std(x, 0), (M34,)),
        Case("std_of_one", lambda T, x: T.std(x), (f64(3),), 0),
        *[Case(f"norm_{p}_at_0", lambda T, x, p=p: T.norm(x, p), (some * 0,), 1) for p in powers],
        *[Case(f"norm_{p}_some_0", lambda T, x, p=p: T.norm(x, p), (some,), 1) for p in powers],
        *[Case(f"norm_{p}", lambda T, x, p=p: T.norm(x, p, dim=1), (M34,)) for p in powers],
        Case("var_mean", lambda T, x: T.var_mean(x, 1, keepdim=True), (M34,)),
        Case("std_mean", lambda T, x: T.std_mean(x), (M34,)),
        Case("nansum", lambda T, x: T.nansum(x, 0), (f64((1, nan), (nan, nan), (2, -1)),)),
        Case("nanmean", lambda T, x: T.nanmean(x, 0), (f64((1, nan), (nan, nan), (2, -1)),)),
        Case("norm_0", lambda T, x: T.norm(x, 0), (some,), 0),
        Case("logsumexp_empty", lambda T, x: T.logsumexp(x, 0), (empty,), 1),
        Case("logsumexp_empty_keepdim", lambda T, x: T.logsumexp(x, 0, keepdim=True), (empty,), 1),
        Case("logsumexp_empty_all", lambda T, x: T.logsumexp(x, (0, 1)), (empty,), 1),
        Case("cumprod", lambda T, x: T.cumprod(x, 1), (M34,)),
        Case("cumprod_zeros", lambda T, x: T.cumprod(x, 0), (f64(2, 0, 3, 0, 5),), 1),
        Case("cumprod_ints", lambda T, x: T.cumprod(x, 1), (I34,)),
        Case("diff", lambda T, x: T.diff(x), (M34,)),
        Case("diff_2", lambda T, x: T.diff(x, 2, 0), (M34,)),
        Case("diff_bool", lambda T, x: T.diff(x), (BOOLS,)),
        Case("trace", lambda T, x: T.trace(x), (M34,)),
        Case("trace_ints", lambda T, x: T.trace(x), (I34,)),
    ]  # fmt: skip


def products() -> list[Case]:
    bad = np.full((3, 2), nan)
    A, B = M34, spread(4, 2)
    C, D, E = (spread(*s) for s in ((2, 3, 4), (2, 4, 5), (2, 3, 5)))
    return [
        Case("addmm_beta_0", lambda T, x, a, b: T.addmm(x.detach(), a, b, beta=0), (bad, A, B)),
        Case("addmm", lambda T, x, a, b: T.addmm(x, a, b, beta=2, alpha=0.5),
             (spread(2), A, B)),
        Case("baddbmm", lambda T, x, a, b: T.baddbmm(x, a, b, beta=0.5, alpha=2), (E, C, D)),
        Case("baddbmm_beta_0", lambda T, x, a, b: T.baddbmm(x.detach(), a, b, beta=0),
             (E * nan, C, D)),
        Case("addmv", lambda T, x, a, v: T.addmv(x, a, v, beta=3), (V3, A, V4)),
        Case("inner", lambda T, x, y: T.inner(x, y), (A, C)),
        Case("inner_vectors", lambda T, x, y: T.inner(x, y), (V4, V4 + 1)),
        Case("inner_number", lambda T, x, y: T.inner(x, y), (A, np.array(2.0))),
        Case("einsum_size_1", lambda T, x, y: T.einsum("ij,ij->", x, y), (M34[:1], N34)),
        Case("einsum_size_1_kept", lambda T, x, y: T.einsum("i,i->i", x, y), (V4[:1], V4)),
        Case("einsum_size_1_summed", lambda T, x, y: T.einsum("ij,jk->ik", x, y), (M34, V4[None])
             ),
        Case("einsum_size_1_dots", lambda T, x, y: T.einsum("...j,...j->...", x, y), (A234, V4)),
    ]  # fmt: skip


def shapes() -> list[Case]:
    return [
        Case("tensor_split_back", lambda T, x: T.tensor_split(x, (2, 1)), (M34,)),
        Case("tensor_split_ends", lambda T, x: T.tensor_split(x, (-1, 9), 1), (M34,)),
        Case("tensor_split_3", lambda T, x: T.tensor_split(x, 3, 1), (M34,)),
        Case("flip_dims", lambda T, x: T.flip(x, dims=(0, 1)), (M34,)),
        Case("flip_one", lambda T, x: x.flip(-1), (M34,)),
        Case("hstack", lambda T, x, y: T.hstack((x, y)), (M34, N34)),
        Case("hstack_vectors", lambda T, x, y: T.hstack((x, y)), (V3, V4)),
        Case("vstack", lambda T, x, y: T.vstack((x, y)), (M34, V4)),
        Case("dstack", lambda T, x, y: T.dstack((x, y)), (M34, N34)),
        Case("dstack_vectors", lambda T, x, y: T.dstack((x, y)), (V4, V4 + 1)),
        Case("column_stack", lambda T, x, y: T.column_stack((x, y)), (M34, V3)),
        Case("atleast", lambda T, x, y: (
            T.atleast_1d(x), T.atleast_2d(y), T.atleast_3d(x), T.atleast_3d(y)),
            (np.array(2.0), V4)),
        Case("select", lambda T, x: (x.select(1, -1), T.select(x, 0, 1)), (M34,)),
        Case("view_as", lambda T, x, y: (x.view_as(y), x.reshape_as(y)), (M34, np.arange(12))),
        Case("repeat_interleave", lambda T, x: T.repeat_interleave(x, 2, 1), (M34,)),
        *[Case(f"pad_{mode}", lambda T, x, m=mode: T.F.pad(x, (1, 2), mode=m), (A234,))
          for mode in ("reflect", "replicate", "circular")],
        *[Case(f"pad_{mode}_2d", lambda T, x, m=mode: T.F.pad(x, (2, 1, 1, 0), mode=m),
               (A234[None],)) for mode in ("reflect", "replicate", "circular")],
    ]  # fmt: skip


def indices() -> list[Case]:
    where, ones = np.array([[0, 2, 1, 0]]), np.array([2, 0])

    def stored(T: Namespace, x: Any, key: Any, value: Any) -> Any:
        y = x.clone()
        y[key] = value
        return y

    def filled(T: Namespace, x: Any, v: Any) -> Any:
        y = T.zeros(3, 4, dtype=T.float64)
        y[1] = v
        y[:, 2] += x[:, 0]
        return y.mul_(2), T.ones(2).add_(1), T.full((2, 2), 3).fill_(1)

    return [
        Case("store_into_new_memory", filled, (M34, V4)),
        Case("one_hot", lambda T, i: T.F.one_hot(i, 4), (CLASSES,)),
        Case("index_true", lambda T, x: x[True], (M34,)),
        Case("index_false", lambda T, x: x[False], (M34,)),
        Case("index_true_inside", lambda T, x: x[:, True, 1], (M34,)),
        Case("store_true", lambda T, x, v: stored(T, x, True, v), (M34, V4)),
        Case("store_false", lambda T, x: stored(T, x, False, 7.0), (M34,)),
        Case("index_range", lambda T, x: x[range(2)], (M34,)),
        Case("index_tuple_inside", lambda T, x: x[:, (0, 2)], (M34,)),
        Case("index_select_0d", lambda T, x, i: T.index_select(x, 0, i),
             (np.array(2.0), np.array([0]))),
        Case("scatter_value", lambda T, x, i: T.scatter(x, 0, i, value=2.5), (M34, where)),
        Case("scatter_number", lambda T, x, i: x.scatter(0, i, 2.5), (M34, where)),
        Case("take", lambda T, x, i: T.take(x, i), (M34, np.array([[0, -1], [5, 5]]))),
        Case("index_put", lambda T, x, i, v: x.index_put((i,), v), (M34, ones, V4)),
        Case("index_put_2", lambda T, x, i, j, v: x.index_put((i, j), v),
             (M34, ones, np.array([3, 1]), f64(5, 6))),
        Case("index_put_add", lambda T, x, i, v: x.index_put((i,), v, accumulate=True),
             (M34, np.array([1, 1, 0]), N34)),
        Case("index_put_in_place", lambda T, x, i, v: x.clone().index_put_((i,), v),
             (M34, ones, V4)),
    ]  # fmt: skip


def bools() -> list[Case]:
    other = np.array([True, True, False, False])
    return [
        Case("bool_add", lambda T, x, y: (x + y, T.add(x, y)), (BOOLS, other)),
        Case("bool_mul", lambda T, x, y: (x * y, T.mul(x, y)), (BOOLS, other)),
        Case("bool_and_True", lambda T, x: (x + True, x * False), (BOOLS,)),
        Case("bool_and_1", lambda T, x: (x + 1, x * 2, x + 1.5), (BOOLS,)),
        Case("bool_div", lambda T, x, y: (x + 0) / (y + 1), (BOOLS, other)),
        Case("bool_sum", lambda T, x: (x.sum(), (x + x).sum()), (BOOLS,)),
    ]


def numbers() -> list[Case]:
    u8, i8 = np.array([1, 200], np.uint8), np.array([1, -100], np.int8)
    return [
        Case("nan_to_num", lambda T, x: (T.nan_to_num(x), T.nan_to_num(x, 1.0, 2.0, -2.0)),
             (f64(nan, inf, -inf, 3),), 1),
        Case("xlogy", lambda T, x, y: T.xlogy(x, y), (f64(2, 0, 1, 3), f64(3, 2, 0.5, 1))),
        Case("xlogy_0", lambda T, x, y: T.xlogy(x, y), (f64(0, 0, 0, 1), f64(0, inf, nan, 0)), 0),
        Case("number_wraps", lambda T, x, y: (x + 300, x < 300, x > -1, y * 200), (u8, i8)),
    ]


def creation() -> list[Case]:
    return [
        Case("new_zeros", lambda T, x: (x.new_zeros(2, 3), x.new_ones((2,))), (V4,), 0),
        Case("new_full", lambda T, x: (x.new_full((2,), 3), x.new_full((2,), 3, dtype=T.float32)),
             (I34,), 0),
        Case("new_tensor", lambda T, x: x.new_tensor([1, 2]), (V4,), 0),
    ]  # fmt: skip


def kinks() -> list[Case]:
    """Every primitive whose derivative jumps, ends or is shared at a tie."""
    at = f64(-1, -0.0, 0, 1, 2)
    ends, tied = f64(-1, 1), f64(3, 1, 3, 3, 1)
    ties = np.array([[3.0, 1, 3], [1, 1, 3], [3, 3, 3]])
    zeros = np.array([[2.0, 0, 3], [0, 5, 0], [1, 2, 4]])
    grid_x, grid_y = (g.ravel() for g in np.meshgrid(at, at))
    one = {
        "abs": at, "sign": at, "floor": at, "ceil": at, "trunc": at, "round": at, "sqrt": at[1:],
        "rsqrt": at[1:], "log": at[1:], "log1p": f64(-1, 0), "asin": ends, "acos": ends,
        "atanh": ends, "erfinv": ends, "acosh": f64(1), "tan": at, "reciprocal": at,
        "square": at, "exp": f64(-inf, 0, 800), "expm1": f64(-inf, 0, -0.0), "tanh": f64(-inf, inf),
        "sigmoid": f64(-inf, inf, -800, 800), "lgamma": f64(1, 2), "asinh": at, "logsigmoid": at,
    }  # fmt: skip
    two = ("maximum", "minimum", "atan2", "hypot", "div", "mul", "sub", "logaddexp", "fmod",
           "remainder")  # fmt: skip
    cases = [Case(f"kink_{n}", lambda T, x, n=n: getattr(T, n)(x), (v,), 1) if n != "logsigmoid"
             else Case("kink_logsigmoid", lambda T, x: T.F.logsigmoid(x), (v,), 1)
             for n, v in one.items()]  # fmt: skip
    cases += [Case(f"kink_{n}", lambda T, x, y, n=n: getattr(T, n)(x, y), (grid_x, grid_y), 1)
              for n in two]  # fmt: skip
    return [
        *cases,
        Case("kink_pow", lambda T, x, y: T.pow(x, y), (grid_x, np.abs(grid_y)), 1),
        Case("kink_pow_number", lambda T, x: (x**0, x**1, x**2, x**3, T.abs(x) ** 0.5), (at,), 1),
        Case("kink_clamp", lambda T, x: T.clamp(x, -1, 1), (at,), 1),
        Case("kink_clamp_tensors", lambda T, x, a, b: T.clamp(x, a, b),
             (at, f64(-1, 0, 0, 0, 0), f64(1, 1, 0, 1, 1)), 1),
        Case("kink_where", lambda T, x: T.where(x > 0, T.sqrt(x), x), (at,), 1),
        Case("kink_prod", lambda T, x: T.prod(x), (zeros,), 1),
        Case("kink_prod_rows", lambda T, x: T.prod(x, 1), (zeros,), 1),
        Case("kink_amax", lambda T, x: (T.amax(x, 1), T.amin(x, 0)), (ties,), 1),
        Case("kink_max_dim", lambda T, x: (T.max(x, 1)[0], T.min(x, 0)[0]), (ties,), 1),
        Case("kink_max", lambda T, x: (T.max(x), T.min(x)), (ties,), 1),
        Case("kink_sort", lambda T, x: T.sort(x, stable=True)[0], (tied,), 1),
        Case("kink_median", lambda T, x: T.median(x), (f64(1, 5, 2),), 1),
        Case("kink_cumsum", lambda T, x: T.cumsum(x, 0), (tied,), 1),
        Case("kink_relu", lambda T, x: T.relu(x), (f64(-1, -0.0, 0, 1, nan),), 1),
        Case("kink_l1", lambda T, x, y: T.F.l1_loss(x, y), (at, at * f64(1, 1, 1, 1, 0)), 1),
        Case("kink_softmax", lambda T, x: T.softmax(x, 0), (f64(-inf, 0, 800),), 1),
        Case("kink_logsumexp", lambda T, x: T.logsumexp(x, 1),
             (np.array([[-inf, 0], [5.0, 5.0]]),), 1),
    ]  # fmt: skip


GROUPS: dict[str, list[Case]] = {
    group.__name__: group()
    for group in (
        activations, losses, attention, reductions, products, shapes, indices, bools, numbers,
        creation, kinks,
    )
}  # fmt: skip
# What only looks at values, and so is not for a static graph.
EAGER = [
    Case("where_alone", lambda T, x: T.where(x), (BOOLS,)),
    Case("where_alone_2d", lambda T, x: T.where(x), (np.diag([1.0, 0, 2]),)),
    Case("nonzero_0d", lambda T, x: T.nonzero(x), (np.array(2.0),)),
    Case("nonzero_0d_zero", lambda T, x: T.nonzero(x), (np.array(0.0),)),
    Case("nonzero_0d_tuple", lambda T, x: T.nonzero(x, as_tuple=True), (np.array(2.0),)),
    Case("mask_0d", lambda T, x, m: x[m], (M34, np.array(True))),
    Case("mask_0d_false", lambda T, x, m: x[m], (M34, np.array(False))),
    Case("repeat_unevenly", lambda T, x, n: T.repeat_interleave(x, n, 0),
         (M34, np.array([2, 0, 1]))),
]  # fmt: skip
