"""`torch.utils.data`: datasets, and the loader whose seeded shuffles are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm import data
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


class DataLoader(data.DataLoader):
    """Batches of a dataset, stacked into Tensors; shuffled as PyTorch shuffles with the same seed.

    `pin_memory` and the options of workers may be given and change nothing: items are read in this process.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
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
        self.num_workers, self.pin_memory = num_workers, pin_memory


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
