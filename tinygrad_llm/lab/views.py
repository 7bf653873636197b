"""What a look of the lab is at: a model at some moment, its tokenizer, and a prompt as ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import enable_grad
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.study.lens import prompt_ids, text_and_bytes
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer


@dataclass(frozen=True)
class View:
    """A model at the moment `label`. `optimizer` has its moments and `gradients` those of the last step, if known.

    `mistaken()` switches the fault on that the model was trained with.
    """

    label: str
    step: int | None
    model: Any
    tokenizer: Tokenizer
    optimizer: Optimizer | Any = None
    gradients: dict[Tensor, Array] = field(default_factory=dict)
    mistaken: Callable[[], AbstractContextManager[None]] = nullcontext
    batch: Any = None  # inputs and targets of that step

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Evaluation mode, with a gradient for every parameter; afterwards the model is as before."""
        modes = [(module, module.training) for module in self.model.modules()]
        gradients = [(p, p.requires_grad, p.grad) for p in self.model.parameters()]
        self.model.eval()
        for parameter, _, _ in gradients:
            parameter.requires_grad, parameter.grad = True, None
        try:
            with self.mistaken(), enable_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, requires_grad, grad in gradients:
                parameter.requires_grad, parameter.grad = requires_grad, grad

    def describe(self) -> dict[str, Any]:
        return {"at": self.label, "step": self.step}


@dataclass(frozen=True)
class Prompt:
    """The last tokens of a prompt, as many as the model reads and the page shows. `left_out` says what is missing."""

    ids: Array
    left_out: list[str]

    @classmethod
    def of(cls, view: View, text: str, at_least: int = 1) -> Prompt:
        """Raises: ConfigError for fewer than `at_least` tokens; TokenizerError for characters without a token"""
        ids, left_out = prompt_ids(view.tokenizer, text, view.model.config.context_length)
        if len(ids) < at_least:
            need = "one token" if at_least == 1 else "two tokens, for a loss"
            raise ConfigError(f"a prompt needs at least {need}; got {len(ids)}")
        return cls(ids, left_out)

    def tokens(self, tokenizer: Tokenizer) -> list[dict[str, Any]]:
        return tokens_of(tokenizer, self.ids.tolist())


def tokens_of(tokenizer: Tokenizer, ids: list[int]) -> list[dict[str, Any]]:
    """Id, text and bytes of each token."""
    return [{"id": one, **text_and_bytes(tokenizer, one)} for one in ids]
