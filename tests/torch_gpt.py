"""The book's GPT written in PyTorch, for comparison. A test that imports it is skipped without PyTorch."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")


class TorchBlock(torch.nn.Module):
    """Layers in the order in which the book builds them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, self.heads, self.dropout = config.embedding_dim, config.num_heads, torch.nn.Dropout(config.dropout)
        self.query = torch.nn.Linear(width, width, bias=config.qkv_bias)
        self.key = torch.nn.Linear(width, width, bias=config.qkv_bias)
        self.value = torch.nn.Linear(width, width, bias=config.qkv_bias)
        self.output = torch.nn.Linear(width, width)
        self.up = torch.nn.Linear(width, 4 * width)
        self.down = torch.nn.Linear(4 * width, width)
        self.norm1 = torch.nn.LayerNorm(width)
        self.norm2 = torch.nn.LayerNorm(width)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        h = self.norm1(x)
        q, k, v = (
            part(h).view(batch, length, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(width // self.heads)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = self.dropout(scores.masked_fill(future, -torch.inf).softmax(-1))
        x = x + self.dropout(self.output((weights @ v).transpose(1, 2).reshape(batch, length, width)))
        return x + self.dropout(self.down(torch.nn.functional.gelu(self.up(self.norm2(x)), approximate="tanh")))


class TorchGPT(torch.nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.token_embedding = torch.nn.Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = torch.nn.Embedding(config.context_length, config.embedding_dim)
        self.dropout = torch.nn.Dropout(config.dropout)
        self.blocks = torch.nn.ModuleList(TorchBlock(config) for _ in range(config.num_layers))
        self.final_norm = torch.nn.LayerNorm(config.embedding_dim)
        self.head = torch.nn.Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight

    def forward(self, ids: Any) -> Any:
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(torch.arange(ids.shape[1])))
        for block in self.blocks:
            x = block(x)
        return self.head(self.final_norm(x))

    def loss(self, ids: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(self(ids).flatten(0, 1), targets.flatten())


def our_name(name: Any) -> Any:
    """blocks.0.query.weight -> blocks.0.attention.query.weight, and so on."""
    parts = name.split(".")
    if parts[0] == "blocks" and parts[2] in ("query", "key", "value", "output"):
        parts.insert(2, "attention")
    elif parts[0] == "blocks" and parts[2] in ("up", "down"):
        parts.insert(2, "feed_forward")
    return ".".join(parts)
