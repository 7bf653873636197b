"""The protocol of decodable models: a class without a base class can be decoded."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, Tensor
from tinygrad_llm.generate import beam_search, generate, stream


class NoCache:
    """Keeps nothing: the state reads all columns again."""

    length = 0

    def truncate(self, length: int) -> None:
        pass

    def select(self, rows: np.ndarray) -> None:
        pass


class Successor:
    """After token n comes n + 1, counted modulo 7."""

    config = SimpleNamespace(context_length=5, vocab_size=7)

    def new_cache(self) -> Any:
        return NoCache()

    def hidden(
        self, ids: np.ndarray, cache: Any = None, mask: np.ndarray | None = None, positions: np.ndarray | None = None
    ) -> Tensor:
        return Tensor(np.eye(7, dtype=np.float32)[np.asarray(ids)])

    def head(self, hidden: Tensor) -> Tensor:
        return Tensor(np.roll(hidden.data, 1, axis=-1) * 30)

    def modules(self) -> Any:
        return iter(())


@pytest.mark.parametrize("use_cache", [True, False])
def test_any_model_of_the_protocol_is_decoded(use_cache: bool) -> None:
    model = Successor()
    assert generate(model, [2, 3], 9, use_cache=use_cache).tolist() == [2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5]
    assert list(stream(model, [5], 3, temperature=0.5, generator=Generator(0))) == [6, 0, 1]
    assert [row.tolist() for row in generate(model, [[1], [4, 5]], 2)] == [[1, 2, 3], [4, 5, 6, 0]]
    assert beam_search(model, [0], 3, num_beams=2)[0].ids.tolist() == [0, 1, 2, 3]
