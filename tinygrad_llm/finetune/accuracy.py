"""The loss of a classifier that also counts its right answers, so that a training can show its accuracy."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

import numpy as np

from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.tensor import Tensor

RECENT = 25  # training batches whose accuracy is shown


class CountingLoss:
    """The loss of a `Trainer` on batches (ids, classes, lengths), as `classification_loss`, which also counts.

    Units: nats per text
    """

    def __init__(self) -> None:
        self._trained: deque[tuple[int, int]] = deque(maxlen=RECENT)  # texts that were right, and all
        self._evaluated: list[tuple[int, int]] = []  # of the latest evaluation

    def __call__(self, model: Any, batch: Any) -> Tensor:
        ids, classes, lengths = batch
        logits = model(ids, lengths)
        right = int((logits.data.argmax(axis=-1) == np.asarray(classes)).sum())
        if model.training:
            self._trained.append((right, len(classes)))
        else:
            self._evaluated.append((right, len(classes)))
        return cross_entropy(logits, classes)

    def take_counts(self) -> Any:
        """What was counted since the last call: a worker's part, which the first process adds to its own."""
        counts = list(self._trained), self._evaluated
        self._trained.clear()
        self._evaluated = []
        return counts

    def add_counts(self, counts: Any) -> None:
        """Add what a worker counted: in training on its rows of the latest batch, in evaluation on its batches."""
        trained, evaluated = counts
        for right, count in trained:
            mine = self._trained.pop()
            self._trained.append((mine[0] + right, mine[1] + count))
        self._evaluated += evaluated

    def training_figure(self) -> str:
        """The accuracy on the latest training batches, in words; "" before the first."""
        return f"accuracy {_share(self._trained):.1%}" if self._trained else ""

    def validation_figure(self) -> str:
        """The accuracy of the evaluation since the last call, in words; "" where there was none."""
        counts, self._evaluated = self._evaluated, []
        return f"accuracy {_share(counts):.1%}" if counts else ""


def _share(counts: Collection[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / max(sum(count for _, count in counts), 1)
