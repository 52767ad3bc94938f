"""Batch normalisation: running statistics are buffers, written while training.

    nn.BatchNorm2d(16)(x)            x [N, 16, H, W]
"""

from __future__ import annotations

from gradc.nn import functional as F
from gradc.nn.module import Module
from gradc.nn.parameter import Parameter
from gradc.tracer.context import no_grad
from gradc.tracer.creation import ones, tensor, zeros
from gradc.tracer.errors import ShapeError
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, int64
from gradc.tracer.tensor import Tensor


class _BatchNorm(Module):
    """Parameters weight and bias [C]; buffers running_mean, running_var, num_batches_tracked."""

    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        weight = Parameter(ones(num_features, dtype=dtype)) if affine else None
        self.register_parameter("weight", weight)
        self.register_parameter(
            "bias", Parameter(zeros(num_features, dtype=dtype)) if affine else None
        )
        tracked = track_running_stats
        mean = zeros(num_features, dtype=dtype) if tracked else None
        variance = ones(num_features, dtype=dtype) if tracked else None
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", variance)
        count = tensor(0, dtype=int64) if tracked else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batch seen."""
        if self.track_running_stats:
            with no_grad():
                self.running_mean.fill_(0)
                self.running_var.fill_(1)
                self.num_batches_tracked.fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self.ranks:
            wanted = " or ".join(f"{r}D" for r in self.ranks)
            raise ShapeError(
                f"expected {wanted} input (got {input.ndim}D input)",
                loc=user_location(),
                operands=[f"input  {input.type}"],
            )
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked.add_(1)
                if self.momentum is None:  # the plain average over all batches
                    momentum = 1.0 / self.num_batches_tracked.to(input.dtype)
        batch_statistics = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            batch_statistics, momentum, self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """`F.batch_norm` of [N, C] or [N, C, L], with running statistics.

    Raises:
        ShapeError: when called, another rank, or other than `num_features` channels.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`F.batch_norm` of [N, C, H, W], with running statistics; errors as `BatchNorm1d`."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """`F.batch_norm` of [N, C, D, H, W], with running statistics; errors as `BatchNorm1d`."""

    ranks = (5,)
