"""Convolutions, pooling and what they are made of."""

from __future__ import annotations

import gradc.nn.functional as F
from gradc.tracer import ops

from .spec import FLOATS, NUMBERS, OpSpec, given
from .structured import SUMS

LINE = {"axes": (1,), "size": (3,), "stride": (2,), "dilation": (2,)}
PLANE = {"axes": (0, 2), "size": (2, 2), "stride": (1, 2), "dilation": (1, 1)}
# Why a shape class is not among a spec's samples.
LINES = {"0-d": "windows lie along axes"}
WIDE = {**LINES, "size 1": "the windows are wider"}
FULL = {**LINES, "empty": "see `conv`, `conv2d of one point` and `max_pool of nothing`"}
BOTH = {**WIDE, **FULL}


def several(*functions):
    return lambda *xs: tuple(fn(*xs) for fn in functions)


SPECS = [
    OpSpec("window", lambda x: ops.window(x, **LINE), given(lambda d: [d(2, 9)], lambda d: [d(1, 5)], lambda d: [d(3, 8)], lambda d: [d(0, 9)]),
           ("window",), NUMBERS, exact=True, lacks=WIDE),
    OpSpec("window of a plane", lambda x: ops.window(x, **PLANE), given(lambda d: [d(3, 2, 5)], lambda d: [d(3, 0, 4)]),
           ("window",), NUMBERS, exact=True, lacks=WIDE),
    OpSpec("conv", lambda x, w: ops.conv(x, w, stride=(1, 2), dilation=(2, 1), groups=2),
           given(lambda d: [d(2, 4, 5, 7), d(6, 2, 2, 3)], lambda d: [d(0, 4, 3, 3), d(2, 2, 1, 1)]),
           ("conv",), SUMS, whole=True, slack=8.0, lacks=WIDE),  # order of summation
    OpSpec("conv1d", several(F.conv1d, lambda x, w, b: F.conv1d(x, w, b, padding="same"),
                             lambda x, w, b: F.conv1d(x[0], w, b, stride=2, padding=1)),
           given(lambda d: [d(2, 3, 19), d(4, 3, 3), d(4)], lambda d: [d(1, 1, 3), d(1, 1, 3), d(1)]),
           ("conv",), whole=True, slack=8.0, lacks=FULL),
    # Lines longer than a tile, of odd lengths, features that a tile does not divide.
    OpSpec("conv2d", several(F.conv2d, lambda x, w, b: F.conv2d(x, w, b, 2, 1), lambda x, w, b: F.conv2d(x, w, b, dilation=2)),
           given(lambda d: [d(2, 3, 6, 7), d(5, 3, 3, 2), d(5)], lambda d: [d(1, 2, 5, 37), d(9, 2, 2, 3), d(9)]),
           ("conv",), whole=True, slack=16.0, lacks=BOTH),
    OpSpec("conv2d of one point", F.conv2d, given(lambda d: [d(0, 3, 5, 5), d(4, 3, 1, 1), d(4)], lambda d: [d(1, 1, 1, 1), d(1, 1, 1, 1), d(1)],
                                                  lambda d: [d(2, 3, 5, 5), d(4, 3, 1, 1), d(4)]),
           ("conv",), whole=True, slack=8.0, lacks=LINES),
    OpSpec("conv2d by channel", lambda x, w: F.conv2d(x, w, padding="same", groups=3),
           given(lambda d: [d(2, 3, 4, 6), d(6, 1, 3, 3)]), ("conv",), whole=True, slack=8.0, lacks=BOTH),
    OpSpec("conv3d", F.conv3d, given(lambda d: [d(1, 2, 3, 4, 5), d(3, 2, 2, 2, 2)]), ("conv",), whole=True, slack=8.0, lacks=BOTH),
    OpSpec("conv_transpose", several(F.conv_transpose2d, lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1, 1, 2)),
           given(lambda d: [d(2, 4, 3, 3), d(4, 3, 3, 2)]), ("conv",), whole=True, slack=8.0, lacks=BOTH),
    OpSpec("max_pool", several(lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
                               lambda x: F.max_pool1d(x[0], 5, 1), lambda x: F.max_pool2d(x, (5, 4), 1)),
           given(lambda d: [d(2, 3, 7, 8)], lambda d: [d(1, 1, 5, 6)]), ("window_max",), NUMBERS, exact=True, lacks=BOTH),
    OpSpec("max_pool of nothing", lambda x: F.max_pool2d(x, 1), given(lambda d: [d(0, 3, 4, 4)], lambda d: [d(1, 1, 1, 1)]), ("window_max",),
           FLOATS, exact=True, lacks=LINES),
    OpSpec("max_pool with indices", lambda x: F.max_pool2d(x, (2, 3), (2, 1), (1, 0), (1, 2), True, return_indices=True),
           given(lambda d: [d(2, 2, 6, 7)]), ("window_max",), NUMBERS, exact=True, lacks=BOTH, jax_no_gradient="it has none for this"),
    OpSpec("avg_pool", several(lambda x: F.avg_pool2d(x, 2), lambda x: F.avg_pool1d(x[0], 3, 1, 1),
                               lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
           given(lambda d: [d(2, 3, 6, 7)], lambda d: [d(1, 1, 3, 3)]), slack=8.0, lacks=BOTH),
    OpSpec("adaptive_avg_pool", several(lambda x: F.adaptive_avg_pool2d(x, 3), lambda x: F.adaptive_avg_pool2d(x, (1, None)),
                                        lambda x: F.adaptive_avg_pool1d(x[0], 4)),
           given(lambda d: [d(2, 3, 6, 7)]), slack=8.0, lacks=BOTH),
    OpSpec("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
           given(lambda d: [d(3, 4, 2, 3), d(4), d(4)], lambda d: [d(5, 4), d(4), d(4)]), slack=64.0, lacks=BOTH),  # x - mean
]  # fmt: skip
