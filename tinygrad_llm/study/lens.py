"""The lens: what one forward and backward of a language model on a text gives, beside attention.

    gathered = look(model, tokenizer, "Once upon a time")

`look` collects plain lists and numbers: predictions of each layer, the residual stream, parameters, costs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.padding import begin_ids
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import enable_grad, no_grad
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.study.counting import ATTENTION, Product, watch_operations
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer

MAX_TOKENS = 128
MAX_PROMPT = 20_000  # characters of the prompt that are read: far more than MAX_TOKENS tokens need
TOP_TOKENS = 5  # of each prediction
BINS = 24  # of each histogram
BLOCK = 1 << 16  # elements that a histogram counts at a time
REPEATS = 3  # timings, of which the shortest counts
LONG = 0.005  # seconds; a part that takes longer is timed once
NO_PRODUCTS = "no products: a few passes over the elements"


def look(model: Any, tokenizer: Tokenizer, prompt: str) -> dict[str, Any]:
    """The numbers of `model` on the last MAX_TOKENS tokens of `prompt`, in evaluation mode.

    Gradients are those of the mean loss of predicting each next token of the prompt. The model is left unchanged,
    except that its parameters' gradients are set to None.

    Units: losses in nats; seconds; bytes; floating-point operations
    Raises: ConfigError for a model that is no language model, or a prompt of fewer than two tokens
    """
    if not isinstance(model, LanguageModel):
        raise ConfigError(
            f"inspect: the model must predict the next token, as a GPT does; this is a {type(model).__name__}"
        )
    ids, left_out = prompt_ids(tokenizer, prompt, model.config.context_length)
    if len(ids) < 2:
        raise ConfigError(f"a prompt needs at least two tokens, for a loss; got {len(ids)}")
    mode = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return _look(model, tokenizer, prompt, ids, left_out)
    finally:
        for module, training in mode:
            module.training = training
        model.zero_grad()


def prompt_ids(tokenizer: Tokenizer, prompt: str, context: int) -> tuple[Array, list[str]]:
    """The last tokens of a prompt, at most MAX_TOKENS and `context`, and what is left out, in words.

    Shapes: -> ids (T,)
    Raises: TokenizerError for characters without a token
    """
    left_out = []
    if len(prompt) > MAX_PROMPT:
        left_out.append(f"the prompt before its last {MAX_PROMPT:,} characters")
    encoded = tokenizer.encode(prompt[-MAX_PROMPT:], allowed_special="all")
    ids = np.array([*begin_ids(tokenizer), *encoded] if encoded else [], np.int64)
    longest = min(MAX_TOKENS, context)
    if len(ids) > longest:
        left_out.append(f"the tokens before the last {longest}, of {len(ids)}")
        ids = ids[-longest:]
    return ids, left_out


def _look(model: LanguageModel, tokenizer: Tokenizer, prompt: str, ids: Array, left_out: list[str]) -> dict[str, Any]:
    calls: dict[str, tuple[Module, Any]] = {}
    streams: list[Tensor] = []
    with _hooks(model, calls, streams), enable_grad():
        logits = model(ids)
        losses = cross_entropy(logits[:-1], ids[1:], reduction="none")
        losses.mean().backward()
    loss_of_token = losses.data.astype(float)
    predictions = [_top_tokens(model, stream) for stream in streams]
    predictions.append(_top_tokens(model, None, logits))
    named = {token for layer in predictions for row in layer for token, _ in row}
    return {
        "prompt": prompt[-MAX_PROMPT:],
        "model": {
            "kind": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": model.config.to_dict(),
        },
        "tokens": [
            {
                "id": int(one),
                **text_and_bytes(tokenizer, int(one)),
                "loss": _short(loss_of_token[i - 1]) if i else None,
            }
            for i, one in enumerate(ids)
        ],
        "loss": _short(loss_of_token.mean()),
        "streams": [_norms(number, stream) for number, stream in enumerate(streams)],
        "predictions": predictions,
        "vocabulary": {str(one): text_and_bytes(tokenizer, one)["text"] for one in sorted(named)},
        "parameters": [_histograms(name, parameter) for name, parameter in model.named_parameters()],
        "costs": _costs(calls),
        "leftOut": left_out,
    }


@contextmanager
def _hooks(model: LanguageModel, calls: dict[str, tuple[Module, Any]], streams: list[Tensor]) -> Iterator[None]:
    """Collect the calls of each part and the residual streams, with a gradient for every parameter."""
    requires_grad = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with ExitStack() as undo:
        for number, block in enumerate(model.blocks):
            undo.enter_context(block.register_forward_hook(_keep_stream(streams)))
            for name, part in block.named_children():
                undo.enter_context(part.register_forward_hook(_keep_call(calls, f"blocks.{number}.{name}")))
        for name in ("final_norm", "head"):
            undo.enter_context(getattr(model, name).register_forward_hook(_keep_call(calls, name)))
        model.zero_grad()
        for parameter, before in requires_grad:
            undo.callback(setattr, parameter, "requires_grad", before)
            parameter.requires_grad = True
        yield


def _norms(number: int, stream: Tensor) -> dict[str, Any]:
    """The norm of the residual stream and of its gradient at each position."""
    return {
        "name": "embedding" if number == 0 else f"after block {number - 1}",
        "norms": [_short(x) for x in np.linalg.norm(stream.data.astype(np.float64), axis=-1)],
        "gradients": [_short(x) for x in np.linalg.norm(_gradient(stream), axis=-1)],
    }


def _keep_stream(streams: list[Tensor]) -> Any:
    def hook(_module: Module, args: Any, output: Tensor) -> None:
        for stream in [args[0], output] if not streams else [output]:
            if stream.node is not None:
                stream.retain_grad()
            streams.append(stream)

    return hook


def _keep_call(calls: dict[str, tuple[Module, Any]], name: str) -> Any:
    def hook(module: Module, args: Any, _output: Any) -> None:
        calls.setdefault(name, (module, args))

    return hook


def _gradient(x: Tensor) -> Array:
    return np.zeros(x.shape) if x.grad is None else x.grad.astype(np.float64)


def _short(x: Any) -> float | None:
    """`x` rounded to five digits; None for NaN and infinity, which JSON cannot hold."""
    return float(f"{float(x):.5g}") if math.isfinite(x) else None


def text_and_bytes(tokenizer: Tokenizer, token: int) -> dict[str, str]:
    """The text of a token, and its bytes in hexadecimal."""
    raw = tokenizer.token_bytes(token)
    return {"text": raw.decode("utf-8", errors="replace"), "bytes": raw.hex(" ")}


def _top_tokens(model: LanguageModel, stream: Tensor | None, logits: Tensor | None = None) -> list[list[list[Any]]]:
    """The most probable next tokens at each position, with the head applied to `stream`.

    Logit lens (nostalgebraist 2020).

    Shapes: stream (T, C), logits (T, V) -> T lists of [token, probability]
    """
    with no_grad():
        if logits is None:
            logits = model.head(model.final_norm(stream))
    scores = logits.data.astype(np.float64)
    probabilities = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :TOP_TOKENS]
    return [
        [[int(token), _short(row[token])] for token in tokens] for row, tokens in zip(probabilities, best, strict=True)
    ]


def _histograms(name: str, parameter: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(parameter.shape),
        "weights": _histogram(parameter.data),
        "gradients": _histogram(_gradient(parameter)),
    }


def _histogram(x: Array) -> dict[str, Any]:
    """Counts of equal bins between the smallest and the largest finite element, with mean and standard deviation."""
    finite = x.ravel()
    is_finite = np.isfinite(finite)
    if not is_finite.all():
        finite = finite[is_finite]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    width = (high - low) / BINS
    counts = np.zeros(BINS, np.int64)
    for start in range(0, finite.size, BLOCK):
        block = finite[start : start + BLOCK].astype(np.float64)
        bins = ((block - low) / width).astype(np.int64) if width else np.zeros(block.size, np.int64)
        counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
    return {
        "low": _short(low),
        "high": _short(high),
        "counts": counts.tolist(),
        "mean": _short(finite.mean(dtype=np.float64)) if finite.size else None,
        "deviation": _short(finite.std(dtype=np.float64)) if finite.size else None,
        "notFinite": int(x.size - finite.size),
    }


def _costs(calls: dict[str, tuple[Module, Any]]) -> list[dict[str, Any]]:
    """The costs of each part, run again alone: counted operations, bytes, and the time without recording."""
    costs = []
    for name, (part, args) in calls.items():
        if not any(True for _ in part.parameters()):
            continue  # dropout, which does nothing in evaluation
        with watch_operations() as recorder:
            part(*args)
        seconds = []
        with no_grad():
            for _ in range(REPEATS):
                started = time.perf_counter()
                output = part(*args)
                seconds.append(time.perf_counter() - started)
                if seconds[-1] > LONG:
                    break
        costs.append(
            {
                "name": name,
                "flops": sum(product.flops for product in recorder.products),
                "formula": " + ".join(map(_formula, recorder.products)) or NO_PRODUCTS,
                "weightBytes": sum(parameter.data.nbytes for parameter in part.parameters()),
                "outputBytes": output.data.nbytes,
                "seconds": _short(min(seconds)),
            }
        )
    return costs


def _formula(product: Product) -> str:
    factors = "·".join(map(str, product.factors))
    return (
        f"{factors} (q·k and the weighted mean of v, for each visible pair)"
        if product.operation == ATTENTION
        else factors
    )
