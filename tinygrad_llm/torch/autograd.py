"""`torch.autograd`: the gradients of outputs with respect to inputs, returned and not collected in `.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_llm.errors import GraphError
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import GRADIENT, EngineTensor, Tensor


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """d(Σ outputs)/d(input) for each input, in a tuple; `.grad` of every Tensor stays as it was.

    Raises: GraphError if an input is not part of the graph (unless `allow_unused`: then it gets None), or for
            `create_graph`: gradients of gradients are not recorded here
    """
    if create_graph:
        raise GraphError("autograd.grad: gradients of gradients are not available here; got create_graph=True")
    results = list(outputs) if isinstance(outputs, Sequence) else [outputs]
    wanted = list(inputs) if isinstance(inputs, Sequence) else [inputs]
    starts = list(grad_outputs) if isinstance(grad_outputs, Sequence) else [grad_outputs] * len(results)
    leaves = _leaves(results)
    before = [(leaf, GRADIENT.__get__(leaf)) for leaf in {*leaves, *wanted}]
    try:
        for leaf, _ in before:
            leaf.grad = None
        for one in wanted:
            one.retain_grad()
        for i, (result, start) in enumerate(zip(results, starts, strict=True)):
            result.backward(start, retain_graph=bool(retain_graph) or i < len(results) - 1)
        found = [GRADIENT.__get__(one) for one in wanted]
    finally:
        for leaf, kept in before:
            leaf.grad = kept
        for one in wanted:
            if one.node is not None:
                one.node.retained = None
    for i, (one, gradient) in enumerate(zip(wanted, found, strict=True)):
        if gradient is None and not allow_unused:
            raise GraphError(
                f"autograd.grad: each input must be part of the graph; input {i} of shape {tuple(one.shape)} is not; "
                "give allow_unused=True for None"
            )
    return tuple(None if gradient is None else Tensor(gradient) for gradient in found)


def _leaves(results: list[EngineTensor]) -> list[EngineTensor]:
    """Every leaf whose gradient a backward from `results` would collect."""
    stack: list[Any] = [result.node or result for result in results]
    seen, leaves = set(), []
    while stack:
        one = stack.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, EngineTensor):
            leaves.append(one)
        else:
            stack.extend(one.parents)
    return leaves


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.autograd", name, globals()))
