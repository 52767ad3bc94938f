"""How the gradient of a convolution's kernel runs: few elements, each a sum over all images.

It is itself a convolution (the batch as channels, the windows' places as the window). Lanes are
features, so that one element of the image meets a whole vector, whatever the sizes of images; the
tile is the kernel's own window:

    acc[ky][kx][feature] += panel[y, x][feature] * image[y + ky, x + kx]      for all (y, x)

The panel is one image's part of the second operand with features innermost. Sums over images are
made in parts, which a second function adds in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gradc.codegen.plan.access import contracted_sizes
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn
from gradc.tracer.graph.types import DType

VECTOR_BYTES = (64, 32)  # lanes of one vector, the wider where it wastes no more
TILE = 25  # vectors held in registers
LEAST_TILE = 6  # fewer do not hide how long an addition takes
LEAST_FEATURES = 4
LEAST_SUMMED = 512
PANEL_BYTES = 512 * 1024
MOST_PARTS = 16


@dataclass(frozen=True, slots=True)
class KernelGradient:
    """Attributes:
    batch, groups, features: sizes of the result's first axes, features within one group.
    windows: its other axes; the last two are tiled by `rows` and `columns`.
    channels, within: what is summed over.
    parts: how many sums over some of the channels are made.
    """

    batch: int
    groups: int
    features: int
    windows: tuple[int, ...]
    channels: int
    within: tuple[int, ...]
    lanes: int
    rows: int
    columns: int
    parts: int
    dtype: DType

    @property
    def scratch_size(self) -> int:
        """Elements of the panel."""
        return prod(self.within) * self.lanes

    @property
    def vectors(self) -> int:
        """How many vectors hold the features of a group."""
        return -(-self.features // self.lanes)

    @property
    def part_shape(self) -> tuple[int, ...]:
        """What one part holds."""
        return (self.batch, self.groups, self.vectors, *self.windows, self.lanes)


def choose_kernel_gradient(eqn: Eqn) -> KernelGradient | None:
    """How a convolution runs with features as lanes; None where that does not fit it."""
    batch, features, *windows = known_shape(eqn.output.type.shape)
    channels, *within = contracted_sizes(eqn)
    groups, dtype = eqn.params.groups, eqn.output.type.dtype
    features //= groups
    if not dtype.is_float or features < LEAST_FEATURES or prod(within) * channels < LEAST_SUMMED:
        return None
    lanes = _lanes(features, dtype)
    columns = _part(windows[-1], TILE)
    rows = _part(windows[-2], TILE // columns) if len(windows) > 1 else 1
    if rows * columns < LEAST_TILE or prod(within) * lanes * dtype.itemsize > PANEL_BYTES:
        return None
    return KernelGradient(
        batch, groups, features, tuple(windows), channels, tuple(within), lanes, rows, columns,
        min(channels, MOST_PARTS), dtype,
    )  # fmt: skip


def _lanes(features: int, dtype: DType) -> int:
    widths = [b // dtype.itemsize for b in VECTOR_BYTES]
    return min(widths, key=lambda n: -(-features // n) * n)


def _part(size: int, most: int) -> int:
    """An axis in equal parts of at most `most`."""
    return -(-size // -(-size // most))
