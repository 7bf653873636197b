"""Changing the size of a model's vocabulary."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.nn import Linear, SoftcappedHead
from tinygrad_llm.random import Generator, default_generator


def resize_token_embeddings(model: LanguageModel, new_size: int, generator: Generator | None = None) -> None:
    """Resize the token embedding and the head of `model`, tied or not, to `new_size` rows; the first rows are kept.

    A new row is the mean of the old rows (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language
    Models"), so that new tokens start with a small probability. Noise from `generator`, with 1% of the old rows'
    standard deviation, makes new rows differ. Make the optimizer afterwards: its moments have the old shape.

    Shapes: two weights (V, C) -> (new_size, C)
    Raises: ConfigError for a size that is not an integer of at least 1, or a head that no longer predicts tokens
    """
    expect_sizes("resize_token_embeddings", new_size=new_size)
    embedding, rows = model.token_embedding, model.config.vocab_size
    head = model.head.linear if isinstance(model.head, SoftcappedHead) else model.head
    if not isinstance(head, Linear) or head.out_features != rows:
        raise ConfigError(f"resize_token_embeddings: the head must be the Linear to {rows} logits; it was replaced")
    generator = default_generator() if generator is None else generator
    tables = {id(table): table for table in (embedding.weight, head.weight)}  # tied weights are one table
    for table in tables.values():
        old = table.data[:new_size]
        shape = (new_size - len(old), old.shape[1])
        if shape[0]:
            noise = 0.01 * table.data.std(axis=0) * generator.normal(0.0, 1.0, shape)
            old = np.concatenate([old, (table.data.mean(axis=0) + noise).astype(old.dtype)])
        table.data, table.grad = old.copy(), None
    embedding.num_embeddings = head.out_features = new_size
    model.config = dataclasses.replace(model.config, vocab_size=int(new_size))
