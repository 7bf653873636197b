"""Changes that a callback makes to a model besides its trained weights.

Workers hold copies of these attributes, so the changes are sent to them.

Examples are the probability of a dropout, a factor in a loss of one's own, evaluation mode, weights that are not
trained, and buffers. Changes that a forward makes are not meant: each worker makes its own.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

from tinygrad_llm import versions
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.batch_loss import Loss

PLAIN = (bool, int, float, str, type(None))  # values that can be sent

Change = tuple[int, str, Any]  # the place of an object in `objects_of`, an attribute, its new value


def objects_of(model: Module, loss: Loss) -> list[Any]:
    """The objects whose attributes count: the model's modules, and the loss, if it has attributes and no `add_counts`.

    The order is the same in every process.
    """
    owner = getattr(loss, "__self__", loss)
    left_out = hasattr(loss, "add_counts") or not hasattr(owner, "__dict__")
    return [*model.modules(), *([] if left_out else [owner])]


def set_attributes(objects: Sequence[Any], changes: Sequence[Change]) -> None:
    for place, name, value in changes:
        setattr(objects[place], name, value)


class ModelChanges:
    """The changes of a model and its loss since `note`, apart from the parameters `trained`."""

    def __init__(self, model: Module, loss: Loss, trained: Collection[Tensor]) -> None:
        self._attributes = [vars(one) for one in objects_of(model, loss)]
        self._fixed = [t for t in (*model.parameters(), *model.buffers()) if t not in trained]
        self.note()

    def note(self) -> None:
        """Count changes from here on."""
        self._before = [attributes.copy() for attributes in self._attributes]
        self._hooks = self._forward_hooks()
        self._arrays, self._time = [tensor.data for tensor in self._fixed], versions.last_write

    def to_send(self) -> list[Change] | None:
        """The attributes that have changed to plain values; None where something else has changed."""
        if any(
            tensor.data is not array or versions.written_since(array, self._time)
            for tensor, array in zip(self._fixed, self._arrays, strict=True)
        ):
            return None
        if self._forward_hooks() != self._hooks:
            return None
        now, before = self._attributes, self._before
        values = (chain.from_iterable(map(dict.values, each)) for each in (now, before))
        if list(map(len, now)) == list(map(len, before)) and all(map(operator.is_, *values)):
            return []
        changes: list[Change] = []
        for place, (new, old) in enumerate(zip(now, before, strict=True)):
            if not old.keys() <= new.keys():
                return None
            for name, value in new.items():
                if name in old and value is old[name]:
                    continue
                if not isinstance(value, PLAIN) or not isinstance(old.get(name), PLAIN):
                    return None
                if name not in old or value != old[name]:
                    changes.append((place, name, value))
        return changes

    def _forward_hooks(self) -> list[dict[int, Any]]:
        """The hooks of each object: they are added and removed in place."""
        return [dict(attributes["_forward_hooks"]) for attributes in self._attributes if "_forward_hooks" in attributes]
