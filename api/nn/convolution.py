"""Convolution layers: weight [F, C/groups, kernel], bias [F], initialised as torch does.

    nn.Conv2d(3, 16, 3, padding=1)(x)            x [N, 3, H, W] -> [N, 16, H, W]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradc.nn import functional as F
from gradc.nn import init
from gradc.nn.module import Module
from gradc.nn.parameter import Parameter
from gradc.tracer.creation import empty
from gradc.tracer.errors import ArgumentError
from gradc.tracer.functional.window import read_sizes
from gradc.tracer.graph.dims import known, numel
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType
from gradc.tracer.tensor import Tensor

Sizes = int | Sequence[int]


class _Convolution(Module):
    """What all convolutions share: parameters, sizes and how they print."""

    rank: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        _require_groups(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = read_sizes("kernel_size", kernel_size, self.rank)
        self.stride = read_sizes("stride", stride, self.rank)
        self.dilation = read_sizes("dilation", dilation, self.rank)
        self.padding = padding if isinstance(padding, str) else self._sizes("padding", padding)
        if isinstance(self.padding, str):
            _require_padding(self.padding, self.stride)
        ends = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight = Parameter(empty(*shape, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _sizes(self, name: str, value: Sizes) -> tuple[int, ...]:
        return read_sizes(name, value, self.rank)

    def reset_parameters(self) -> None:
        """Draw the initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = known(numel(self.weight.shape[1:]))
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        once = (1,) * self.rank
        parts += [f"padding={self.padding}"] * (self.padding != (0,) * self.rank)
        parts += [f"dilation={self.dilation}"] * (self.dilation != once)
        parts += [f"groups={self.groups}"] * (self.groups != 1)
        return ", ".join([*parts, *(["bias=False"] if self.bias is None else [])])


def _require_groups(in_channels: int, out_channels: int, groups: int) -> None:
    if groups <= 0:
        raise ArgumentError("groups must be a positive integer", loc=user_location())
    for what, n in (("in_channels", in_channels), ("out_channels", out_channels)):
        if n % groups:
            raise ArgumentError(f"{what} must be divisible by groups", loc=user_location())


def _require_padding(padding: str, stride: tuple[int, ...]) -> None:
    if padding not in ("valid", "same"):
        raise ArgumentError(
            f"Invalid padding string {padding!r}, should be one of 'valid', 'same'",
            loc=user_location(),
        )
    if padding == "same" and any(s != 1 for s in stride):
        raise ArgumentError(
            "padding='same' is not supported for strided convolutions", loc=user_location()
        )


class _Forward(_Convolution):
    function: Callable[..., Tensor]

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv1d(_Forward):
    """`F.conv1d` with weight [F, C/groups, K] and bias [F]; "same" and "valid" padding too.

    Raises:
        ArgumentError: channels that groups do not divide, or a padding that is none.
        ShapeError: when called, the input does not fit.
    """

    rank = 1
    function = staticmethod(F.conv1d)


class Conv2d(_Forward):
    """`F.conv2d` with weight [F, C/groups, KH, KW] and bias [F]; see `Conv1d`."""

    rank = 2
    function = staticmethod(F.conv2d)


class Conv3d(_Forward):
    """`F.conv3d` with weight [F, C/groups, KD, KH, KW] and bias [F]; see `Conv1d`."""

    rank = 3
    function = staticmethod(F.conv3d)


class _Transposed(_Convolution):
    transposed = True
    function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype
        )
        self.output_padding = self._sizes("output_padding", output_padding)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding,
            self.groups, self.dilation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        plain = super().extra_repr()
        extra: Any = self.output_padding
        return plain if not any(extra) else f"{plain}, output_padding={extra}"


class ConvTranspose1d(_Transposed):
    """`F.conv_transpose1d` with weight [C, F/groups, K] and bias [F]; errors as `Conv1d`."""

    rank = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """`F.conv_transpose2d` with weight [C, F/groups, KH, KW] and bias [F]; see `Conv1d`."""

    rank = 2
    function = staticmethod(F.conv_transpose2d)
