"""Convolutions, pooling and batch normalisation where torch made a choice: ties, NaN, padding,
ceil_mode, dilation, groups. See `torch_cases`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from torch_cases import Case, Namespace, inf, nan, spread


def convolutions() -> list[Case]:
    x, w, b = spread(2, 4, 5, 6), spread(4, 4, 3, 2), spread(4)
    half, line, kernel = spread(4, 2, 3, 2), spread(2, 3, 7), spread(2, 3, 3)
    options: dict[str, dict[str, Any]] = {
        "plain": {}, "stride": {"stride": 2}, "strides": {"stride": (2, 1), "padding": (0, 1)},
        "padding": {"padding": 2}, "same": {"padding": "same"}, "valid": {"padding": "valid"},
        "dilation": {"dilation": (1, 2)}, "all": {"stride": 2, "padding": 1, "dilation": 2},
    }  # fmt: skip
    cases = [
        Case(f"conv2d_{n}", lambda T, x, w, b, o=o: T.F.conv2d(x, w, b, **o), (x, w, b))
        for n, o in options.items()
    ]
    transposed = {"plain": {}, "stride": {"stride": 2, "padding": 1, "output_padding": 1},
                  "dilation": {"dilation": 2, "padding": 3}}  # fmt: skip
    cases += [
        Case(f"conv_transpose2d_{n}", lambda T, x, w, o=o: T.F.conv_transpose2d(x, w, **o),
             (x, spread(4, 2, 3, 3)))
        for n, o in transposed.items()
    ]  # fmt: skip
    return [
        *cases,
        Case("conv2d_groups", lambda T, x, w: T.F.conv2d(x, w, groups=2), (x, half)),
        Case("conv2d_groups_stride", lambda T, x, w: T.F.conv2d(x, w, None, 2, 1, 1, 2),
             (x, half)),
        Case("conv2d_channels", lambda T, x, w: T.F.conv2d(x, w, groups=4),
             (x, spread(8, 1, 2, 2))),
        Case("conv2d_one", lambda T, x, w: T.F.conv2d(x[0], w), (x, w)),
        Case("conv1d", lambda T, x, w: T.F.conv1d(x, w, None, 2, 1), (line, kernel)),
        Case("conv1d_same", lambda T, x, w: T.F.conv1d(x, w, padding="same", dilation=2),
             (line, spread(2, 3, 2))),
        Case("conv_transpose2d_groups",
             lambda T, x, w: T.F.conv_transpose2d(x, w, stride=2, groups=2),
             (x, spread(4, 3, 2, 2))),
        Case("conv_transpose1d", lambda T, x, w: T.F.conv_transpose1d(x, w, stride=3),
             (line, spread(3, 2, 2))),
    ]  # fmt: skip


def pooling() -> list[Case]:
    x = spread(1, 2, 6, 7)
    ties = np.array([1.0, 1, 0, 1, 2, 2, 2, nan, nan, 0, -inf, -0.0, 0.0, 5, 5, 1]).reshape(1, 4, 4)
    names = ("max", "avg")
    options: dict[str, dict[str, Any]] = {
        "2": {"kernel_size": 2}, "3_2_1": {"kernel_size": 3, "stride": 2, "padding": 1},
        "ceil": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        "ceil_padding": {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "ceil_mode": True},
        "gaps": {"kernel_size": 2, "stride": 3}, "overlap": {"kernel_size": 3, "stride": 1},
    }  # fmt: skip
    cases = [
        Case(f"{n}_pool2d_{key}", lambda T, x, n=n, o=o: getattr(T.F, f"{n}_pool2d")(x, **o), (x,))
        for n, (key, o) in itertools.product(names, options.items())
    ]
    sizes = {"1": 1, "3": 3, "2_4": (2, 4), "None_2": (None, 2), "9": 9}
    cases += [
        Case(f"adaptive_avg_pool2d_{key}", lambda T, x, s=s: T.F.adaptive_avg_pool2d(x, s), (x,))
        for key, s in sizes.items()
    ]
    return [
        *cases,
        Case("max_pool2d_ties", lambda T, x: T.F.max_pool2d(x, 2, 1, return_indices=True), (ties,)),
        Case("max_pool2d_indices",
             lambda T, x: T.F.max_pool2d(x, 3, 2, 1, 1, True, return_indices=True), (x,)),
        Case("max_pool2d_dilation", lambda T, x: T.F.max_pool2d(x, 2, 2, 0, 3), (x,)),
        Case("max_pool1d", lambda T, x: T.F.max_pool1d(x[0], 3, padding=1), (x,)),
        Case("avg_pool1d", lambda T, x: T.F.avg_pool1d(x[0], 3, padding=1), (x,)),
        Case("avg_pool2d_inside",
             lambda T, x: T.F.avg_pool2d(x, 3, 2, 1, True, False), (x,)),
        Case("avg_pool2d_divisor", lambda T, x: T.F.avg_pool2d(x, 2, divisor_override=3), (x,)),
        Case("adaptive_avg_pool1d", lambda T, x: T.F.adaptive_avg_pool1d(x[0], 3), (x,)),
    ]  # fmt: skip


def _tracked(T: Namespace, x: Any, training: bool, momentum: float = 0.1) -> Any:
    mean, variance = T.zeros(3, dtype=x.dtype), T.ones(3, dtype=x.dtype)
    return (T.F.batch_norm(x, mean, variance, None, None, training, momentum), mean, variance)


def normalisation() -> list[Case]:
    x, w, b = spread(4, 3, 2, 3), spread(3), spread(3)
    mean, variance = spread(3), spread(3) ** 2
    return [
        Case("batch_norm", lambda T, x, w, b: T.F.batch_norm(x, None, None, w, b, True), (x, w, b)),
        Case("batch_norm_2d", lambda T, x: T.F.batch_norm(x[:, :, 0, 0], None, None, training=True),
             (x,)),
        Case("batch_norm_eval",
             lambda T, x, m, v, w, b: T.F.batch_norm(x, m.detach(), v.detach(), w, b),
             (x, mean, variance, w, b)),
        Case("batch_norm_tracked", lambda T, x: _tracked(T, x, True, 0.3), (x,)),
        Case("batch_norm_untracked", lambda T, x: _tracked(T, x, False), (x,)),
    ]  # fmt: skip


WINDOW_GROUPS: dict[str, list[Case]] = {
    group.__name__: group() for group in (convolutions, pooling, normalisation)
}
