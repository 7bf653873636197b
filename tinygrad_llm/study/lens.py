"""The lens: one forward and backward of a language model on a text, with every number that a reader may ask for.

    gathered = look(model, tokenizer, "Once upon a time")
    page = as_page(gathered)

`look` gathers plain lists and numbers; `as_page` puts them into `lens.html`, which shows them without network or
packages.
"""

from __future__ import annotations

import importlib.resources
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import enable_grad, no_grad
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.attention import repeat_heads, watch_attention_weights
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.study.counting import ATTENTION, Product, watch_operations
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer

MOST_TOKENS = 128
MOST_BYTES = 5_000_000
MOST_PROMPT = 20_000  # characters of it that are read: far more than MOST_TOKENS tokens need
LIKELIEST = 5  # tokens of each prediction that are shown
BINS = 24
SHARES = 9999  # a share of attention is kept as a whole number of these
REPEATS = 3  # timings, of which the shortest counts
NO_PRODUCTS = "no products: a few passes over the numbers"


@dataclass
class _Attended:
    """One layer's attention: the products q · k before scaling, the scale, and the weights with their gradient."""

    products: Array
    scale: float
    weights: Tensor


@contextmanager
def _attention_spelled_out() -> Iterator[list[_Attended]]:
    """Let every attention write down its weights, and the products q · k that they come from, layer by layer."""
    seen: list[_Attended] = []

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
        seen.append(_Attended(*products.pop(), weights))
        return weights

    with intercept(keep_products), watch_attention_weights(keep):
        yield seen


def look(model: Any, tokenizer: Tokenizer, prompt: str) -> dict[str, Any]:
    """Every number of `model` on `prompt`, at most the first MOST_TOKENS tokens of it.

    The gradients are those of the mean loss over the text's own next tokens. The model is left as it was, but for its
    parameters' gradients, which are forgotten.

    Units: losses in nats; seconds; bytes; floating-point operations
    Raises: ConfigError for a model that is no language model, or a prompt of fewer than two tokens
    """
    if not isinstance(model, LanguageModel):
        raise ConfigError(f"only models that predict the next token can be looked at; this is a {type(model).__name__}")
    left_out = []
    if len(prompt) > MOST_PROMPT:
        left_out.append(f"the prompt after its first {MOST_PROMPT:,} characters")
    ids = np.array(tokenizer.encode(prompt[:MOST_PROMPT], allowed_special="all"), np.int64)
    longest = min(MOST_TOKENS, model.config.context_length)
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
    hooks = []
    for number, block in enumerate(model.blocks):
        hooks.append(block.register_forward_hook(_keep_stream(streams)))
        for name, part in block.named_children():
            hooks.append(part.register_forward_hook(_keep_call(calls, f"blocks.{number}.{name}")))
    for name in ("final_norm", "head"):
        hooks.append(getattr(model, name).register_forward_hook(_keep_call(calls, name)))
    model.zero_grad()
    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in asked:
        parameter.requires_grad = True
    try:
        with enable_grad(), _attention_spelled_out() as attended:
            logits = model(ids)
            losses = cross_entropy(logits[:-1], ids[1:], reduction="none")
            losses.mean().backward()
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, before in asked:
            parameter.requires_grad = before
    surprise = losses.data.astype(float)
    predictions = [_likeliest(model, stream) for stream in streams]
    predictions.append(_likeliest(model, None, logits))
    named = {token for layer in predictions for row in layer for token, _ in row}
    return {
        "prompt": prompt[:MOST_PROMPT],
        "model": {
            "kind": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": model.config.to_dict(),
        },
        "tokens": [
            {"id": int(one), **_described(tokenizer, int(one)), "loss": None if i == 0 else _short(surprise[i - 1])}
            for i, one in enumerate(ids)
        ],
        "loss": _short(surprise.mean()),
        "layers": [
            {
                "heads": [_head(one, head) for head in range(one.weights.shape[-3])],
                "allHeads": one.weights.shape[-3],
            }
            for one in attended
        ],
        "streams": [
            {
                "name": "embedding" if i == 0 else f"after block {i - 1}",
                "norms": [_short(x) for x in np.linalg.norm(stream.data.astype(np.float64), axis=-1)],
                "gradients": [_short(x) for x in np.linalg.norm(_gradient(stream), axis=-1)],
            }
            for i, stream in enumerate(streams)
        ],
        "predictions": predictions,
        "vocabulary": {str(one): _described(tokenizer, one)["text"] for one in sorted(named)},
        "parameters": [_histograms(name, parameter) for name, parameter in model.named_parameters()],
        "costs": _costs(calls),
        "leftOut": left_out,
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
    """Five digits of a number; None for what is none, which JSON cannot hold."""
    return float(f"{float(x):.5g}") if math.isfinite(x) else None


def _described(tokenizer: Tokenizer, token: int) -> dict[str, str]:
    raw = tokenizer.token_bytes(token)
    return {"text": raw.decode("utf-8", errors="replace"), "bytes": raw.hex(" ")}


def _likeliest(model: LanguageModel, stream: Tensor | None, logits: Tensor | None = None) -> list[list[list[Any]]]:
    """For every token the likeliest next ones, were the head to read this stream (logit lens; nostalgebraist 2020)."""
    with no_grad():
        if logits is None:
            logits = model.head(model.final_norm(stream))
    scores = logits.data.astype(np.float64)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    best = np.argsort(-shares, axis=-1, kind="stable")[:, :LIKELIEST]
    return [[[int(token), _short(row[token])] for token in tokens] for row, tokens in zip(shares, best, strict=True)]


def _head(one: _Attended, head: int) -> dict[str, Any]:
    """The lower triangle of a head, row by row: shares in 1 / SHARES, products rounded, gradients as whole steps."""
    weights = one.weights.data[head] if one.weights.ndim == 3 else one.weights.data[0, head]
    gradient = _gradient(one.weights).reshape(-1, *weights.shape)[head]
    products = one.products.reshape(-1, *weights.shape)[head]
    step = float(np.abs(gradient).max()) / SHARES or 1.0
    lower = np.tril_indices(len(weights))
    unseen = weights[lower] == 0  # hidden by a window, or so small that nothing is left of it
    digits = max(0, 3 - math.ceil(math.log10(max(float(np.abs(products[lower]).max()), 1e-9))) + 1)
    return {
        "shares": np.rint(weights[lower] * SHARES).astype(int).tolist(),
        "gradients": np.rint(gradient[lower] / step).astype(int).tolist(),
        "step": _short(step),
        "products": [
            None if hidden else round(float(x), digits) for x, hidden in zip(products[lower], unseen, strict=True)
        ],
        "scale": _short(one.scale),
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
    """Each part alone, run again: what a formula counts, what it holds, and how long it took without recording."""
    costs = []
    for name, (part, args) in calls.items():
        if not any(True for _ in part.parameters()):
            continue  # dropout, which does nothing in evaluation
        with watch_operations() as counted:
            part(*args)
        taken = []
        with no_grad():
            for _ in range(REPEATS):
                started = time.perf_counter()
                output = part(*args)
                taken.append(time.perf_counter() - started)
        costs.append(
            {
                "name": name,
                "flops": sum(product.flops for product in counted.products),
                "formula": " + ".join(map(_formula, counted.products)) or NO_PRODUCTS,
                "weightBytes": sum(parameter.data.nbytes for parameter in part.parameters()),
                "outputBytes": output.data.nbytes,
                "seconds": _short(min(taken)),
            }
        )
    return costs


def _formula(product: Product) -> str:
    factors = "·".join(map(str, product.factors))
    return f"{factors} (q·k and the mean of v, for each visible pair)" if product.operation == ATTENTION else factors


# -- the page


def as_page(gathered: dict[str, Any]) -> str:
    """The page of what `look` gathered, of at most MOST_BYTES: heads are left out until it fits, and the page says so.

    Raises: ConfigError where it does not fit without any
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
        if len(page.encode()) <= MOST_BYTES:
            return page
    raise ConfigError(f"the page must stay below {MOST_BYTES:,} bytes; this model has too many layers for it")


def _embedded(data: Any) -> str:
    """JSON for the inside of a <script>: ASCII, and no letter that HTML might read as its own."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
