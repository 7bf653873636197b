"""DataLoader: batches of a dataset, shuffled or in order, with the random numbers of PyTorch's DataLoader."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.loader_state import expect_state_of
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.random import Generator, default_generator


class Dataset(Protocol):
    """An object with a length and indexed items."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass
class _Epoch:
    start: dict[str, Any]  # the generator's state before the epoch drew its order
    order: NDArray[np.int64] | range
    batches: int = 0  # yielded so far


class DataLoader:
    """Batches of `batch_size` items of a dataset, stacked by `collate_fn`; each `iter()` is one epoch.

    Random numbers are drawn as by PyTorch's loader, from `generator` or the default generator, so that a seed gives
    PyTorch's shuffles: one 63-bit integer per epoch, shuffled or not (PyTorch seeds its workers with it); then, to
    shuffle, a permutation, from `generator` itself if one was given, else from a new generator that one more integer
    seeds. With a given generator PyTorch draws a second permutation at the end of the items and discards it; this
    loader draws it too, so that the next epoch is the same.

    `state()` is the position inside an epoch; after `set_state()` the next `iter()` continues with the next batch,
    without reading the items before it.

    Raises: ConfigError for a setting outside its range; what `collate_fn` raises
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: Generator | None = None,
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ConfigError(
                f"DataLoader: dataset needs __len__ and __getitem__; got {type(dataset).__name__}: "
                "put its items into a list"
            )
        expect_count("DataLoader", "batch_size", batch_size)
        if generator is not None and not isinstance(generator, Generator):
            raise ConfigError(
                f"DataLoader: generator must be a tinygrad_llm.random.Generator; got {type(generator).__name__}"
            )
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate if collate_fn is None else collate_fn
        self.generator = generator
        self._epoch: _Epoch | None = None  # the current one
        self._resumed: _Epoch | None = None  # the one that the next iter() continues

    def __len__(self) -> int:
        """Batches per epoch."""
        items = len(self.dataset)
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        epoch = self._resumed
        if epoch is None:
            source = self._source()
            start = source.state()
            epoch = _Epoch(start, self._draw_order(source))
        self._epoch, self._resumed = epoch, None
        return self._batches(epoch)

    def _batches(self, epoch: _Epoch) -> Iterator[Any]:
        whole = len(epoch.order) // self.batch_size
        count = len(self)
        while epoch.batches < count:
            first = epoch.batches * self.batch_size
            places = epoch.order[first : first + self.batch_size]
            batch = self.collate_fn([self.dataset[int(place)] for place in places])
            epoch.batches += 1
            if epoch.batches > whole:  # a short last batch: PyTorch asks for one more item before it yields the batch
                self._draw_after_the_last_item(epoch)
            yield batch
        if count == whole:
            self._draw_after_the_last_item(epoch)
        if self._epoch is epoch:
            self._epoch = None

    def _source(self) -> Generator:
        return default_generator() if self.generator is None else self.generator

    def _draw_order(self, source: Generator) -> NDArray[np.int64] | range:
        source.seed_word()
        items = len(self.dataset)
        if not self.shuffle:
            return range(items)
        shuffler = Generator(source.seed_word()) if self.generator is None else source
        return shuffler.randperm(items)

    def _draw_after_the_last_item(self, epoch: _Epoch) -> None:
        if self.shuffle and self.generator is not None:
            self.generator.randperm(len(epoch.order))

    def state(self) -> dict[str, Any]:
        """The position in the epoch and in the random stream, for `set_state`.

        After a batch was yielded, it is the position of the next batch; between epochs, the position of the first batch
        of the next epoch.
        """
        epoch = self._epoch or self._resumed
        return {
            "items": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": bool(self.shuffle),
            "epoch_start": None if epoch is None else epoch.start,
            "batches": 0 if epoch is None else epoch.batches,
            "generator": self._source().state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state()` was taken; also sets the generator (the default one if none was given).

        Raises: ConfigError for a value that is not a state, or a state of another number of items, another batch_size
                or another shuffle
        """
        expect_state_of("DataLoader", state, self.state(), ("items", "batch_size", "shuffle"))
        start, batches = state["epoch_start"], state["batches"]
        if batches > len(self):
            raise ConfigError(f"DataLoader.set_state: batches must be in 0..{len(self)}; got {batches!r}")
        resumed = None
        if start is not None:
            replay = Generator()  # draws the order again; the stream itself has advanced since
            replay.set_state(start)
            resumed = _Epoch(dict(start), self._draw_order(replay), batches)
        self._source().set_state(state["generator"])
        self._epoch, self._resumed = None, resumed


def collate(samples: Sequence[Any]) -> Any:
    """Stack samples into a batch: arrays and numbers become arrays, tuples, lists and dicts field by field.

    Python floats become float32, as in a Tensor, integers int64; strings remain a list.

    Shapes: B samples (...) -> (B, ...)
    Raises: ShapeError if samples differ in shape, length or keys; DTypeError for anything but numbers

    >>> collate([([1, 2], "a"), ([3, 4], "b")])
    ([array([1, 3]), array([2, 4])], ['a', 'b'])
    """
    first = samples[0]
    if isinstance(first, str | bytes):
        return list(samples)
    if isinstance(first, Mapping):
        if any(not isinstance(sample, Mapping) or sample.keys() != first.keys() for sample in samples):
            raise ShapeError(f"collate: samples must have the same keys; the first has {list(first)}: {FIX}")
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        if any(not isinstance(sample, tuple | list) or len(sample) != len(first) for sample in samples):
            raise ShapeError(f"collate: samples must have as many fields as the first, {len(first)}: {FIX}")
        fields = [collate(field) for field in zip(*samples, strict=True)]
        return fields if isinstance(first, list) else tuple(fields)
    return _stack(samples)


FIX = "give the DataLoader a collate_fn that pads or converts them"


def _stack(samples: Sequence[Any]) -> NDArray[Any]:
    try:
        arrays = [np.asarray(sample) for sample in samples]
    except ValueError as error:  # nested sequences of unequal lengths inside one sample
        raise ShapeError(f"collate: {error}: {FIX}") from error
    for sample, array in zip(samples, arrays, strict=True):
        if array.dtype.kind not in "iufcb":
            raise DTypeError(f"collate: samples must be numbers or arrays; got {type(sample).__name__}: {FIX}")
        if array.shape != arrays[0].shape:
            raise ShapeError(
                f"collate: samples of a batch must have one shape; got {arrays[0].shape} and {array.shape}: {FIX}"
            )
    if all(type(sample) is float for sample in samples):
        return np.array(samples, np.float32)
    return np.stack(arrays)
