"""Layers against the figures of "Build a Large Language Model (From Scratch)", built from a seed."""

import itertools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, default_generator, manual_seed, nn
from tinygrad_llm.nn import functional as F

BOOK = tomllib.loads(Path(__file__).with_name("book_figures.toml").read_text("utf-8"))
CHAPTER_2, CHAPTER_3, CHAPTER_4 = BOOK["chapter_2"], BOOK["chapter_3"], BOOK["chapter_4"]
WORDS = np.array(CHAPTER_3["words"], np.float32)


def assert_prints(tensor: Any, expected: Any) -> None:
    """Equal to the four decimals that the book prints."""
    actual = tensor.data if isinstance(tensor, Tensor) else np.asarray(tensor)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=6e-5)


def test_embedding_of_chapter_2() -> None:
    manual_seed(123)
    layer = nn.Embedding(6, 3)
    assert_prints(layer.weight.data[0], CHAPTER_2["embedding_row_0"])
    assert_prints(layer([3]), CHAPTER_2["embedding_of_3"])
    assert_prints(layer(Tensor([2, 3, 5, 1]))[2:], CHAPTER_2["embedding_of_5_and_1"])


class CausalAttention(nn.Module):
    """The book's single head: three projections, no output projection."""

    def __init__(self, input_dim: Any, output_dim: Any) -> None:
        self.W_query = nn.Linear(input_dim, output_dim, bias=False)
        self.W_key = nn.Linear(input_dim, output_dim, bias=False)
        self.W_value = nn.Linear(input_dim, output_dim, bias=False)

    def forward(self, x: Any, is_causal: bool = True) -> Any:
        query, key, value = self.W_query(x), self.W_key(x), self.W_value(x)
        return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)


def test_self_attention_of_chapter_3() -> None:
    manual_seed(789)
    layer = CausalAttention(3, 2)
    assert_prints(layer(WORDS, is_causal=False), CHAPTER_3["self_attention"])


def test_causal_attention_of_chapter_3() -> None:
    manual_seed(123)
    assert_prints(CausalAttention(3, 2)(np.stack([WORDS, WORDS])), [CHAPTER_3["first_head"]] * 2)


def test_two_concatenated_heads_of_chapter_3() -> None:
    manual_seed(123)
    heads = nn.ModuleList(CausalAttention(3, 2) for _ in range(2))
    beside = np.concatenate([head(np.stack([WORDS, WORDS])).data for head in heads], axis=-1)
    assert_prints(beside[1], np.hstack([CHAPTER_3["first_head"], CHAPTER_3["second_head"]]))


def test_multi_head_attention_of_chapter_3() -> None:
    manual_seed(123)
    layer = nn.MultiHeadAttention(embedding_dim=2, num_heads=2, input_dim=3, causal=True)
    expected = CHAPTER_3["multi_head"]
    assert_prints(layer(np.stack([WORDS, WORDS])), [expected, expected])
    assert_prints(layer(WORDS), expected)  # one sequence without a batch


def test_dropout_of_chapter_3() -> None:
    manual_seed(123)
    assert_prints(nn.Dropout(0.5)(np.ones((6, 6), np.float32))[0], CHAPTER_3["dropout_row"])


def test_layer_norm_demo_of_chapter_4() -> None:
    manual_seed(123)
    batch = default_generator().randn(2, 5)
    out = nn.Sequential(nn.Linear(5, 6), nn.ReLU())(batch)
    assert_prints(out, CHAPTER_4["relu_of_linear"])
    assert_prints(out.mean(axis=-1, keepdims=True), CHAPTER_4["its_means"])
    assert_prints(out.var(axis=-1, keepdims=True), CHAPTER_4["its_variances"])
    normalized = nn.LayerNorm(5)(batch)
    assert_prints(normalized.mean(axis=-1), [0, 0])
    assert_prints(normalized.var(axis=-1, unbiased=False), [1, 1])


class DeepNetwork(nn.Module):
    """Chapter 4's five GELU layers, with or without shortcuts around them."""

    def __init__(self, use_shortcut: Any) -> None:
        widths = [3, 3, 3, 3, 3, 1]
        self.use_shortcut = use_shortcut
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.GELU("tanh")) for before, after in itertools.pairwise(widths)
        )

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            y = layer(x)
            x = x + y if self.use_shortcut and x.shape == y.shape else y
        return x


@pytest.mark.parametrize("use_shortcut", [False, True])
def test_gradients_vanish_without_shortcuts_as_in_chapter_4(use_shortcut: bool) -> None:
    manual_seed(123)
    model = DeepNetwork(use_shortcut)
    error = model(Tensor([[1.0, 0.0, -1.0]])) - 0.0
    (error * error).mean().backward()
    means = [np.abs(p.grad).mean() for name, p in model.named_parameters() if name.endswith("weight")]
    expected = CHAPTER_4["gradients_with_shortcuts" if use_shortcut else "gradients_without_shortcuts"]
    np.testing.assert_allclose(means, expected, rtol=5e-6)


def test_classifier_of_appendix_a() -> None:
    manual_seed(123)
    model = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    assert model.num_parameters() == 2213
    manual_seed(123)
    logits = model(default_generator().rand(1, 50))
    assert_prints(logits, BOOK["appendix_a"]["logits"])
    assert_prints(F.softmax(logits), BOOK["appendix_a"]["probabilities"])
