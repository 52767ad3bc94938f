"""`gradc.data`: data sets, and batches of them.

    for x, y in DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradc.tracer.context import no_grad
from gradc.tracer.creation import as_tensor, tensor
from gradc.tracer.errors import ArgumentError
from gradc.tracer.functional import stack
from gradc.tracer.graph.source import user_location
from gradc.tracer.random import Generator, randperm
from gradc.tracer.tensor import Tensor


class Dataset:
    """Anything with a length and items by number."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class TensorDataset(Dataset):
    """Tensors (or arrays) of one first size; an item is a tuple of their rows.

    Raises:
        ArgumentError: the first sizes differ.
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(as_tensor(t) for t in tensors)
        if len({t.shape[0] for t in self.tensors}) > 1:
            raise ArgumentError(
                "Size mismatch between tensors",
                loc=user_location(),
                operands=[str(t.type) for t in self.tensors],
            )

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]  # type: ignore[return-value]


class Subset(Dataset):
    """Some items of a data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = list(indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Disjoint random parts of these sizes (or fractions that add up to 1).

    Raises:
        ArgumentError: the sizes do not add up.
    """
    total = len(dataset)
    sizes = [int(n) for n in lengths]
    if sum(lengths) <= 1 and any(isinstance(n, float) for n in lengths):
        sizes = [int(total * n) for n in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != total:
        raise ArgumentError(
            "Sum of input lengths does not equal the length of the input dataset!",
            loc=user_location(),
        )
    order = randperm(total, generator=generator).tolist()
    starts = np.cumsum([0, *sizes]).tolist()
    return [Subset(dataset, order[a:b]) for a, b in pairwise(starts)]


def default_collate(items: Sequence[Any]) -> Any:
    """Items as one batch: tensors stacked, numbers as a tensor, containers item by item."""
    first = items[0]
    if isinstance(first, Tensor):
        return stack(list(items))
    if isinstance(first, np.ndarray):
        return as_tensor(np.stack(items))
    if isinstance(first, (int, float, np.generic)):
        return tensor(np.asarray(items) if isinstance(first, np.generic) else list(items))
    if isinstance(first, dict):
        return {key: default_collate([item[key] for item in items]) for key in first}
    if isinstance(first, (list, tuple)):
        return tuple(default_collate(list(parts)) for parts in zip(*items, strict=True))
    return list(items)


class DataLoader:
    """Batches of a data set, in order or shuffled anew for every pass.

    Args:
        generator: what shuffles; the global generator by default.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of items.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: Generator | None = None,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}",
                loc=user_location(),
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator
        self.collate_fn = collate_fn

    def __len__(self) -> int:
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            with no_grad():
                order = randperm(len(order), generator=self.generator).numpy()
        for i in range(len(self)):
            yield self._batch(order[i * self.batch_size : (i + 1) * self.batch_size])

    def _batch(self, places: Any) -> Any:
        if isinstance(self.dataset, TensorDataset) and self.collate_fn is None:
            # One gather per tensor instead of one item after the other.
            with no_grad():
                return tuple(as_tensor(t.detach().numpy()[places]) for t in self.dataset.tensors)
        items = [self.dataset[int(i)] for i in places]
        return (self.collate_fn or default_collate)(items)


__all__ = [
    "DataLoader", "Dataset", "Subset", "TensorDataset", "default_collate", "random_split",
]  # fmt: skip
