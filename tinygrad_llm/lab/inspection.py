"""The page of `inspect`: a model on a text, as the lab's page without the lab.

It holds the answers to the requests that its views make. The most important come first, because those that do not fit
into the page are left out: the heads, then the predictions and costs, the graph, and the arrays of its operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.lab.beginnings import Beginning
from tinygrad_llm.lab.packing import Quantized, pack
from tinygrad_llm.lab.requests import REQUESTS
from tinygrad_llm.lab.saved_page import MAX_BYTES, Answer, compressed, saved_page
from tinygrad_llm.lab.saving import body_text
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.status import status
from tinygrad_llm.lab.training_session import LIVE
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.web.body import Body

# What a view loses where the answer to a request of this name does not fit.
CONTENTS = {
    "look": "tokens and heads",
    "lens": "predictions of each layer, residual stream, parameters and costs",
    "vocabulary": "the texts of the next tokens",
    "backward": "the operations of the backward pass",
    "operation": "the arrays of some operations",
}
ROOM_FOR_HEADS = 3_600_000  # bytes of the answer `look` in the page
MOST_DROPPED = 8  # bits of the weights and gradients of the heads, of 16
MOST_ARRAYS = 1_000_000  # bytes of the arrays of operations that are computed for the page


def inspected_page(
    model: Any, tokenizer: Tokenizer, prompt: str, name: str, limit: int = MAX_BYTES
) -> tuple[bytes, dict[str, Any], list[str]]:
    """The page, the head of the answer `look`, and what is left out of the page.

    Raises: ConfigError for a model that is no language model, a prompt of fewer than two tokens, or if the page does
            not fit even without answers
    """
    session = Session(Beginning(f"{name}, {model.num_parameters():,} parameters", model, tokenizer, prompt=prompt))
    lens = _ask(session, "lens", prompt=prompt, at=LIVE)  # the first: it refuses models and prompts
    look = _ask(session, "look", prompt=prompt, at=LIVE)
    answers = [
        _answer("status", status(session)),
        _fitting(look, prompt),
        _answer("lens", lens, prompt=prompt, at=LIVE),
        _answer("vocabulary", _ask(session, "vocabulary")),
        *_graph(session, prompt),
    ]
    page, missing = saved_page("view=heads", answers, f"{name} on {_shortened(prompt)}", "inspect", limit)
    contents = dict.fromkeys(CONTENTS.get(key.partition(" ")[0], key) for key in missing)
    return page, look, [*look["leftOut"], *contents]


def _fitting(look: dict[str, Any], prompt: str) -> Answer:
    """The answer `look`, its attention weights and gradients with as many bits as there is room for."""
    for dropped in range(0, MOST_DROPPED + 1, 2):
        coarse = {name: _without_bits(look["heads"][name], dropped) for name in ("shares", "gradients")}
        answer = _answer("look", {**look, "heads": {**look["heads"], **coarse}}, prompt=prompt, at=LIVE)
        if len(answer[2]) * 4 / 3 <= ROOM_FOR_HEADS or len(compressed(answer[2], level=1)) <= ROOM_FOR_HEADS:
            break
    return answer


def _without_bits(x: Quantized | None, bits: int) -> Quantized | None:
    """The same numbers, rounded to multiples of 2**bits steps."""
    return (
        x
        if x is None or bits == 0
        else Quantized(np.rint(x.values / 2**bits).astype(x.values.dtype), x.scale * 2**bits)
    )


def _graph(session: Session, prompt: str) -> Iterator[Answer]:
    """The graph of the backward pass, and the arrays of its operations in the order of the walk."""
    graph = _ask(session, "backward", prompt=prompt, at=LIVE)
    yield _answer("backward", graph, prompt=prompt, at=LIVE)
    size = 0
    for index in graph["order"]:
        arrays = _answer(
            "operation",
            _ask(session, "operation", prompt=prompt, at=LIVE, index=index),
            prompt=prompt,
            at=LIVE,
            index=index,
        )
        yield arrays
        size += len(arrays[2])
        if size > MOST_ARRAYS:
            return


def _ask(session: Session, name: str, **fields: Any) -> dict[str, Any]:
    request = REQUESTS[name]
    head: dict[str, Any] = request.work(session, Body(name, request.fields, fields))
    return head


def _answer(name: str, head: dict[str, Any], **fields: Any) -> Answer:
    return name, body_text(**fields), pack(head)


def _shortened(prompt: str, longest: int = 40) -> str:
    line = " ".join(prompt.split())
    return f"“{line if len(line) <= longest else line[: longest - 1] + '…'}”"
