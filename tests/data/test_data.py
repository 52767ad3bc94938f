"""Data sets, loaders and splits: what comes in which order, as what."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split
from gradc.errors import ArgumentError


class Squares(Dataset):
    """Items of mixed kinds, one at a time."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return {"x": gradc.full((2,), float(index)), "y": index * index, "name": f"n{index}"}


def rows(count=10):
    return TensorDataset(np.arange(2.0 * count).reshape(count, 2), np.arange(count))


def order(loader):
    return [int(i) for _, batch in loader for i in batch]


def test_items_of_a_tensor_dataset_are_rows():
    x, y = rows()[3]
    assert x.tolist() == [6.0, 7.0] and y.item() == 3
    assert x.dtype is gradc.float64 and y.dtype is gradc.int64


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 11])
def test_the_length_is_the_number_of_batches(batch_size, drop_last):
    loader = DataLoader(rows(), batch_size=batch_size, drop_last=drop_last)
    batches = list(loader)
    assert len(loader) == len(batches)
    assert order(loader) == list(range(10 - (10 % batch_size if drop_last else 0)))


def test_the_same_seed_gives_the_same_orders_and_no_two_passes_are_alike():
    def passes(seed):
        gradc.manual_seed(seed)
        loader = DataLoader(rows(), batch_size=3, shuffle=True)
        return [order(loader) for _ in range(3)]

    first = passes(1)
    assert first == passes(1) != passes(2)
    assert all(sorted(p) == list(range(10)) for p in first)
    assert len({tuple(p) for p in first}) == 3


def test_a_generator_of_its_own_leaves_the_global_one_alone():
    gradc.manual_seed(5)
    expected = gradc.rand(2).tolist()
    gradc.manual_seed(5)
    loader = DataLoader(rows(), shuffle=True, generator=gradc.Generator(7))
    again = DataLoader(rows(), shuffle=True, generator=gradc.Generator(7))
    assert order(loader) == order(again)
    assert gradc.rand(2).tolist() == expected


def test_batches_do_not_share_memory_with_the_data_set():
    data = np.zeros((4, 2))
    (batch,) = next(iter(DataLoader(TensorDataset(data), batch_size=4)))
    batch.add_(1.0)
    assert (data == 0).all()


def test_items_are_collated_by_kind():
    batch = next(iter(DataLoader(Squares(), batch_size=3)))
    assert batch["x"].tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    assert batch["y"].tolist() == [0, 1, 4] and batch["y"].dtype is gradc.int64
    assert batch["name"] == ["n0", "n1", "n2"]


def test_collating_numbers_arrays_and_nested_containers():
    assert default_collate([1.5, 2.5]).dtype is gradc.float32
    assert default_collate([np.float64(1), np.float64(2)]).dtype is gradc.float64
    assert default_collate([True, False]).dtype is gradc.bool
    pair = default_collate([(np.ones(2), [1, 2]), (np.zeros(2), [3, 4])])
    assert pair[0].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert [t.tolist() for t in pair[1]] == [[1, 3], [2, 4]]


def test_a_collate_function_gets_the_list_of_items():
    loader = DataLoader(range(5), batch_size=2, collate_fn=list)
    assert list(loader) == [[0, 1], [2, 3], [4]]


def test_a_batch_feeds_a_compiled_function_as_it_is():
    @gradc.compile(backend="numpy")
    def total(x, y):
        return x.sum() + y.sum()

    loader = DataLoader(rows(), batch_size=5)
    assert [total(x, y).item() for x, y in loader] == [55.0, 180.0]
    assert total.recompiles() == []


def test_splits_are_disjoint_and_whole():
    parts = random_split(rows(), [7, 3], generator=gradc.Generator(0))
    found = [int(part[i][1]) for part in parts for i in range(len(part))]
    assert sorted(found) == list(range(10)) and found != sorted(found)
    assert [len(p) for p in random_split(rows(), [0.5, 0.25, 0.25])] == [6, 2, 2]
    assert Subset(rows(), [8, 1])[0][1].item() == 8


def test_mistakes_are_errors():
    with pytest.raises(ArgumentError, match="Size mismatch"):
        TensorDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ArgumentError, match="batch_size"):
        DataLoader(rows(), batch_size=0)
    with pytest.raises(ArgumentError, match="does not equal"):
        random_split(rows(), [3, 3])
