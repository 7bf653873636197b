"""Layers against the figures of "Build a Large Language Model (From Scratch)", built from a seed."""

import itertools
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, default_generator, manual_seed, nn
from tinygrad_llm.nn import functional as F

WORDS = np.array(  # "Your journey starts with one step", chapter 3
    [
        [0.43, 0.15, 0.89],
        [0.55, 0.87, 0.66],
        [0.57, 0.85, 0.64],
        [0.22, 0.58, 0.33],
        [0.77, 0.25, 0.10],
        [0.05, 0.80, 0.55],
    ],
    np.float32,
)


def assert_prints(tensor: Any, expected: Any) -> None:
    """Equal to the four decimals that the book prints."""
    actual = tensor.data if isinstance(tensor, Tensor) else np.asarray(tensor)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=6e-5)


def test_embedding_of_chapter_2() -> None:
    manual_seed(123)
    layer = nn.Embedding(6, 3)
    assert_prints(layer.weight.data[0], [0.3374, -0.1778, -0.1690])
    assert_prints(layer([3]), [[-0.4015, 0.9666, -1.1481]])
    assert_prints(layer(Tensor([2, 3, 5, 1]))[2:], [[-2.8400, -0.7849, -1.4096], [0.9178, 1.5810, 1.3010]])


class CausalAttention(nn.Module):
    """The book's single head: three projections, no output projection."""

    def __init__(self, input_dim: Any, output_dim: Any) -> None:
        self.W_query = nn.Linear(input_dim, output_dim, bias=False)
        self.W_key = nn.Linear(input_dim, output_dim, bias=False)
        self.W_value = nn.Linear(input_dim, output_dim, bias=False)

    def forward(self, x: Any, is_causal: bool = True) -> Any:
        query, key, value = self.W_query(x), self.W_key(x), self.W_value(x)
        return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)


FIRST_HEAD = [
    [-0.4519, 0.2216],
    [-0.5874, 0.0058],
    [-0.6300, -0.0632],
    [-0.5675, -0.0843],
    [-0.5526, -0.0981],
    [-0.5299, -0.1081],
]


SECOND_HEAD = [
    [0.4772, 0.1063],
    [0.5891, 0.3257],
    [0.6202, 0.3860],
    [0.5478, 0.3589],
    [0.5321, 0.3428],
    [0.5077, 0.3493],
]


def test_self_attention_of_chapter_3() -> None:
    manual_seed(789)
    layer = CausalAttention(3, 2)
    assert_prints(
        layer(WORDS, is_causal=False),
        [
            [-0.0739, 0.0713],
            [-0.0748, 0.0703],
            [-0.0749, 0.0702],
            [-0.0760, 0.0685],
            [-0.0763, 0.0679],
            [-0.0754, 0.0693],
        ],
    )


def test_causal_attention_of_chapter_3() -> None:
    manual_seed(123)
    assert_prints(CausalAttention(3, 2)(np.stack([WORDS, WORDS])), [FIRST_HEAD, FIRST_HEAD])


def test_two_concatenated_heads_of_chapter_3() -> None:
    manual_seed(123)
    heads = nn.ModuleList(CausalAttention(3, 2) for _ in range(2))
    beside = np.concatenate([head(np.stack([WORDS, WORDS])).data for head in heads], axis=-1)
    assert_prints(beside[1], np.hstack([FIRST_HEAD, SECOND_HEAD]))


def test_multi_head_attention_of_chapter_3() -> None:
    manual_seed(123)
    layer = nn.MultiHeadAttention(embedding_dim=2, num_heads=2, input_dim=3, causal=True)
    expected = [
        [0.3190, 0.4858],
        [0.2943, 0.3897],
        [0.2856, 0.3593],
        [0.2693, 0.3873],
        [0.2639, 0.3928],
        [0.2575, 0.4028],
    ]
    assert_prints(layer(np.stack([WORDS, WORDS])), [expected, expected])
    assert_prints(layer(WORDS), expected)  # one sequence without a batch


def test_dropout_of_chapter_3() -> None:
    manual_seed(123)
    assert_prints(nn.Dropout(0.5)(np.ones((6, 6), np.float32))[0], [2, 2, 0, 2, 2, 0])


def test_layer_norm_demo_of_chapter_4() -> None:
    manual_seed(123)
    batch = default_generator().randn(2, 5)
    out = nn.Sequential(nn.Linear(5, 6), nn.ReLU())(batch)
    assert_prints(out, [[0.2260, 0.3470, 0, 0.2216, 0, 0], [0.2133, 0.2394, 0, 0.5198, 0.3297, 0]])
    assert_prints(out.mean(axis=-1, keepdims=True), [[0.1324], [0.2170]])
    assert_prints(out.var(axis=-1, keepdims=True), [[0.0231], [0.0398]])
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


@pytest.mark.parametrize(
    ("use_shortcut", "expected"),
    [
        (False, [0.000201735878, 0.000120111610, 0.000715204165, 0.00139887386, 0.00504964637]),
        (True, [0.221697927, 0.206941053, 0.328969955, 0.266573250, 1.32585418]),
    ],
)
def test_gradients_vanish_without_shortcuts_as_in_chapter_4(use_shortcut: Any, expected: Any) -> None:
    manual_seed(123)
    model = DeepNetwork(use_shortcut)
    error = model(Tensor([[1.0, 0.0, -1.0]])) - 0.0
    (error * error).mean().backward()
    means = [np.abs(p.grad).mean() for name, p in model.named_parameters() if name.endswith("weight")]
    np.testing.assert_allclose(means, expected, rtol=5e-6)


def test_classifier_of_appendix_a() -> None:
    manual_seed(123)
    model = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    assert model.num_parameters() == 2213
    manual_seed(123)
    logits = model(default_generator().rand(1, 50))
    assert_prints(logits, [[-0.1262, 0.1080, -0.1792]])
    assert_prints(F.softmax(logits), [[0.3113, 0.3934, 0.2952]])
