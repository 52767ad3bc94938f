"""What can be done wrong with convolutions and pooling; the words are torch's."""

from __future__ import annotations

import gradc
import gradc.nn.functional as F
from gradc.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer import ops

X, W = gradc.ones(2, 4, 8, 8), gradc.ones(6, 4, 3, 3)
LINE, FILTER = gradc.ones(2, 4, 8), gradc.ones(6, 4, 3)
STEPS = {"stride": (1,), "dilation": (1,)}

CONV2D = [
    (lambda: F.conv2d(X[0, 0], W), ShapeError, r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
    (lambda: F.conv2d(X, FILTER), ShapeError, "expected a weight of 4 dimensions"),
    (lambda: F.conv2d(X[:, :3], W), ShapeError, "to have 4 channels, but got 3 channels instead"),
    (lambda: F.conv2d(X, gradc.ones(6, 4, 9, 3)), ShapeError,
     r"padded input size per channel: \(8 x 8\). Kernel size: \(9 x 3\)"),
    (lambda: F.conv2d(X, gradc.ones(3, 2, 3, 3), groups=2), ShapeError, "divisible by 2 at dimension 0"),
    (lambda: F.conv2d(X, gradc.ones(1, 2, 3, 3), groups=2), ShapeError, "at least 2 at dimension 0"),
    (lambda: F.conv2d(X, W, gradc.ones(4)), ShapeError, "bias to be 1-dimensional with 6 elements"),
    (lambda: F.conv2d(X, W.double()), DTypeError, "should be the same"),
    (lambda: F.conv2d(X, W, stride=0), ArgumentError, "non-positive stride"),
    (lambda: F.conv2d(X, W, dilation=0), ArgumentError, "non-positive dilation"),
    (lambda: F.conv2d(X, W, groups=0), ArgumentError, "non-positive groups"),
    (lambda: F.conv2d(X, W, padding=-1), ArgumentError, "negative padding"),
    (lambda: F.conv2d(X, W, padding="full"), ArgumentError, "Invalid padding string: 'full'"),
    (lambda: F.conv2d(X, W, padding="same", stride=2), ArgumentError, "not supported for strided"),
    (lambda: F.conv2d(X, W, stride=(1, 2, 3)), ArgumentError, "a list of 2 values"),
]  # fmt: skip
POOL = [
    (lambda: F.max_pool2d(LINE[0], 2), ShapeError, r"Expected 3D or 4D \(batch mode\) tensor"),
    (lambda: F.max_pool2d(X, 9), ShapeError, r"Given input size: \(4x8x8\). Calculated output size: \(4x0x0\)"),
    (lambda: F.max_pool2d(X, 2, padding=2), ArgumentError, "at most half of effective kernel size"),
    (lambda: F.max_pool2d(X, 0), ArgumentError, "kernel size should be greater than zero"),
    (lambda: F.max_pool2d(X, 2, stride=0), ArgumentError, "stride should be greater than zero"),
    (lambda: F.max_pool2d(X, 2, dilation=0), ArgumentError, "dilation should be greater than zero"),
]  # fmt: skip
STATISTICS = [
    (lambda: F.batch_norm(X, gradc.zeros(3), gradc.ones(4)), ShapeError, "running_mean should contain 4 elements not 3"),
    (lambda: F.batch_norm(X[:1, :, :1, :1], None, None, training=True), ShapeError, "more than 1 value per channel"),
    (lambda: F.batch_norm(X, None, None), ArgumentError, "needed outside training"),
]  # fmt: skip

WINDOW = {"axes": (0,), "size": (2,), **STEPS}
MISTAKES = {
    "window": [(lambda: ops.window(FILTER, **{**WINDOW, "size": (7,)}), ShapeError, "does not fit an axis")],
    "window of a plane": [(lambda: ops.window(FILTER, **{**WINDOW, "axes": (3,)}), ArgumentError, "do not fit")],
    "conv": [
        (lambda: ops.conv(LINE, FILTER.double(), **STEPS, groups=1), DTypeError, "dtypes differ"),
        (lambda: ops.conv(LINE, FILTER, **STEPS, groups=2), ShapeError, "channels in 2 groups"),
        (lambda: ops.conv(LINE, FILTER, stride=(0,), dilation=(1,), groups=1), ArgumentError, "stride"),
    ],
    "conv1d": [
        (lambda: F.conv1d(X, FILTER), ShapeError, r"Expected 2D \(unbatched\) or 3D \(batched\) input to conv1d"),
    ],
    "conv2d": CONV2D,
    "conv2d of one point": [(lambda: F.conv2d(X, gradc.ones(6, 5, 1, 1)), ShapeError, "5 channels")],
    "conv2d by channel": [(lambda: F.conv2d(X, gradc.ones(6, 1, 3, 3), groups=3), ShapeError, "3 channels")],
    "conv3d": [(lambda: F.conv3d(LINE[0], FILTER), ShapeError, "input to conv3d")],
    "conv_transpose": [
        (lambda: F.conv_transpose2d(X, gradc.ones(3, 4, 3, 3)), ShapeError, "to have 3 channels"),
        (lambda: F.conv_transpose2d(X, gradc.ones(4, 6, 3, 3), output_padding=1), ArgumentError, "output padding"),
        (lambda: F.conv_transpose2d(X, gradc.ones(4, 6, 3, 3), gradc.ones(4)), ShapeError, "6 elements"),
    ],
    "max_pool": POOL,
    "max_pool with indices": [(lambda: F.max_pool1d(LINE[0, 0], 2), ShapeError, "Expected 2D or 3D")],
    "avg_pool": [
        (lambda: F.avg_pool2d(X.int(), 2), DTypeError, "not defined for int32"),
        (lambda: F.avg_pool2d(X, 2, divisor_override=0), ArgumentError, "divisor must be not zero"),
        (lambda: F.avg_pool2d(X, 9), ShapeError, "Output size is too small"),
    ],
    "adaptive_avg_pool": [
        (lambda: F.adaptive_avg_pool2d(X[0, 0], 2), ShapeError, r"Expected 3D or 4D tensor, but got \[8, 8\]"),
        (lambda: F.adaptive_avg_pool2d(X, 0), ArgumentError, "must be positive"),
    ],
    "batch_norm": STATISTICS,
}  # fmt: skip
