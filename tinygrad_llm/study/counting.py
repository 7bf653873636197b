"""The cost of each part of a model: floating-point operations by formula, bytes of the arrays that it keeps.

    print(flops(model, batch_size, tokens))
    print(memory(model, batch_size, tokens))

An operation is a multiplication or an addition inside a matrix product:

    (R, I) @ (I, O)     2 · R · I · O
    attention           2 · (pairs of a query and a key that it may see, over all heads) · (D + E), for q kᵀ and p v

These are the operations of the model, independent of the implementation: scores of masked keys that a block of the
fused op computes too, and a forward that is run again in backward, do not count. Elementwise work (sums, exp, norms)
takes a few operations per element; it is not counted but listed as `uncounted`.

Both functions run the model and its loss once on ids of zeros and observe the operations, so a new layer is counted
where it is built from known operations.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.buffers import memory_owner
from tinygrad_llm.graph import Gradients, Node, TensorLike, enable_grad, observe
from tinygrad_llm.layers.window_cache import tokens_held
from tinygrad_llm.nn import Module, TransformerBlock
from tinygrad_llm.ops.attention import scaled_dot_product_attention, visible_keys
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.study.formatting import terminal_width, wrap
from tinygrad_llm.study.held_arrays import arrays_held
from tinygrad_llm.study.module_paths import running_modules
from tinygrad_llm.study.zero_batch import loss_of, zeros_to_read
from tinygrad_llm.tensor import Tensor

OPTIMIZER_MOMENTS = 2  # AdamW keeps two numbers per trainable parameter
ATTENTION = "scaled_dot_product_attention"
LOSS = "loss"  # the path of operations that run in no module


def _product(output: Tensor, parents: Sequence[Tensor]) -> tuple[int, ...]:
    columns = output.shape[-1] if output.ndim else 1
    return 2, output.size // max(columns, 1), parents[0].shape[-1], columns


def _product_with_the_vocabulary(_: Tensor, parents: Sequence[Tensor]) -> tuple[int, ...]:
    x, weight = parents
    return 2, x.size // max(x.shape[-1], 1), *reversed(weight.shape)


FORMULAS: dict[str, Callable[[Tensor, Sequence[Tensor]], tuple[int, ...]]] = {
    "matmul": _product,
    "linear": _product,
    "linear_cross_entropy": _product_with_the_vocabulary,
}


def visible_pairs(query: Tensor, key: Tensor, attn_mask: TensorLike | None = None, is_causal: bool = False) -> int:
    """The number of pairs of a query and a key that it may see, over all heads and sequences.

    Shapes: query (..., H, T, D), key (..., G, S, D), attn_mask as in `scaled_dot_product_attention` -> an int
    """
    queries, keys = query.shape[-2], key.shape[-2]
    matrices = math.prod((*np.broadcast_shapes(query.shape[:-3], key.shape[:-3]), *query.shape[-3:-2]))
    if attn_mask is None:  # counted without a triangle, whose memory would grow with the square of the length
        return matrices * (sum(range(max(keys - queries + 1, 0), keys + 1)) if is_causal else queries * keys)
    mask = as_tensor(attn_mask)
    visible = visible_keys(queries, keys, mask, is_causal)
    if mask.dtype.kind == "f":
        seen = ~np.isneginf(mask.data)
        visible = seen if visible is None else seen & visible
    if visible is None or not visible.size:
        return 0
    return int(np.count_nonzero(visible)) * (matrices * queries * keys // visible.size)  # it is broadcast to all pairs


class Product(NamedTuple):
    """A matrix product of the forward, or the two of attention; `flops` is the product of the `factors`."""

    module: str  # path of the module that it ran in, or "loss"
    operation: str
    factors: tuple[int, ...]
    operands: tuple[tuple[int, ...], ...]  # their shapes

    @property
    def flops(self) -> int:
        return math.prod(self.factors)


@dataclass
class Flops:
    """Floating-point operations of a forward: every product, and their sums by module path.

    "loss" is the path of operations outside of modules, among them the head's product where the loss is computed
    together with it. `uncounted` is the number of elements that operations without a formula computed, by operation.
    """

    products: list[Product]
    uncounted: dict[str, int]

    @property
    def by_module(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for product in self.products:
            counts[product.module] += product.flops
        return dict(counts)

    @property
    def forward(self) -> int:
        return sum(product.flops for product in self.products)

    @property
    def backward(self) -> int:
        """Twice the forward: each product has two operands, and the gradient of each is a product of the same size.

        An upper bound: an operand that needs no gradient saves its product.
        """
        return 2 * self.forward

    def __str__(self) -> str:
        by_module, forward = self.by_module, self.forward
        width = max(map(len, [*by_module, "backward (2 x forward)"]))
        rows = [
            f"{name or '(itself)':{width}} {count:>16,} {count / max(forward, 1):7.1%}"
            for name, count in by_module.items()
        ]
        rows += [f"{'forward':{width}} {forward:>16,}", f"{'backward (2 x forward)':{width}} {self.backward:>16,}"]
        named = ", ".join(f"{name} {count:,}" for name, count in self.uncounted.items())
        rows += wrap(f"uncounted, elements computed: {named or 'none'}", terminal_width())
        return "\n".join(rows)


@dataclass
class Memory:
    """Bytes of one training step, and of a KV cache; `activations` also by module path.

    `optimizer` is AdamW's state. Activations are the arrays that the graph of the forward and its loss keeps for
    backward, each counted once, without parameters and inputs; "loss" is the path of operations outside of modules.
    `kv_cache` is the cache after as many tokens, with a sliding window only the last of them. (A KVCache allocates
    room for the whole context at once: see its `nbytes`.)
    """

    parameters: int
    gradients: int
    optimizer: int
    kv_cache: int
    by_module: dict[str, int]

    @property
    def activations(self) -> int:
        return sum(self.by_module.values())

    @property
    def training(self) -> int:
        """The sum without the KV cache."""
        return self.parameters + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = {"parameters": self.parameters, "gradients": self.gradients, "optimizer (AdamW)": self.optimizer}
        parts["activations"] = self.activations
        parts |= {f"  {name}": size for name, size in self.by_module.items()}
        parts |= {"training": self.training, "kv cache": self.kv_cache}
        width = max(map(len, parts))
        return "\n".join(f"{name:{width}} {size:>16,} bytes" for name, size in parts.items())


class _Recorder:
    """Observes operations: keeps each product, and the module path of each operation."""

    def __init__(self, running: Sequence[str]) -> None:
        self.running = running
        self.products: list[Product] = []
        self.uncounted: Counter[str] = Counter()
        self.paths: dict[Node, str] = {}
        self.attending = False

    def attend(self, op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Count attention from its arguments, whatever operations compute it."""
        if op_name != ATTENTION:
            return call(*args, **kwargs)
        given = inspect.signature(scaled_dot_product_attention).bind(*args, **kwargs).arguments
        self.attending = True
        try:
            output = call(*args, **kwargs)
        finally:
            self.attending = False
        if output.requires_grad:
            q, k, v = (as_tensor(given[name]) for name in ("query", "key", "value"))
            pairs = visible_pairs(q, k, given.get("attn_mask"), given.get("is_causal", False))
            self._add(ATTENTION, (2, pairs, q.shape[-1] + v.shape[-1]), (q, k, v))
        return output

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        if output.node is None:  # no operand requires a gradient
            return
        self.paths[output.node] = self.path
        operation = output.node.name
        formula = FORMULAS.get(operation)
        if formula is None and operation != ATTENTION:
            self.uncounted[operation] += output.size
        elif formula is not None and not self.attending:
            self._add(operation, formula(output, parents), parents)

    @property
    def path(self) -> str:
        return self.running[-1] if self.running else LOSS

    def _add(self, operation: str, factors: tuple[int, ...], operands: Sequence[Tensor]) -> None:
        self.products.append(Product(self.path, operation, factors, tuple(x.shape for x in operands)))

    def before_backward(self, node: Node, dy: Array) -> None: ...

    def after_backward(self, node: Node, gradients: Gradients) -> None: ...


@contextmanager
def watch_operations(running: Sequence[str] = ()) -> Iterator[_Recorder]:
    """Count the operations recorded inside the block; `running` are the paths of the modules at work, where known."""
    recorder = _Recorder(running)
    with enable_grad(), observe(recorder), intercept(recorder.attend):
        yield recorder


def flops(model: Module, batch_size: int, tokens: int) -> Flops:
    """The floating-point operations of `model` and its loss on ids (batch_size, tokens), by module.

    Raises: ConfigError for sizes below 1; what the model raises for ids that do not fit it
    """
    with _every_block_kept(model), zeros_to_read(model, batch_size, tokens) as (inputs, targets):
        recorder = _watch_loss(model, inputs, targets)
    return Flops(recorder.products, dict(recorder.uncounted))


def memory(model: Module, batch_size: int, tokens: int) -> Memory:
    """The bytes that a training step of `model` on ids (batch_size, tokens) keeps, by kind and module; see `Memory`.

    Raises: ConfigError for sizes below 1; what the model raises for ids that do not fit it
    """
    with zeros_to_read(model, batch_size, tokens) as (inputs, targets):
        recorder = _watch_loss(model, inputs, targets)
    seen = {id(memory_owner(tensor.data)) for tensor in (*model.parameters(), *model.buffers())}
    seen |= {id(memory_owner(array)) for array in (*inputs, targets)}
    by_module: Counter[str] = Counter()
    for node, path in recorder.paths.items():
        for array in arrays_held(node.backward):
            owner = memory_owner(array)
            if id(owner) not in seen:
                seen.add(id(owner))
                by_module[path] += owner.nbytes
    parameters = list(model.parameters())
    trainable = sum(parameter.data.nbytes for parameter in parameters if parameter.requires_grad)
    cache_elements = sum(  # per sequence
        layer.cache_width * tokens_held(tokens, getattr(layer, "window", None)) + getattr(layer, "state_size", 0)
        for layer in model.modules()
        if hasattr(layer, "cache_width")
    )
    return Memory(
        parameters=sum(parameter.data.nbytes for parameter in parameters),
        gradients=trainable,
        optimizer=OPTIMIZER_MOMENTS * trainable,
        kv_cache=cache_elements * batch_size * (parameters[0].dtype.itemsize if parameters else 0),
        by_module=dict(by_module),
    )


def _watch_loss(model: Module, inputs: Sequence[Array], targets: Array) -> _Recorder:
    with running_modules(model) as (running, _), watch_operations(running) as recorder:
        loss_of(model, inputs, targets)
    return recorder


@contextmanager
def _every_block_kept(model: Module) -> Iterator[None]:
    """Switch activation checkpointing off inside the block: checkpointed operations are not recorded."""
    blocks = [part for part in model.modules() if isinstance(part, TransformerBlock)]
    before = [block.recompute for block in blocks]
    for block in blocks:
        block.recompute = None
    try:
        yield
    finally:
        for block, recompute in zip(blocks, before, strict=True):
            block.recompute = recompute
