"""The lens: the numbers of one forward and backward of a language model on a text, as a page.

    gathered = look(model, tokenizer, "Once upon a time")
    page = as_page(gathered)

`look` collects plain lists and numbers: attention, gradients, predictions of each layer, parameters, costs. `as_page`
puts them into `lens.html`, a page that needs no network and no packages.
"""

from __future__ import annotations

import importlib.resources
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import enable_grad, no_grad
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.attention import repeat_heads
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.study.attention_weights import watch_attention_weights
from tinygrad_llm.study.counting import ATTENTION, Product, watch_operations
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer

MAX_TOKENS = 128
MAX_PAGE_BYTES = 5_000_000
MAX_PROMPT = 20_000  # characters of the prompt that are read: far more than MAX_TOKENS tokens need
TOP_TOKENS = 5  # of each prediction
BINS = 24  # of each histogram
WEIGHT_STEPS = 9999  # an attention weight is stored as an integer number of 1 / WEIGHT_STEPS
REPEATS = 3  # timings, of which the shortest counts
NO_PRODUCTS = "no products: a few passes over the elements"


@dataclass
class _AttentionCall:
    """One layer's attention: the products q · k before scaling, the scale, and the weights with their gradient.

    Shapes: products and weights (B, H, T, S), or (H, T, S)
    """

    products: Array
    scale: float
    weights: Tensor


@contextmanager
def _recorded_attention() -> Iterator[list[_AttentionCall]]:
    """Record the weights of every attention, and the products q · k that they come from, layer by layer."""
    calls: list[_AttentionCall] = []
    products: list[tuple[Array, float]] = []

    def keep_products(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        if op_name == "scaled_dot_product_attention":
            query, key, scale = args[0], args[1], kwargs.get("scale")
            q_times_k = query.data @ repeat_heads(key, query.shape[-3]).data.swapaxes(-1, -2)
            products.append((q_times_k, 1 / math.sqrt(query.shape[-1]) if scale is None else scale))
        return call(*args, **kwargs)

    def keep(weights: Tensor) -> Tensor:
        if weights.requires_grad:
            weights.retain_grad()
        calls.append(_AttentionCall(*products.pop(), weights))
        return weights

    with intercept(keep_products), watch_attention_weights(keep):
        yield calls


def look(model: Any, tokenizer: Tokenizer, prompt: str) -> dict[str, Any]:
    """The numbers of `model` on the first MAX_TOKENS tokens of `prompt`, in evaluation mode.

    Gradients are those of the mean loss of predicting each next token of the prompt. The model is left unchanged,
    except that its parameters' gradients are set to None.

    Units: losses in nats; seconds; bytes; floating-point operations
    Raises: ConfigError for a model that is no language model, or a prompt of fewer than two tokens
    """
    if not isinstance(model, LanguageModel):
        raise ConfigError(
            f"inspect: the model must predict the next token, as a GPT does; this is a {type(model).__name__}"
        )
    left_out = []
    if len(prompt) > MAX_PROMPT:
        left_out.append(f"the prompt after its first {MAX_PROMPT:,} characters")
    ids = np.array(tokenizer.encode(prompt[:MAX_PROMPT], allowed_special="all"), np.int64)
    longest = min(MAX_TOKENS, model.config.context_length)
    if len(ids) > longest:
        left_out.append(f"the tokens after the first {longest}, of {len(ids)}")
        ids = ids[:longest]
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


def _look(model: LanguageModel, tokenizer: Tokenizer, prompt: str, ids: Array, left_out: list[str]) -> dict[str, Any]:
    calls: dict[str, tuple[Module, Any]] = {}
    streams: list[Tensor] = []
    with _hooks(model, calls, streams), enable_grad(), _recorded_attention() as attention:
        logits = model(ids)
        losses = cross_entropy(logits[:-1], ids[1:], reduction="none")
        losses.mean().backward()
    loss_of_token = losses.data.astype(float)
    predictions = [_top_tokens(model, stream) for stream in streams]
    predictions.append(_top_tokens(model, None, logits))
    named = {token for layer in predictions for row in layer for token, _ in row}
    return {
        "prompt": prompt[:MAX_PROMPT],
        "model": {
            "kind": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": model.config.to_dict(),
        },
        "tokens": [
            {
                "id": int(one),
                **_text_and_bytes(tokenizer, int(one)),
                "loss": _short(loss_of_token[i - 1]) if i else None,
            }
            for i, one in enumerate(ids)
        ],
        "loss": _short(loss_of_token.mean()),
        "layers": [
            {"heads": [_head(call, head) for head in range(call.weights.shape[-3])], "allHeads": call.weights.shape[-3]}
            for call in attention
        ],
        "streams": [_norms(number, stream) for number, stream in enumerate(streams)],
        "predictions": predictions,
        "vocabulary": {str(one): _text_and_bytes(tokenizer, one)["text"] for one in sorted(named)},
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


def _text_and_bytes(tokenizer: Tokenizer, token: int) -> dict[str, str]:
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


def _head(call: _AttentionCall, head: int) -> dict[str, Any]:
    """The lower triangle of a head, row by row: weights and gradients as integer multiples of a step."""
    weights = call.weights.data[head] if call.weights.ndim == 3 else call.weights.data[0, head]
    gradient = _gradient(call.weights).reshape(-1, *weights.shape)[head]
    products = call.products.reshape(-1, *weights.shape)[head]
    step = float(np.abs(gradient).max()) / WEIGHT_STEPS or 1.0
    lower = np.tril_indices(len(weights))
    hidden = weights[lower] == 0  # by a window; or the weight is too small for its dtype
    digits = max(0, 3 - math.ceil(math.log10(max(float(np.abs(products[lower]).max()), 1e-9))) + 1)
    return {
        "shares": np.rint(weights[lower] * WEIGHT_STEPS).astype(int).tolist(),
        "gradients": np.rint(gradient[lower] / step).astype(int).tolist(),
        "step": _short(step),
        "products": [
            None if is_hidden else round(float(x), digits) for x, is_hidden in zip(products[lower], hidden, strict=True)
        ],
        "scale": _short(call.scale),
    }


def _histograms(name: str, parameter: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(parameter.shape),
        "weights": _histogram(parameter.data),
        "gradients": _histogram(_gradient(parameter)),
    }


def _histogram(x: Array) -> dict[str, Any]:
    x = x.astype(np.float64).ravel()
    finite = x[np.isfinite(x)]
    counts, edges = np.histogram(finite, BINS) if finite.size else (np.zeros(BINS, int), np.array([0.0, 0.0]))
    return {
        "low": _short(edges[0]),
        "high": _short(edges[-1]),
        "counts": counts.tolist(),
        "mean": _short(finite.mean()) if finite.size else None,
        "deviation": _short(finite.std()) if finite.size else None,
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


# -- the page


def as_page(gathered: dict[str, Any]) -> str:
    """The page of what `look` returned. Heads are left out until it has at most MAX_PAGE_BYTES; the page names them.

    Raises: ConfigError if it does not fit without any head
    """
    template = importlib.resources.files("tinygrad_llm.study").joinpath("lens.html").read_text("utf-8")
    heads = max((len(layer["heads"]) for layer in gathered["layers"]), default=0)
    for kept in range(heads, -1, -1):
        left_out = list(gathered["leftOut"])
        if kept < heads:
            left_out.append(f"attention: of each layer's {heads} heads, the first {kept}")
        layers = [{**layer, "heads": layer["heads"][:kept]} for layer in gathered["layers"]]
        data = _embedded({**gathered, "layers": layers, "leftOut": left_out})
        page = template.replace("{{DATA}}", data)
        if len(page.encode()) <= MAX_PAGE_BYTES:
            return page
    raise ConfigError(f"the page must stay below {MAX_PAGE_BYTES:,} bytes; this model has too many layers for it")


def _embedded(data: Any) -> str:
    """JSON for the inside of a <script>: ASCII, without characters that have a meaning in HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
