"""Models small enough to generate thousands of texts in a test."""

import dataclasses
from typing import Any

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.models import GPT, GPTConfig

TINY = GPTConfig(vocab_size=13, context_length=12, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.4)


def tiny(seed: int = 0, dtype: type = np.float64, **changes: Any) -> GPT:
    manual_seed(seed)
    return GPT(dataclasses.replace(TINY, **changes)).to(dtype)


def some_ids(length: int, seed: int = 1, vocab_size: int = TINY.vocab_size) -> np.ndarray:
    return Generator(seed).randint(0, vocab_size, (length,))


def next_logits(model: GPT, ids: list[int]) -> np.ndarray:
    """The definition of a next-token prediction: run the model on the last `context_length` tokens, without dropout."""
    mode = model.training
    model.eval()
    logits = model(np.asarray(ids)[-model.config.context_length :]).detach().data[-1]
    model.train(mode)
    return logits


def greedy(model: GPT, ids: list[int] | np.ndarray, count: int) -> list[Any]:
    """The definition of greedy decoding, as the book writes it."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(next_logits(model, ids).argmax()))
    return ids
