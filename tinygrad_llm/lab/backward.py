"""The backward of a prompt's loss: every operation on a tape, with its arrays, its formula and its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.views import Prompt, View
from tinygrad_llm.study.operation_source import Place, source_of
from tinygrad_llm.study.tape import Tape, record
from tinygrad_llm.study.tape_entry import Entry, Summary

ARRAY_BUDGET = 64_000_000  # bytes of the arrays that a recording keeps
WINDOW = 64  # rows and columns of an array that are sent at once


@dataclass(frozen=True)
class Recording:
    """The tape of one forward and backward of a prompt's mean loss."""

    view: View
    prompt: Prompt
    loss: float
    tape: Tape

    @classmethod
    def of(cls, view: View, text: str) -> Recording:
        """Raises: ConfigError for a prompt of fewer than two tokens"""
        prompt = Prompt.of(view, text, at_least=2)
        ids = prompt.ids
        with view.looking(), record(view.model, keep_arrays=True, array_budget=ARRAY_BUDGET) as tape:
            loss = view.model.loss(ids[:-1], ids[1:])
            value = loss.item()
            loss.backward()
        return cls(view, prompt, value, tape)

    def seen_from(self, view: View) -> Recording:
        """The same recording with the model of `view`, whose weights are the same."""
        return dataclasses.replace(self, view=view)

    def describe(self) -> dict[str, Any]:
        """The answer `backward`: all operations, and the order in which backward visits them."""
        formulas = list(dict.fromkeys(entry.formula for entry in self.tape))
        return {
            **self.view.describe(),
            "tokens": self.prompt.tokens(self.view.tokenizer),
            "leftOut": self.prompt.left_out,
            "loss": self.loss,
            "root": self.tape.root(),
            "formulas": formulas,
            "operations": [{**_operation(entry), "formula": formulas.index(entry.formula)} for entry in self.tape],
            "order": [entry.index for entry in self.tape.backward_order],
            "kept": self.tape.bytes_kept,
            "budget": ARRAY_BUDGET,
            "refused": self.tape.arrays_refused,
        }

    def entry(self, index: int) -> Entry:
        """Raises: ConfigError for an index outside of the tape"""
        if not 0 <= index < len(self.tape):
            raise ConfigError(f"operations are 0 to {len(self.tape) - 1}; got {index}")
        return self.tape[index]

    def describe_operation(self, index: int, corners: Mapping[str, Any]) -> dict[str, Any]:
        """The answer `operation`: windows of its arrays, which begin at `corners`, and its source."""
        entry = self.entry(index)
        roles = array_roles(entry)
        if unknown := sorted(corners.keys() - roles.keys()):
            raise ConfigError(f"operation: the arrays are {', '.join(roles)}; got {unknown[0][:50]!r}")
        code = entry.code
        places = {} if code is None else {"forward": code.forward, "backward": code.backward, "call": code.caller}
        return {
            **self.view.describe(),
            "index": index,
            "arrays": [
                {"name": name, "role": role, **window(entry.arrays[name], corners.get(name))}
                for name, role in roles.items()
                if name in entry.arrays
            ],
            "notKept": [name for name in roles if name not in entry.arrays],
            "source": {name: _source(place) for name, place in places.items()},
        }


def array_roles(entry: Entry) -> dict[str, str]:
    """The names of an operation's arrays and what they are."""
    roles = {operand.name: "operand" for operand in entry.operands}
    call = entry.backward
    roles["output" if call is None else call.incoming.removeprefix("d")] = "output"
    if call is not None:
        roles[call.incoming] = "incoming"
        for operand, gradient in zip(entry.operands, call.gradients, strict=True):
            if gradient is not None:
                roles[f"d{operand.name}"] = "outgoing"
    return roles


def window(x: Array, corner: Sequence[Any] | None = None) -> dict[str, Any]:
    """At most WINDOW x WINDOW elements of the last two axes of x from `corner`, one number per axis.

    Raises: ConfigError for a corner outside of the array
    """
    at = [0] * x.ndim if corner is None else list(corner)
    if len(at) != x.ndim or any(
        not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < max(size, 1)
        for i, size in zip(at, x.shape, strict=False)
    ):
        raise ConfigError(
            f"a corner has one index per axis, within the shape {list(x.shape)}; got {ascii(corner)[:100]}"
        )
    plane = x[tuple(at[:-2])] if x.ndim > 2 else x
    rows, columns = ([0, 0, *at])[-2:]
    values = plane.reshape((1,) * (2 - plane.ndim) + plane.shape)[rows : rows + WINDOW, columns : columns + WINDOW]
    finite = x[np.isfinite(x)] if x.dtype.kind in "fc" else x
    return {
        "shape": list(x.shape),
        "corner": at,
        "values": values.astype(np.float32),
        "low": float(finite.min()) if finite.size else None,
        "high": float(finite.max()) if finite.size else None,
    }


def _operation(entry: Entry) -> dict[str, Any]:
    call = entry.backward
    return {
        "index": entry.index,
        "name": entry.name,
        "module": entry.module,
        "modules": list(entry.modules),
        "source": entry.source,
        "operands": [
            {
                "name": operand.name,
                "shape": list(operand.shape),
                "madeBy": operand.made_by,
                "parameter": operand.parameter,
                "gradient": call is not None and call.gradients[place] is not None,
            }
            for place, operand in enumerate(entry.operands)
        ],
        "shape": list(entry.shape),
        "stats": _statistics(entry.output),
        "seconds": round(entry.seconds, 7),
        "bytesMade": entry.bytes_made,
        "bytesKept": entry.bytes_kept,
        "differentiable": entry.differentiable,
        "backward": None
        if call is None
        else {
            "incoming": call.incoming,
            "seconds": round(call.seconds, 7),
            "dy": _statistics(call.dy),
            "gradients": [None if one is None else _statistics(one) for one in call.gradients],
        },
    }


def _statistics(x: Summary) -> dict[str, Any]:
    """Statistics in four digits; shares of zeros and of what is not finite only where there are any."""
    figures = {"mean": x.mean, "std": x.std, "min": x.min, "max": x.max, "norm": x.norm}
    shown = {name: float(f"{value:.4g}") if math.isfinite(value) else None for name, value in figures.items()}
    shares = {"zeros": round(x.zeros, 4), "notFinite": round(x.not_finite, 4)}
    return {**shown, **{name: share for name, share in shares.items() if share}}


def _source(place: Place | None) -> dict[str, Any] | None:
    found = None if place is None else source_of(place)
    return None if found is None else asdict(found)
