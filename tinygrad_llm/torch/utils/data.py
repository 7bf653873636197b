"""`torch.utils.data`: datasets, and the loader whose seeded shuffles are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_llm import data
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import EngineTensor, Tensor


class Dataset:
    """The base of datasets: define `__len__` and `__getitem__`."""

    def __class_getitem__(cls, _: Any) -> Any:
        return cls  # `Dataset[tuple[Tensor, Tensor]]`

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")


class TensorDataset(Dataset):
    """Rows of Tensors that have equally many."""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Any:
        return tuple(tensor[index] for tensor in self.tensors)


class Subset(Dataset):
    """Some items of a dataset, by their indices."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """The items in random order, in parts of these lengths, or of these fractions of the whole, which sum to 1.

    Raises: ConfigError if the lengths do not sum to the number of items
    """
    total = len(dataset)
    sizes = [int(one) for one in lengths]
    if math.isclose(sum(lengths), 1) and total != 1:
        sizes = [math.floor(total * one) for one in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != total:
        raise ConfigError(f"random_split: the lengths must sum to the {total} items, or to 1; got {list(lengths)}")
    source = default_generator() if generator is None else generator
    order = source.randperm(total).tolist()
    ends = np.cumsum(sizes).tolist()
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


class SequentialSampler:
    """The indices 0, 1, 2, ... of a dataset's items."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


class RandomSampler(SequentialSampler):
    """The indices of a dataset's items in random order."""

    def __init__(self, data_source: Any, generator: Any = None) -> None:
        super().__init__(data_source)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        source = self.generator or Generator(default_generator().seed_word())
        return iter(source.randperm(len(self)).tolist())


class DataLoader(data.DataLoader):
    """Batches of a dataset, stacked into Tensors; shuffled as PyTorch shuffles with the same seed.

    A `sampler`, any iterable of indices with a length, gives the order in place of `shuffle`. `pin_memory` and the
    options of workers may be given and change nothing: items are read in this process.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
        sampler: Any = None,
        *,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: Any = None,
        persistent_workers: bool = False,
        prefetch_factor: int | None = None,
        worker_init_fn: Any = None,
    ) -> None:
        super().__init__(dataset, batch_size, bool(shuffle), drop_last, collate_fn or default_collate, generator)
        self.sampler, self.num_workers, self.pin_memory = sampler, num_workers, pin_memory
        if sampler is not None and shuffle:
            raise ConfigError("DataLoader: sampler gives the order, so shuffle must be False; got both")

    def __len__(self) -> int:
        items = len(self.dataset if self.sampler is None else self.sampler)
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    def _draw_order(self, source: Generator) -> Any:
        if self.sampler is None:
            return super()._draw_order(source)
        source.seed_word()
        return [int(index) for index in self.sampler]


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples as a batch: Tensors and numbers stacked, tuples, lists and dicts field by field, strings in a list."""
    first = samples[0]
    if isinstance(first, tuple | list):
        return [default_collate(field) for field in zip(*samples, strict=True)]
    if isinstance(first, dict):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, EngineTensor):
        samples = [sample.data for sample in samples]
    if isinstance(first, float):
        return Tensor(np.array(samples, np.float64))  # as PyTorch
    batch = data.collate(samples)
    return Tensor(batch) if isinstance(batch, np.ndarray) else batch


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.utils.data", name, globals()))
