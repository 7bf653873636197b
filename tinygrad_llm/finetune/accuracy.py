"""The loss of a classifier that also counts its right answers, so that a training can show its accuracy."""

from __future__ import annotations

from collections import deque
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

    def figures(self, evaluated: bool) -> list[str]:
        """The accuracy of the latest training batches and, if `evaluated`, that of the evaluation since the last call
        that asked for one."""
        words = [f"accuracy {_share(list(self._trained)):.1%}"] if self._trained else []
        if evaluated and self._evaluated:
            words.append(f"validation accuracy {_share(self._evaluated):.1%}")
        if evaluated:
            self._evaluated = []
        return words


def _share(counts: list[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / max(sum(count for _, count in counts), 1)
